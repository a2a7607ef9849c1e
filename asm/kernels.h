/* SPDX-License-Identifier: MIT */
/*
 * The table of hot kernels and how one is chosen. fold_kernels_select is a pure function of CPU
 * flags; the table of the process is filled once, on first use, from the CPU and
 * FOLDFS_CPU=scalar|sse42|avx2|avx512, and counts calls. Every kernel has the same results at every
 * level. Contracts in full stand in the header of each family.
 */
#ifndef FOLD_ASM_KERNELS_H
#define FOLD_ASM_KERNELS_H

#include "asm/cpu.h"

#include <stddef.h>
#include <stdint.h>

/* The kernels of the table. */
enum fold_kernel {
    FOLD_KERNEL_CDC,
    FOLD_KERNEL_FINGERPRINT,
    FOLD_KERNEL_CRC32C,
    FOLD_KERNEL_CRC32,
    FOLD_KERNEL_PROBE,
    FOLD_KERNEL_ZERO,
    FOLD_KERNEL_COMPARE,
    FOLD_KERNEL_COMPARE_BATCH,
    FOLD_KERNEL_ENTROPY,
    FOLD_KERNELS
};

struct fold_compare_pair;
struct fold_probe_table;

struct fold_kernels {
    enum fold_level level;                /* what the flags allow */
    enum fold_level chosen[FOLD_KERNELS]; /* what each kernel was taken from, at most `level` */

    /* First position in [from, to) that may end a chunk, `to` if none: asm/cdc.h. */
    size_t (*cdc_scan)(const uint8_t *data, size_t from, size_t to, int32_t form);

    /* XXH3-128 of data under a secret of 192 bytes, low half first: asm/xxh3.h. */
    void (*fingerprint)(const void *data, size_t len, const uint8_t *secret, uint64_t out[2]);

    /* CRC-32C (Castagnoli) and CRC-32 (zlib's) of data continuing from `crc` (0 to start), both
     * inverted in and out. */
    uint32_t (*crc32c)(uint32_t crc, const void *data, size_t len);
    uint32_t (*crc32)(uint32_t crc, const void *data, size_t len);

    /* Length of the run of zero bytes at the start of data (len if all are zero). */
    size_t (*zero_run)(const void *data, size_t len);

    /*
     * Length of the run of bytes from the start of data up to (not including) the first block of
     * `block` zero bytes, blocks counted from the start of data; len if there is none. `block` is a
     * power of two >= 64; a last, shorter block does not count.
     */
    size_t (*data_run)(const void *data, size_t len, size_t block);

    /* Index of the first difference, len if equal. */
    size_t (*compare)(const void *a, const void *b, size_t len);

    /* Compares n pairs; bit i of same[i / 64] becomes 1 if pair i is equal: asm/compare.h. */
    void (*compare_batch)(const struct fold_compare_pair *pairs, size_t n, uint64_t *same);

    /* Samples data and estimates compressibility: 0 (looks random) .. 1000 (very compressible):
     * asm/entropy.h. */
    unsigned (*entropy)(const void *data, size_t len);

    /* Cuckoo-filter probe of n keys; bit i of maybe[i / 64] set if perhaps present: asm/probe.h. */
    void (*probe)(const struct fold_probe_table *table, const uint64_t *keys, size_t n,
                  uint64_t *maybe);
};

/* Fills `out` with the best kernels that `flags` (asm/cpu.h) allow. They do not count calls. */
void fold_kernels_select(unsigned flags, struct fold_kernels *out);

/* The table of the process; thread-safe, never NULL, always the same. */
const struct fold_kernels *fold_kernels(void);

struct fold_kernel_count {
    const char *name;
    const char *level; /* level of the implementation that the process uses */
    /* Through fold_kernels(), all threads; exact up to 64 threads that call kernels. A batch of
     * comparisons counts as one call of compare_batch and as one of compare for each pair. */
    uint64_t calls;
};

/* Fills FOLD_KERNELS entries, in the order of enum fold_kernel. */
void fold_kernels_counts(struct fold_kernel_count *out);

/* "cdc", "crc32c", ... */
const char *fold_kernel_name(enum fold_kernel kernel);

#endif
