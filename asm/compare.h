/* SPDX-License-Identifier: MIT */
/*
 * Comparing incoming bytes with stored ones, singly and in batches. Any alignment, any length;
 * nothing outside the ranges is read, and nothing behind the 64 bytes that hold the first
 * difference is needed for the answer.
 */
#ifndef FOLD_ASM_COMPARE_H
#define FOLD_ASM_COMPARE_H

#include "asm/kernels.h"

/* Two ranges of the same length. */
struct fold_compare_pair {
    const void *a;
    const void *b;
    size_t len;
};

/* Index of the first difference, len if equal. */
size_t fold_compare_c(const void *a, const void *b, size_t len);

/*
 * Compares n pairs and sets bit i % 64 of same[i / 64] to 1 if pair i is equal, else to 0; bits
 * behind the last pair are cleared. The start of the next pair is prefetched while the present one
 * is compared.
 */
void fold_compare_batch_c(const struct fold_compare_pair *pairs, size_t n, uint64_t *same);

/* Puts the best versions for `flags` into the table. */
void fold_compare_select(unsigned flags, struct fold_kernels *out);

#endif
