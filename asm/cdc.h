/* SPDX-License-Identifier: MIT */
/*
 * Content-defined cut candidates: a linear form over the 32 bytes before a position, compared with
 * a threshold.
 *
 * All arithmetic is modulo 2^16. With w(i) the little-endian word of bytes i-2 and i-1:
 *     f(i) = w(i) + A w(i-2)    g(i) = f(i) + B f(i-4)    h(i) = g(i) + C g(i-8)    form(i) = h(i)
 * + D h(i-16) Position i (a chunk may end before byte i) is a candidate iff form(i), read as
 * signed, is greater than `form`. On random data a fraction (32767 - form) / 65536 of the positions
 * are candidates. A run of zeros has none. The form depends on nothing but those 32 bytes: a scan
 * can be split or resumed anywhere.
 */
#ifndef FOLD_ASM_CDC_H
#define FOLD_ASM_CDC_H

#include "asm/kernels.h"

#define FOLD_CDC_A 0x1313
#define FOLD_CDC_B 0xa299
#define FOLD_CDC_C 0x3b9f
#define FOLD_CDC_D 0x94b3

/* Bytes before a position that its form depends on. */
#define FOLD_CDC_WINDOW 32

/* Bytes that must stand before `from`. */
#define FOLD_CDC_BEFORE 512

/*
 * First candidate in [from, to), `to` if there is none. Reads nothing outside bytes [0, to - 1) of
 * data; FOLD_CDC_BEFORE <= from <= to; 0 <= form <= 32767. Any alignment.
 */
size_t fold_cdc_scan_c(const uint8_t *data, size_t from, size_t to, int32_t form);

/* The form at position i >= FOLD_CDC_WINDOW. */
int16_t fold_cdc_form(const uint8_t *data, size_t i);

/* Puts the best version for `flags` into the table. */
void fold_cdc_select(unsigned flags, struct fold_kernels *out);

#endif
