/* SPDX-License-Identifier: MIT */
/*
 * Zero runs against a byte-by-byte count, with bytes that are not zero all around.
 */
#include "asm/zero.h"
#include "tests/checkasm/harness.h"

#include <string.h>

static size_t oracle_zero(const uint8_t *p, size_t len)
{
    size_t i = 0;
    while (i < len && p[i] == 0)
        i++;
    return i;
}

static size_t oracle_data(const uint8_t *p, size_t len, size_t block)
{
    for (size_t i = 0; i + block <= len; i += block)
        if (oracle_zero(p + i, block) == block)
            return i;
    return len;
}

static void zero_run(struct check *c, const struct fold_kernels *k, const uint8_t *p, size_t len)
{
    uint64_t args[] = {CHECK_ARG(p), len};
    uint64_t got;
    size_t want = oracle_zero(p, len);
    if (check_call(c, (check_fn)k->zero_run, args, 2, &got) && got != want)
        check_fail(c, CHECK_WRONG, "zero_run: data %% 64 = %zu len %zu: %zu instead of %zu",
                   (size_t)p % 64, len, (size_t)got, want);
}

static void data_run(struct check *c, const struct fold_kernels *k, const uint8_t *p, size_t len,
                     size_t block)
{
    uint64_t args[] = {CHECK_ARG(p), len, block};
    uint64_t got;
    size_t want = oracle_data(p, len, block);
    if (check_call(c, (check_fn)k->data_run, args, 3, &got) && got != want)
        check_fail(c, CHECK_WRONG,
                   "data_run: data %% 64 = %zu len %zu block %zu: %zu instead of %zu",
                   (size_t)p % 64, len, block, (size_t)got, want);
}

/* The range all zero, then with one byte set at the ends and at random places. */
static void range(struct check *c, const struct fold_kernels *k, uint8_t *p, size_t len)
{
    memset(p, 0, len);
    zero_run(c, k, p, len);
    for (int i = 0; i < 4 && len > 0; i++) {
        size_t at = i == 0 ? 0 : i == 1 ? len - 1 : check_random(c) % len;
        p[at] = (uint8_t)(check_random(c) | 1) << (check_random(c) % 8);
        p[at] += p[at] == 0;
        zero_run(c, k, p, len);
        data_run(c, k, p, len, (size_t)64 << check_random(c) % 4);
        p[at] = 0;
    }
}

/* Zero stretches between set bytes, for data_run. */
static void stretches(struct check *c, const struct fold_kernels *k, uint8_t *p, size_t len)
{
    memset(p, 0, len);
    for (size_t at = 0; at < len; at += 1 + check_random(c) % 300)
        p[at] = 1;
    for (size_t block = 64; block <= 8192; block *= 2)
        data_run(c, k, p, len, block);
}

static void run(struct check *c, const struct fold_kernels *k)
{
    memset(check_low(c, 0, 0), 0xff, CHECK_LEN_MAX + 2 * CHECK_ALIGN);
    for (size_t len = 0; len <= CHECK_LEN_MAX; len++) {
        for (size_t m = 0; m < CHECK_ALIGN; m++) {
            uint8_t *p = check_low(c, 0, m);
            range(c, k, p, len);
            memset(p, 0xff, len);
        }
        range(c, k, check_high(c, 0, len), len);
        stretches(c, k, check_high(c, 0, len), len);
    }
    for (int i = 0; i < 60; i++) {
        size_t len = check_random(c) % 70000;
        range(c, k, check_high(c, 0, len), len);
        stretches(c, k, check_high(c, 0, len), len);
    }
}

static void bench(struct check *c, const struct fold_kernels *k)
{
    static const size_t sizes[] = {64, 512, 4096, 16384, 1048576};
    memset(check_low(c, 0, 0), 0, CHECK_AREA_BYTES);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t args[] = {CHECK_ARG(check_low(c, 0, 0)), sizes[i]};
        (void)check_bench(c, "zero_run", (check_fn)k->zero_run, args, 2, sizes[i]);
    }
}

const struct check_family check_zero = {"zero", run, bench};
