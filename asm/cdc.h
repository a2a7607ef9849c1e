/* SPDX-License-Identifier: MIT */
/*
 * Content-defined cut candidates: a linear form over the bytes before a position, compared with a threshold.
 *
 * All arithmetic is modulo 2^16. With w(i) the little-endian word of bytes i-2 and i-1:
 *     f(i) = w(i) + A w(i-2)     g(i) = f(i) + B f(i-64)     h(i) = g(i) + C g(i-128)
 * Position i (a chunk may end before byte i) is a candidate iff h(i), read as signed, is greater than `form`. On
 * random data a fraction (32767 - form) / 65536 of the positions are candidates. A run of zeros has none.
 * The form depends on nothing but the 16 bytes it taps, the first of them FOLD_CDC_REACH bytes before i: a scan can
 * be split or resumed anywhere.
 */
#ifndef FOLD_ASM_CDC_H
#define FOLD_ASM_CDC_H

#include "asm/kernels.h"

#define FOLD_CDC_A 0x9e37
#define FOLD_CDC_B 0x6a95
#define FOLD_CDC_C 0xc2b3

/* Bytes before a position that its form depends on. */
#define FOLD_CDC_REACH 196

/* Bytes that must stand before `from`. */
#define FOLD_CDC_BEFORE 512

/*
 * First candidate in [from, to), `to` if there is none. Reads nothing outside bytes [0, to - 1) of data;
 * FOLD_CDC_BEFORE <= from <= to; -32768 <= form <= 32767. Any alignment.
 */
size_t fold_cdc_scan_c(const uint8_t *data, size_t from, size_t to, int32_t form);

/* The form at position i >= FOLD_CDC_REACH. */
int16_t fold_cdc_form(const uint8_t *data, size_t i);

/* Puts the best version for `flags` into the table. */
void fold_cdc_select(unsigned flags, struct fold_kernels *out);

#endif
