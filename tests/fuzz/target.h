/* SPDX-License-Identifier: MIT */
/*
 * What a fuzz target is, and what targets share.
 */
#ifndef FOLD_TESTS_FUZZ_TARGET_H
#define FOLD_TESTS_FUZZ_TARGET_H

#include "asm/kernels.h"
#include "meta/base/bytes.h"

#include <stdlib.h>

/* libFuzzer's name for it; default visibility because the tree is built with hidden symbols. */
__attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for every input. */
#define FOLD_HOLDS(x)                                                                              \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

/* A copy on the heap, exactly as long, so that a sanitizer sees every read beyond it. The caller
 * frees it. */
static inline uint8_t *fold_fuzz_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = calloc(size > 0 ? size : 1, 1);
    FOLD_HOLDS(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

/* Puts a checksum where it belongs, so that mutated bytes are looked at and not thrown out at the
 * door. */
static inline void fold_fuzz_seal(uint8_t *at, uint32_t crc)
{
    struct fold_wr w = fold_wr_init(at, 4);
    fold_wr_u32(&w, crc);
}

#endif
