/* SPDX-License-Identifier: MIT */
/*
 * Runs of zero bytes: where holes begin and end. Any alignment, any length; nothing outside
 * data[0..len) is read.
 */
#ifndef FOLD_ASM_ZERO_H
#define FOLD_ASM_ZERO_H

#include "asm/kernels.h"

/* Length of the run of zero bytes at the start of data, len if all are zero. */
size_t fold_zero_run_c(const void *data, size_t len);

/*
 * Offset of the first whole block of `block` zero bytes, blocks counted from the start of data; len
 * if there is none. `block` is a power of two >= 64.
 */
size_t fold_data_run_c(const void *data, size_t len, size_t block);

/* Puts the best versions for `flags` into the table. */
void fold_zero_select(unsigned flags, struct fold_kernels *out);

#endif
