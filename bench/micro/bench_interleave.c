/* SPDX-License-Identifier: MIT */
/*
 * Would mixing the instructions of the cut scan and of XXH3 gain anything over running one after
 * the other? Both loops written with AVX-512 intrinsics, alone and in one loop, over a hot 16 KiB
 * chunk. The scan covers every byte here (the product skips the first half of a chunk), which
 * favours the mixture.
 */
#include "asm/cdc.h"
#include "asm/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if FOLD_ASM

#include <immintrin.h>

#define CHUNK  16384u
#define BEFORE 128u
#define WIDE   __attribute__((target("avx512f,avx512bw"))) static inline

struct scan {
    __m512i f[2];
    __m512i g[2];
    __m512i h[2];
    __m512i best;
};

struct hash {
    __m512i acc;
    __m512i key;
};

/* 64 positions behind p, even and odd. */
WIDE void scan_step(struct scan *s, const uint8_t *p)
{
    for (int odd = 0; odd < 2; odd++) {
        __m512i w = _mm512_loadu_si512(p - 2 + odd);
        __m512i v = _mm512_loadu_si512(p - 4 + odd);
        __m512i f =
            _mm512_add_epi16(w, _mm512_mullo_epi16(v, _mm512_set1_epi16((short)FOLD_CDC_A)));
        __m512i t = _mm512_alignr_epi32(f, s->f[odd], 15);
        __m512i g =
            _mm512_add_epi16(f, _mm512_mullo_epi16(t, _mm512_set1_epi16((short)FOLD_CDC_B)));
        t = _mm512_alignr_epi32(g, s->g[odd], 14);
        __m512i h =
            _mm512_add_epi16(g, _mm512_mullo_epi16(t, _mm512_set1_epi16((short)FOLD_CDC_C)));
        t = _mm512_alignr_epi32(h, s->h[odd], 12);
        __m512i e =
            _mm512_add_epi16(h, _mm512_mullo_epi16(t, _mm512_set1_epi16((short)FOLD_CDC_D)));
        s->best = _mm512_max_epi16(s->best, e);
        s->f[odd] = f;
        s->g[odd] = g;
        s->h[odd] = h;
    }
}

/* One 64-byte stripe of XXH3's long loop; the key of the stripe stands for the sliding secret. */
WIDE void hash_step(struct hash *x, const uint8_t *p)
{
    __m512i d = _mm512_loadu_si512(p);
    __m512i k = _mm512_xor_si512(d, x->key);
    __m512i product = _mm512_mul_epu32(k, _mm512_srli_epi64(k, 32));
    __m512i swapped = _mm512_shuffle_epi32(d, _MM_PERM_BADC);
    x->acc = _mm512_add_epi64(x->acc, _mm512_add_epi64(product, swapped));
}

/* What follows every 16 stripes. */
WIDE void hash_scramble(struct hash *x)
{
    __m512i a = _mm512_xor_si512(_mm512_xor_si512(x->acc, _mm512_srli_epi64(x->acc, 47)), x->key);
    __m512i prime = _mm512_set1_epi32((int)0x9e3779b1u);
    __m512i high = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), prime);
    x->acc = _mm512_add_epi64(_mm512_mul_epu32(a, prime), _mm512_slli_epi64(high, 32));
}

#define STEP(body)                                                                                 \
    for (size_t at = BEFORE; at < BEFORE + CHUNK; at += 1024) {                                    \
        for (size_t i = 0; i < 1024; i += 64) {                                                    \
            body                                                                                   \
        }                                                                                          \
    }

__attribute__((target("avx512f,avx512bw"), noinline)) static void one_after_the_other(
    struct scan *s, struct hash *x, const uint8_t *p)
{
    struct scan a = *s;
    struct hash b = *x;
    STEP(scan_step(&a, p + at + i);)
    for (size_t at = BEFORE; at < BEFORE + CHUNK; at += 1024) {
        for (size_t i = 0; i < 1024; i += 64)
            hash_step(&b, p + at + i);
        hash_scramble(&b);
    }
    *s = a;
    *x = b;
}

__attribute__((target("avx512f,avx512bw"), noinline)) static void mixed(struct scan *s,
                                                                        struct hash *x,
                                                                        const uint8_t *p)
{
    struct scan a = *s;
    struct hash b = *x;
    for (size_t at = BEFORE; at < BEFORE + CHUNK; at += 1024) {
        for (size_t i = 0; i < 1024; i += 64) {
            scan_step(&a, p + at + i);
            hash_step(&b, p + at + i);
        }
        hash_scramble(&b);
    }
    *s = a;
    *x = b;
}

__attribute__((target("avx512f,avx512bw"), noinline)) static void scan_alone(struct scan *s,
                                                                             struct hash *x,
                                                                             const uint8_t *p)
{
    struct scan a = *s;
    (void)x;
    STEP(scan_step(&a, p + at + i);)
    *s = a;
}

__attribute__((target("avx512f,avx512bw"), noinline)) static void hash_alone(struct scan *s,
                                                                             struct hash *x,
                                                                             const uint8_t *p)
{
    struct hash b = *x;
    (void)s;
    for (size_t at = BEFORE; at < BEFORE + CHUNK; at += 1024) {
        for (size_t i = 0; i < 1024; i += 64)
            hash_step(&b, p + at + i);
        hash_scramble(&b);
    }
    *x = b;
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

__attribute__((target("avx512f,avx512bw"))) static double best_rate(
    void (*work)(struct scan *, struct hash *, const uint8_t *), const uint8_t *p)
{
    struct scan s;
    struct hash x;
    double best = 1e9;
    memset(&s, 0, sizeof s);
    memset(&x, 0x55, sizeof x);
    for (int round = 0; round < 2000; round++) {
        double start = now();
        for (int i = 0; i < 16; i++)
            work(&s, &x, p);
        double spent = now() - start;
        best = spent < best ? spent : best;
    }
    volatile long long sink = _mm512_reduce_add_epi64(_mm512_add_epi64(s.best, x.acc));
    (void)sink;
    return 16.0 * CHUNK / best * 1e-9;
}

int main(void)
{
    if (fold_cpu_level(fold_cpu_flags()) < FOLD_LEVEL_AVX512) {
        printf("needs AVX-512\n");
        return 0;
    }
    uint8_t *p = aligned_alloc(64, BEFORE + CHUNK + 64);
    if (p == NULL)
        return 1;
    for (size_t i = 0; i < BEFORE + CHUNK + 64; i++)
        p[i] = (uint8_t)(i * i >> 3);
    printf("scan alone          %6.2f GB/s\n", best_rate(scan_alone, p));
    printf("hash alone          %6.2f GB/s\n", best_rate(hash_alone, p));
    printf("one after the other %6.2f GB/s\n", best_rate(one_after_the_other, p));
    printf("mixed               %6.2f GB/s\n", best_rate(mixed, p));
    free(p);
    return 0;
}

#else

int main(void)
{
    printf("needs a build with assembly\n");
    return 0;
}

#endif
