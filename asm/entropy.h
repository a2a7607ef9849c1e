/* SPDX-License-Identifier: MIT */
/*
 * A sampler that says whether compressing a piece of data can pay. It looks at some eight hundred
 * places whatever the length, so it costs under a microsecond. Any alignment; nothing outside
 * data[0..len) is read.
 */
#ifndef FOLD_ASM_ENTROPY_H
#define FOLD_ASM_ENTROPY_H

#include "asm/kernels.h"

/* From this score on an LZ77 compressor will probably save a sixteenth or more. */
#define FOLD_ENTROPY_PAYS 30u

/* From this score on a compressor with an entropy coder (zstd) will, though there may be no repeats
 * (base64, floats). */
#define FOLD_ENTROPY_PAYS_CODER 5u

/* 0 (looks random) .. 1000 (full of repeats). */
unsigned fold_entropy_c(const void *data, size_t len);

/* Puts the best version for `flags` into the table. */
void fold_entropy_select(unsigned flags, struct fold_kernels *out);

#endif
