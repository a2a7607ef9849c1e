/* SPDX-License-Identifier: MIT */
/*
 * XXH3-128 with SSE2 vectors: the library's code compiled here. asm/CMakeLists.txt gives the
 * compiler's flags.
 */
#include "asm/xxh3.h"

#if FOLD_ASM

#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_SSE2
#include <xxhash.h>

void fold_xxh3_sse42(const void *data, size_t len, const uint8_t *secret, uint64_t out[2])
{
    XXH128_hash_t v = XXH3_128bits_withSecret(data, len, secret, FOLD_XXH3_SECRET);
    out[0] = v.low64;
    out[1] = v.high64;
}

#endif
