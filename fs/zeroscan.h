/* SPDX-License-Identifier: MIT */
/*
 * Finds the long zero runs of a run of dirty slices, slice by slice just ahead of the chunker, so
 * that each byte is brought from memory once. Where a zero run begins and ends depends on the bytes
 * alone, not on how they arrived.
 */
#ifndef FOLD_FS_ZEROSCAN_H
#define FOLD_FS_ZEROSCAN_H

#include "fs/slicemap.h"

/* Zero runs of at least this many bytes become holes; shorter ones stay in their chunks. */
#define FOLD_ZERO_RUN 8192u

struct fold_zero_run {
    uint64_t start, end; /* file offsets */
};

struct fold_zeroscan {
    const struct fold_slice *slices; /* contiguous in the file */
    size_t n;
    size_t next;                /* slice to be scanned next */
    uint64_t scanned;           /* file offset up to which runs are known, but for `open` */
    struct fold_zero_run open;  /* a run that reaches `scanned`, start == end if none */
    struct fold_zero_run *runs; /* found, in order */
    size_t count, cap, used;    /* runs before `used` lie behind the chunker */
};

void fold_zeroscan_init(struct fold_zeroscan *z, const struct fold_slice *slices, size_t n);
void fold_zeroscan_fini(struct fold_zeroscan *z);

/*
 * The first long zero run that ends after `pos` and starts before `limit`: true and *out, or false.
 * Positions must not decrease from call to call. *rc is set to -ENOMEM if memory is short.
 */
bool fold_zeroscan_find(struct fold_zeroscan *z, uint64_t pos, uint64_t limit,
                        struct fold_zero_run *out, int *rc);

#endif
