/* SPDX-License-Identifier: MIT */
/*
 * FastCDC as its authors describe it, the yardstick for our own chunker: W. Xia et al., "The Design
 * of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems", IEEE TPDS 31
 * (2020). Gear hash, cut-point skipping, normalised chunking of level 2, two bytes per step.
 * Written from the paper.
 */
#ifndef FOLD_BENCH_FASTCDC_H
#define FOLD_BENCH_FASTCDC_H

#include <stddef.h>
#include <stdint.h>

struct fastcdc {
    size_t min;
    size_t normal;
    size_t max;
    uint64_t strict; /* masks */
    uint64_t loose;
    uint64_t gear[256];
    uint64_t gear_shifted[256];
};

/* `avg` is a power of two; min = avg / min_part, max = 8 avg. `seed` makes the gear table. */
void fastcdc_init(struct fastcdc *f, size_t avg, size_t min_part, uint64_t seed);

/* The same with lengths that need not be powers of two: the masks stay those of 2^bits. */
void fastcdc_init_lengths(struct fastcdc *f, size_t min, size_t normal, size_t max, unsigned bits,
                          uint64_t seed);

/* Length of the first chunk of data[0..len). */
size_t fastcdc_next(const struct fastcdc *f, const uint8_t *data, size_t len);

#endif
