/* SPDX-License-Identifier: MIT */
/*
 * The harness itself: a fault of every kind is planted in a kernel and must be caught, and counted
 * as what it is.
 */
#include "asm/compare.h"
#include "asm/crc32c.h"
#include "asm/zero.h"
#include "tests/checkasm/harness.h"

#include <string.h>

extern const struct check_family check_crc32c;
extern const struct check_family check_compare;
extern const struct check_family check_zero;

/* Runs a family's check on a table with a fault in it. */
static void expect(struct check *c, const struct check_family *family, const struct fold_kernels *k,
                   enum check_fault fault, const char *what)
{
    struct check inner = *c;
    inner.family = family->name;
    inner.quiet = true;
    memset(inner.faults, 0, sizeof inner.faults);
    family->run(&inner, k);
    if (inner.faults[fault] == 0)
        check_fail(c, CHECK_WRONG, "the planted fault '%s' was not caught", what);
}

static size_t zero_wrong_at_end(const void *data, size_t len)
{
    size_t n = fold_zero_run_c(data, len);
    return n + 1 == len && len > 256 ? len : n;
}

static volatile uint8_t sink;

static size_t zero_over_read(const void *data, size_t len)
{
    sink = ((const uint8_t *)data)[len];
    return fold_zero_run_c(data, len);
}

static size_t compare_under_read(const void *a, const void *b, size_t len)
{
    sink = ((const uint8_t *)b)[-1];
    return fold_compare_c(a, b, len);
}

static void batch_write_behind(const struct fold_compare_pair *pairs, size_t n, uint64_t *same)
{
    fold_compare_batch_c(pairs, n, same);
    same[(n + 63) / 64] = 0;
}

static void batch_write_before(const struct fold_compare_pair *pairs, size_t n, uint64_t *same)
{
    fold_compare_batch_c(pairs, n, same);
    same[-1] = 0;
}

static void batch_wrong_last(const struct fold_compare_pair *pairs, size_t n, uint64_t *same)
{
    fold_compare_batch_c(pairs, n, same);
    if (n > 64 && n % 64 != 0)
        same[n / 64] |= 1ull << 63;
}

static void plain_faults(struct check *c, const struct fold_kernels *k)
{
    struct fold_kernels bad = *k;
    bad.zero_run = zero_wrong_at_end;
    expect(c, &check_zero, &bad, CHECK_WRONG, "wrong result at the end of a range");
    bad.zero_run = zero_over_read;
    expect(c, &check_zero, &bad, CHECK_CRASH, "read behind the data");
    bad = *k;
    bad.compare = compare_under_read;
    expect(c, &check_compare, &bad, CHECK_CRASH, "read before the data");
    bad = *k;
    bad.compare_batch = batch_write_behind;
    expect(c, &check_compare, &bad, CHECK_CANARY, "write behind the output");
    bad.compare_batch = batch_write_before;
    expect(c, &check_compare, &bad, CHECK_CANARY, "write before the output");
    bad.compare_batch = batch_wrong_last;
    expect(c, &check_compare, &bad, CHECK_WRONG, "junk behind the last bit");
}

#if FOLD_ASM

typedef uint32_t crc_fn(uint32_t crc, const void *data, size_t len);
#define FAULTS(X)                                                                                  \
    X(wrong_length, CHECK_WRONG)                                                                   \
    X(wrong_align, CHECK_WRONG)                                                                    \
    X(wrong_large, CHECK_WRONG)                                                                    \
    X(upper_half, CHECK_WRONG)                                                                     \
    X(over_read, CHECK_CRASH)                                                                      \
    X(under_read, CHECK_CRASH)                                                                     \
    X(aligned_load, CHECK_CRASH)                                                                   \
    X(illegal, CHECK_CRASH)                                                                        \
    X(clobber_rbx, CHECK_CLOBBER)                                                                  \
    X(clobber_rbp, CHECK_CLOBBER)                                                                  \
    X(clobber_r12, CHECK_CLOBBER)                                                                  \
    X(clobber_r13, CHECK_CLOBBER)                                                                  \
    X(clobber_r14, CHECK_CLOBBER)                                                                  \
    X(clobber_r15, CHECK_CLOBBER)                                                                  \
    X(direction, CHECK_CLOBBER)                                                                    \
    X(mxcsr, CHECK_CLOBBER)                                                                        \
    X(dirty, CHECK_DIRTY)

#define DECLARE(name, fault) crc_fn fold_fault_##name;
FAULTS(DECLARE)
#undef DECLARE

static void planted_faults(struct check *c, const struct fold_kernels *k)
{
    static const struct {
        crc_fn *fn;
        enum check_fault fault;
        const char *name;
    } faults[] = {
#define ENTRY(name, fault) {fold_fault_##name, fault, #name},
        FAULTS(ENTRY)
#undef ENTRY
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct fold_kernels bad = *k;
        bad.crc32c = faults[i].fn;
        if (faults[i].fault != CHECK_DIRTY || c->dirty_seen)
            expect(c, &check_crc32c, &bad, faults[i].fault, faults[i].name);
    }
}

#endif

static void run(struct check *c, const struct fold_kernels *k)
{
    plain_faults(c, k);
#if FOLD_ASM
    if (c->level != FOLD_LEVEL_SCALAR)
        planted_faults(c, k);
#endif
}

const struct check_family check_selftest = {"selftest", run, NULL};
