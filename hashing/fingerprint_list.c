/* SPDX-License-Identifier: MIT */
/*
 * Listing and timing of XXH3-128 with a secret, on chunks of 16 KiB in a buffer that stays in the
 * cache. The best of several rounds counts: other programs only ever make a round slower.
 */
#include "hashing/fingerprint_list.h"

#include "hashing/fingerprint.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>
#if FOLD_ASM
#define XXH_DISPATCH_DISABLE_REPLACE
#include <xxh_x86dispatch.h>
#endif

#define BUFFER (1u << 20)
#define PIECE  (16u << 10)

typedef XXH128_hash_t (*hash_fn)(const void *data, size_t len, const void *secret,
                                 size_t secret_len);

static XXH128_hash_t plain(const void *data, size_t len, const void *secret, size_t secret_len)
{
    return XXH3_128bits_withSecret(data, len, secret, secret_len);
}

#if FOLD_ASM
static XXH128_hash_t wide(const void *data, size_t len, const void *secret, size_t secret_len)
{
    return XXH3_128bits_withSecret_dispatch(data, len, secret, secret_len);
}
#endif

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* GB/s, 0 without memory. */
static double measure(hash_fn hash)
{
    uint8_t secret[FOLD_SECRET_BYTES];
    volatile uint64_t sink = 0;
    double best = 0;
    uint8_t *data = malloc(BUFFER);
    if (data == NULL)
        return 0;
    memset(data, 0x5a, BUFFER);
    memset(secret, 0xa5, sizeof secret);
    for (double end = now() + 0.1, start; (start = now()) < end;) {
        for (size_t at = 0; at < BUFFER; at += PIECE)
            sink += hash(data + at, PIECE, secret, sizeof secret).low64;
        double rate = BUFFER / (now() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    free(data);
    return best;
}

static struct fold_kernel_row row_of(enum fold_level level, bool selected, bool bench, hash_fn hash)
{
    return (struct fold_kernel_row){
        .kernel = FOLD_KERNELS,
        .level = level,
        .name = "fingerprint",
        .level_name = fold_level_name(level),
        .selected = selected,
        .unit = "GB/s",
        .rate = bench ? measure(hash) : 0,
    };
}

size_t fold_fingerprint_list(bool bench, struct fold_kernel_row *rows)
{
    size_t n = 0;
#if FOLD_ASM
    enum fold_level top = fold_cpu_level(fold_cpu_flags());
    bool uses_wide = fold_kernels()->level >= FOLD_LEVEL_AVX2;
    rows[n++] = row_of(FOLD_LEVEL_SCALAR, !uses_wide, bench, plain);
    if (top >= FOLD_LEVEL_AVX2)
        rows[n++] = row_of(top, uses_wide, bench, wide);
#else
    rows[n++] = row_of(FOLD_LEVEL_SCALAR, true, bench, plain);
#endif
    return n;
}
