/* SPDX-License-Identifier: MIT */
/*
 * The compressibility sampler: every version gives the score of plain C, and scores of plain cases
 * lie where they should.
 */
#include "asm/entropy.h"
#include "tests/checkasm/harness.h"

#include <string.h>

static void one(struct check *c, const struct fold_kernels *k, const uint8_t *p, size_t len)
{
    uint64_t args[] = {CHECK_ARG(p), len};
    uint64_t got;
    unsigned want = fold_entropy_c(p, len);
    if (want > 1000)
        check_fail(c, CHECK_WRONG, "plain C gives %u", want);
    if (check_call(c, (check_fn)k->entropy, args, 2, &got) && (unsigned)got != want)
        check_fail(c, CHECK_WRONG, "data %% 64 = %zu len %zu: %u instead of %u", (size_t)p % 64,
                   len, (unsigned)got, want);
}

static void fill(struct check *c, uint8_t *p, size_t len)
{
    uint64_t kind = check_random(c) % 3;
    check_fill(c, p, len);
    for (size_t i = 0; i < len && kind > 0; i++)
        p[i] = kind == 1 ? p[i] & 3 : (i % 97 < 60 ? (uint8_t)(i % 97) : p[i]);
}

static void plain_cases(struct check *c, const struct fold_kernels *k)
{
    uint8_t *p = check_low(c, 0, 3);
    check_fill(c, p, 65536);
    for (size_t len = 4096; len <= 65536; len *= 2)
        if (k->entropy(p, len) >= FOLD_ENTROPY_PAYS)
            check_fail(c, CHECK_WRONG, "%zu random bytes get %u", len, k->entropy(p, len));
    memset(p, 'x', 65536);
    if (k->entropy(p, 65536) < 900)
        check_fail(c, CHECK_WRONG, "one repeated byte gets %u", k->entropy(p, 65536));
}

static void run(struct check *c, const struct fold_kernels *k)
{
    for (size_t len = 0; len <= CHECK_LEN_MAX; len++) {
        fill(c, check_low(c, 0, 0), len + CHECK_ALIGN);
        for (size_t m = 0; m < CHECK_ALIGN; m++)
            one(c, k, check_low(c, 0, m), len);
        fill(c, check_high(c, 0, len), len);
        one(c, k, check_high(c, 0, len), len);
    }
    for (int i = 0; i < 200; i++) {
        size_t len = check_random(c) % 100000;
        fill(c, check_high(c, 0, len), len);
        one(c, k, check_high(c, 0, len), len);
    }
    plain_cases(c, k);
}

static void bench(struct check *c, const struct fold_kernels *k)
{
    static const size_t sizes[] = {512, 4096, 16384, 65536};
    check_fill(c, check_low(c, 0, 0), CHECK_AREA_BYTES);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t args[] = {CHECK_ARG(check_low(c, 0, 0)), sizes[i]};
        (void)check_bench(c, "entropy", (check_fn)k->entropy, args, 2, sizes[i]);
    }
}

const struct check_family check_entropy = {"entropy", run, bench};
