/* SPDX-License-Identifier: MIT */
/*
 * The table of hot kernels and how one is chosen. fold_kernels_select is a pure function of CPU flags; the process-wide
 * table is filled once, on first use, from cpuid (with XCR0) and FOLDFS_CPU=scalar|sse42|avx2|avx512.
 * Every kernel has the same results at every level.
 */
#ifndef FOLD_ASM_KERNELS_H
#define FOLD_ASM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum fold_level { FOLD_LEVEL_SCALAR, FOLD_LEVEL_SSE42, FOLD_LEVEL_AVX2, FOLD_LEVEL_AVX512, FOLD_LEVELS };

struct fold_cdc_law {
    int16_t prefilter; /* position is a candidate iff the 16-bit signed windowed form exceeds it */
};

struct fold_kernels {
    enum fold_level level;

    /* First candidate position i in [from, to) (a cut before byte i... contract in asm/cdc.h), or `to` if none. */
    size_t (*cdc_scan)(const uint8_t *data, size_t from, size_t to, int32_t prefilter);

    /* CRC-32C (Castagnoli) / CRC-32 (zlib's) of data continuing from `crc` (0 to start), both already inverted in and out. */
    uint32_t (*crc32c)(uint32_t crc, const void *data, size_t len);
    uint32_t (*crc32)(uint32_t crc, const void *data, size_t len);

    /* Length of the run of zero bytes at the start of data (len if all are zero). */
    size_t (*zero_run)(const void *data, size_t len);

    /* Length of the run of bytes from the start of data up to (not including) the first 64-byte-aligned-relative block
     * of `block` (power of two >= 64) zero bytes; len if there is none. */
    size_t (*data_run)(const void *data, size_t len, size_t block);

    /* Index of the first difference, len if equal. */
    size_t (*compare)(const void *a, const void *b, size_t len);

    /* Samples data and estimates compressibility: 0 (looks random) .. 1000 (very compressible). */
    unsigned (*entropy)(const void *data, size_t len);

    /* Cuckoo-filter probe of n keys, see asm/probe.h; bit i of maybe[i/64] set if present. */
    void (*probe)(const void *lines, uint64_t mask, const uint64_t *keys, size_t n, uint64_t *maybe);
};

/* The chosen table; thread-safe, never NULL. */
const struct fold_kernels *fold_kernels(void);

#endif
