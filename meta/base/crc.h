/* SPDX-License-Identifier: MIT */
/*
 * The checksum most stored structures end in: CRC-32C of all their bytes before it.
 */
#ifndef FOLD_META_BASE_CRC_H
#define FOLD_META_BASE_CRC_H

#include "asm/kernels.h"
#include "meta/base/bytes.h"

#define FOLD_CRC_BYTES 4u

/* Appends the checksum of everything written so far. */
static inline void fold_crc_put(struct fold_wr *w)
{
    fold_wr_u32(w, fold_kernels()->crc32c(0, w->base, fold_wr_len(w)));
}

/* True if the last four of `len` bytes are the checksum of those before. */
static inline bool fold_crc_holds(const void *buf, size_t len)
{
    if (len < FOLD_CRC_BYTES)
        return false;
    size_t covered = len - FOLD_CRC_BYTES;
    struct fold_rd r = fold_rd_init((const uint8_t *)buf + covered, FOLD_CRC_BYTES);
    return fold_rd_u32(&r) == fold_kernels()->crc32c(0, buf, covered);
}

#endif
