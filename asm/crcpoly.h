/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic of reflected 32-bit CRCs: multiplication modulo the polynomial, powers of x,
 * combination of two CRCs, and slicing-by-8 over tables made at build time by asm/gen/crc_tables.c.
 * A value's bit 31 is the coefficient of x^0, its bit 0 that of x^31.
 */
#ifndef FOLD_ASM_CRCPOLY_H
#define FOLD_ASM_CRCPOLY_H

#include <stddef.h>
#include <stdint.h>

/* a * b mod the polynomial. */
uint32_t fold_crcpoly_mul(uint32_t poly, uint32_t a, uint32_t b);

/* x^n mod the polynomial. */
uint32_t fold_crcpoly_power(uint32_t poly, uint64_t n);

/* CRC of two pieces put together. */
uint32_t fold_crcpoly_combine(uint32_t poly, uint32_t crc1, uint32_t crc2, uint64_t len2);

/* Runs data through slicing-by-8 tables; the state is not inverted. */
uint32_t fold_crcpoly_slice(const uint32_t table[8][256], uint32_t state, const uint8_t *data,
                            size_t len);

#endif
