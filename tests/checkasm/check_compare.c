/* SPDX-License-Identifier: MIT */
/*
 * Comparison against a byte-by-byte loop, and batches of it.
 */
#include "asm/compare.h"
#include "tests/checkasm/harness.h"

#include <string.h>

#define PAIRS_MAX 200

static size_t oracle(const uint8_t *a, const uint8_t *b, size_t len)
{
    size_t i = 0;
    while (i < len && a[i] == b[i])
        i++;
    return i;
}

static void one(struct check *c, const struct fold_kernels *k, const uint8_t *a, const uint8_t *b,
                size_t len)
{
    uint64_t args[] = {CHECK_ARG(a), CHECK_ARG(b), len};
    uint64_t got;
    size_t want = oracle(a, b, len);
    if (check_call(c, (check_fn)k->compare, args, 3, &got) && got != want)
        check_fail(c, CHECK_WRONG, "a %% 64 = %zu b %% 64 = %zu len %zu: %zu instead of %zu",
                   (size_t)a % 64, (size_t)b % 64, len, (size_t)got, want);
}

static void range(struct check *c, const struct fold_kernels *k, uint8_t *a, uint8_t *b, size_t len)
{
    check_fill(c, a, len);
    memcpy(b, a, len);
    one(c, k, a, b, len);
    for (int i = 0; i < 3 && len > 0; i++) {
        size_t at = i == 0 ? 0 : i == 1 ? len - 1 : check_random(c) % len;
        uint8_t bit = (uint8_t)(1u << check_random(c) % 8);
        b[at] ^= bit;
        one(c, k, a, b, len);
        b[at] ^= bit;
    }
}

static void batch(struct check *c, const struct fold_kernels *k, size_t n)
{
    struct fold_compare_pair pairs[PAIRS_MAX];
    uint64_t want[PAIRS_MAX / 64 + 1] = {0};
    uint8_t *a = check_low(c, 0, 0);
    uint8_t *b = check_low(c, 1, 0);
    check_fill(c, a, 4096);
    memcpy(b, a, 4096);
    for (int i = 0; i < 8; i++)
        b[check_random(c) % 4096] ^= 1;
    for (size_t i = 0; i < n; i++) {
        size_t len = check_random(c) % 1000;
        size_t at = check_random(c) % (4096 - len);
        pairs[i] = (struct fold_compare_pair){a + at, b + at, len};
        want[i / 64] |= (uint64_t)(memcmp(a + at, b + at, len) == 0) << i % 64;
    }
    size_t bytes = (n + 63) / 64 * 8;
    uint8_t *same = check_low(c, 2, 64 + 8 * (check_random(c) % 8));
    check_canary_set(c, same, bytes);
    uint64_t args[] = {CHECK_ARG(pairs), n, CHECK_ARG(same)};
    uint64_t ignored;
    if (check_call(c, (check_fn)k->compare_batch, args, 3, &ignored) &&
        memcmp(same, want, bytes) != 0)
        check_fail(c, CHECK_WRONG, "compare_batch of %zu", n);
    check_canary_verify(c, same, bytes, "compare_batch");
}

static void run(struct check *c, const struct fold_kernels *k)
{
    for (size_t len = 0; len <= CHECK_LEN_MAX; len++) {
        for (size_t m = 0; m < CHECK_ALIGN; m++)
            range(c, k, check_low(c, 0, m), check_low(c, 1, check_random(c) % CHECK_ALIGN), len);
        range(c, k, check_high(c, 0, len), check_high(c, 1, len), len);
        range(c, k, check_high(c, 0, len), check_low(c, 1, 0), len);
    }
    for (int i = 0; i < 60; i++) {
        size_t len = check_random(c) % 70000;
        range(c, k, check_high(c, 0, len), check_high(c, 1, len), len);
    }
    for (size_t n = 0; n <= PAIRS_MAX; n += 1 + n / 70)
        batch(c, k, n);
}

static void bench(struct check *c, const struct fold_kernels *k)
{
    static const size_t sizes[] = {64, 512, 4096, 16384, 65536, 1048576};
    memset(check_low(c, 0, 0), 7, CHECK_AREA_BYTES);
    memset(check_low(c, 1, 0), 7, CHECK_AREA_BYTES);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t args[] = {CHECK_ARG(check_low(c, 0, 0)), CHECK_ARG(check_low(c, 1, 0)), sizes[i]};
        (void)check_bench(c, "compare", (check_fn)k->compare, args, 3, sizes[i]);
    }
}

const struct check_family check_compare = {"compare", run, bench};
