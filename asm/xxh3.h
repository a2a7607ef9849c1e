/* SPDX-License-Identifier: MIT */
/*
 * XXH3-128 with a secret, as libxxhash computes it. The plain version is the library's own entry;
 * the others are the library's code, taken from its header and compiled for one instruction set
 * each, so that a forced level is obeyed.
 */
#ifndef FOLD_ASM_XXH3_H
#define FOLD_ASM_XXH3_H

#include "asm/kernels.h"

/* Bytes of a secret; exactly that many are read. */
#define FOLD_XXH3_SECRET 192

/* Hash of data[0..len): low half in out[0], high half in out[1]. Any alignment; nothing outside is
 * read. */
void fold_xxh3_c(const void *data, size_t len, const uint8_t *secret, uint64_t out[2]);

#if FOLD_ASM
void fold_xxh3_sse42(const void *data, size_t len, const uint8_t *secret, uint64_t out[2]);
void fold_xxh3_avx2(const void *data, size_t len, const uint8_t *secret, uint64_t out[2]);
void fold_xxh3_avx512(const void *data, size_t len, const uint8_t *secret, uint64_t out[2]);
#endif

/* Puts the best version for `flags` into the table. */
void fold_xxh3_select(unsigned flags, struct fold_kernels *out);

#endif
