/* SPDX-License-Identifier: MIT */
/*
 * Comparison in plain C, and the choice of version.
 */
#include "asm/compare.h"

#include <string.h>

static uint64_t load8(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

size_t fold_compare_c(const void *a, const void *b, size_t len)
{
    const uint8_t *x = a;
    const uint8_t *y = b;
    size_t i = 0;
    for (; len - i >= 64; i += 64) {
        uint64_t diff = 0;
        for (size_t j = 0; j < 64; j += 8)
            diff |= load8(x + i + j) ^ load8(y + i + j);
        if (diff != 0)
            break;
    }
    while (i < len && x[i] == y[i])
        i++;
    return i;
}

/* First lines of both sides; the hardware's stream prefetchers take over behind them. */
static void prefetch(const struct fold_compare_pair *pair)
{
    const char *a = pair->a;
    const char *b = pair->b;
    size_t ahead = pair->len < 512 ? pair->len : 512;
    for (size_t j = 0; j < ahead; j += 64) {
        __builtin_prefetch(a + j);
        __builtin_prefetch(b + j);
    }
}

typedef size_t compare_fn(const void *a, const void *b, size_t len);

/* Inlined into each version, so that the call is direct. */
static inline __attribute__((always_inline)) void batch(compare_fn *compare,
                                                        const struct fold_compare_pair *pairs,
                                                        size_t n, uint64_t *same)
{
    memset(same, 0, (n + 63) / 64 * sizeof *same);
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n)
            prefetch(&pairs[i + 1]);
        bool equal = compare(pairs[i].a, pairs[i].b, pairs[i].len) == pairs[i].len;
        same[i / 64] |= (uint64_t)equal << (i % 64);
    }
}

void fold_compare_batch_c(const struct fold_compare_pair *pairs, size_t n, uint64_t *same)
{
    batch(fold_compare_c, pairs, n, same);
}

#if FOLD_ASM

compare_fn fold_compare_sse42;
compare_fn fold_compare_avx2;
compare_fn fold_compare_avx512;

static void batch_sse42(const struct fold_compare_pair *pairs, size_t n, uint64_t *same)
{
    batch(fold_compare_sse42, pairs, n, same);
}

static void batch_avx2(const struct fold_compare_pair *pairs, size_t n, uint64_t *same)
{
    batch(fold_compare_avx2, pairs, n, same);
}

static void batch_avx512(const struct fold_compare_pair *pairs, size_t n, uint64_t *same)
{
    batch(fold_compare_avx512, pairs, n, same);
}

void fold_compare_select(unsigned flags, struct fold_kernels *out)
{
    compare_fn *const compare[FOLD_LEVELS] = {fold_compare_c, fold_compare_sse42, fold_compare_avx2,
                                              fold_compare_avx512};
    void (*const batches[FOLD_LEVELS])(const struct fold_compare_pair *, size_t, uint64_t *) = {
        fold_compare_batch_c, batch_sse42, batch_avx2, batch_avx512};
    enum fold_level level = fold_cpu_level(flags);
    out->compare = compare[level];
    out->compare_batch = batches[level];
    out->chosen[FOLD_KERNEL_COMPARE] = level;
    out->chosen[FOLD_KERNEL_COMPARE_BATCH] = level;
}

#else

void fold_compare_select(unsigned flags, struct fold_kernels *out)
{
    (void)flags;
    out->compare = fold_compare_c;
    out->compare_batch = fold_compare_batch_c;
}

#endif
