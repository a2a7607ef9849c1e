/* SPDX-License-Identifier: MIT */
/*
 * The fingerprint among the kernels that `foldfs kernels` prints: the library's plain entry and its
 * wide one.
 */
#ifndef FOLD_HASHING_FINGERPRINT_LIST_H
#define FOLD_HASHING_FINGERPRINT_LIST_H

#include "asm/kernels_list.h"

#define FOLD_FINGERPRINT_ROWS 2

/*
 * Fills `rows` (room for FOLD_FINGERPRINT_ROWS) and returns their number; the field `kernel` is
 * FOLD_KERNELS, which names none of the table. With `bench` each row is timed on one core, 0.1 s
 * each.
 */
size_t fold_fingerprint_list(bool bench, struct fold_kernel_row *rows);

#endif
