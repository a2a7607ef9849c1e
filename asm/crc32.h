/* SPDX-License-Identifier: MIT */
/*
 * CRC-32 (zlib's, reflected polynomial 0xEDB88320), for data that other programs check. Start with
 * 0 and feed pieces in order; inversion happens inside. Any alignment, any length; nothing outside
 * data[0..len) is read.
 */
#ifndef FOLD_ASM_CRC32_H
#define FOLD_ASM_CRC32_H

#include "asm/kernels.h"

#define FOLD_CRC32_POLY 0xEDB88320u

uint32_t fold_crc32_c(uint32_t crc, const void *data, size_t len);

/* CRC of the concatenation of two pieces, given the CRC of each (both started at 0) and the length
 * of the second. */
uint32_t fold_crc32_combine(uint32_t crc1, uint32_t crc2, uint64_t len2);

/* CRC of what `crc` is the CRC of, followed by `len` zero bytes; O(log len). */
uint32_t fold_crc32_zeros(uint32_t crc, uint64_t len);

/* Puts the best version for `flags` into the table. */
void fold_crc32_select(unsigned flags, struct fold_kernels *out);

#endif
