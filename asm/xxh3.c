/* SPDX-License-Identifier: MIT */
/*
 * The library's entry, and selection. Without assembly, or on another architecture, the library's
 * own choice at its compile time is all there is.
 */
#include "asm/xxh3.h"

#include <xxhash.h>

void fold_xxh3_c(const void *data, size_t len, const uint8_t *secret, uint64_t out[2])
{
    XXH128_hash_t v = XXH3_128bits_withSecret(data, len, secret, FOLD_XXH3_SECRET);
    out[0] = v.low64;
    out[1] = v.high64;
}

void fold_xxh3_select(unsigned flags, struct fold_kernels *out)
{
    out->fingerprint = fold_xxh3_c;
    out->chosen[FOLD_KERNEL_FINGERPRINT] = FOLD_LEVEL_SCALAR;
#if FOLD_ASM
    if ((flags & FOLD_CPU_SSE42) != 0) {
        out->fingerprint = fold_xxh3_sse42;
        out->chosen[FOLD_KERNEL_FINGERPRINT] = FOLD_LEVEL_SSE42;
    }
    if ((flags & FOLD_CPU_AVX2) != 0) {
        out->fingerprint = fold_xxh3_avx2;
        out->chosen[FOLD_KERNEL_FINGERPRINT] = FOLD_LEVEL_AVX2;
    }
    if ((flags & FOLD_CPU_AVX512) != 0) {
        out->fingerprint = fold_xxh3_avx512;
        out->chosen[FOLD_KERNEL_FINGERPRINT] = FOLD_LEVEL_AVX512;
    }
#else
    (void)flags;
#endif
}
