/* SPDX-License-Identifier: MIT */
/*
 * A sampler that says whether compressing a piece of data can pay. It looks at a fixed number of bytes whatever the
 * length, so it costs well under a microsecond. Any alignment; nothing outside data[0..len) is read.
 */
#ifndef FOLD_ASM_ENTROPY_H
#define FOLD_ASM_ENTROPY_H

#include "asm/kernels.h"

/* 0 (looks random) .. 1000 (very compressible). */
unsigned fold_entropy_c(const void *data, size_t len);

/* From this score on compressing is worth trying. */
#define FOLD_ENTROPY_PAYS 60u

/* Puts the best version for `flags` into the table. */
void fold_entropy_select(unsigned flags, struct fold_kernels *out);

#endif
