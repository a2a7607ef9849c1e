/* SPDX-License-Identifier: MIT */
/*
 * Batch probes of the cuckoo filter, and the geometry that the probes and the filter's writer must
 * agree on.
 *
 * A key is a 64-bit hash. Its low 24 bits choose a root, the next high ones a region below the
 * root, the 30 bits after those are the position x of the key in its region. A region is an ordered
 * range of `lines` cache lines; position x belongs to line floor((x >> 10) * lines / 2^20), its
 * home. What an entry in its home line must remember of x is `off`, 0..191, and the 10 low
 * bits: 17.6 bits, of which 2.6 are not stored but follow from where in the line it stands.
 *
 * A line is eight 64-bit words: 30 slots of 16 bits, least significant first, then a header of 32
 * bits. slot     0 if empty, else the complement of 15 bits of (off % 32, low), under
 * FOLD_PROBE_HOME if the entry is at home order    by group (off / 32), empty slots last, any order
 * inside a group header   5 x 5 bits: first slot of groups 1..5; 7 bits `away`: keys of this home
 * with off / 2 + away >= 127 may stand in their other line instead, without FOLD_PROBE_HOME A
 * filled line of zeros is an empty one.
 *
 * An entry whose low bits are zero may be older than the last divisions of its region and stand for
 * all values of as many low bits as there were divisions since the root (`depth`): each key is
 * looked for with 0..depth low bits cleared.
 */
#ifndef FOLD_ASM_PROBE_H
#define FOLD_ASM_PROBE_H

#include "asm/kernels.h"

#include <stdbool.h>

#define FOLD_PROBE_SLOTS       30
#define FOLD_PROBE_GROUPS      6
#define FOLD_PROBE_WORDS       8   /* of 64 bits in a line */
#define FOLD_PROBE_FRAME_LINES 256 /* lines that lie together; a region is a list of frames */
#define FOLD_PROBE_MIN_LINES                                                                       \
    5632 /* of a region; fewer than 5462 could not tell all positions apart */
#define FOLD_PROBE_MAX_LINES  11264 /* twice as many */
#define FOLD_PROBE_MAX_FRAMES (FOLD_PROBE_MAX_LINES / FOLD_PROBE_FRAME_LINES)
#define FOLD_PROBE_MAX_DEPTH  10
#define FOLD_PROBE_MAX_ROOTS  16384
#define FOLD_PROBE_HOME       0x8000u
#define FOLD_PROBE_AWAY       127u

/*
 * What a probe reads. A directory word is lines | depth << 16 | (index of the region's first frame)
 * << 24. The words of `dir` and `frames` and the lines may change under a probe: it then answers
 * anything, but reads only memory that they point to or pointed to before (the writer's duty: all
 * FOLD_PROBE_MAX_FRAMES frame words of a region are valid).
 */
struct fold_probe_table {
    const uint64_t *dir;    /* roots << dir_bits words */
    const uint64_t *frames; /* addresses of frames, aligned to 64 */
    uint32_t roots;         /* 1 .. FOLD_PROBE_MAX_ROOTS */
    uint32_t dir_bits;      /* 0 .. FOLD_PROBE_MAX_DEPTH, at least the largest depth */
    uint32_t ages;          /* the largest depth */
    uint32_t zero;          /* 0 */
};

/* Index of the directory word of a key. */
static inline uint64_t fold_probe_dir_index(uint32_t roots, uint32_t dir_bits, uint64_t key)
{
    uint64_t root = (key & 0xffffff) * roots >> 24;
    return root << dir_bits | key >> 24 >> (40 - dir_bits);
}

/* Position of a key in its region of the given depth: 30 bits. */
static inline uint32_t fold_probe_position(uint64_t key, uint32_t depth)
{
    return (uint32_t)(key >> (34 - depth)) & 0x3fffffff;
}

/* Home line of position x in a region of `lines` lines, and its `off` there. */
static inline uint32_t fold_probe_home(uint32_t x, uint32_t lines, uint32_t *off)
{
    uint64_t z = (uint64_t)(x >> 10) * lines;
    *off = (uint32_t)((z & 0xfffff) * 192 >> 20);
    return (uint32_t)(z >> 20);
}

/* Steps from the home line of an entry up to its other line, modulo lines: 1 .. lines - 1. */
static inline uint32_t fold_probe_stride(uint32_t off, uint32_t lines)
{
    return 1 + ((off * 40503 & 0xffff) * (lines - 1) >> 16);
}

/* Slot contents of an entry at home; without FOLD_PROBE_HOME in its other line. */
static inline uint32_t fold_probe_code(uint32_t off, uint32_t low)
{
    return FOLD_PROBE_HOME | (~(off << 10 | low) & 0x7fff);
}

/* Sets bit i of maybe[i / 64] if key i may be in the filter and clears it if not; clears the bits
 * after the last. */
void fold_probe_c(const struct fold_probe_table *table, const uint64_t *keys, size_t n,
                  uint64_t *maybe);

/* Puts the best version for `flags` into the table. */
void fold_probe_select(unsigned flags, struct fold_kernels *out);

#endif
