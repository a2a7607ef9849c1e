/* SPDX-License-Identifier: MIT */
/*
 * An ordered map of non-overlapping byte ranges of a file to bytes in memory: the dirty data of an
 * inode. Inserting replaces what it overlaps. Two levels of sorted arrays: O(log n) to find, a
 * bounded move to insert. What the map itself takes is charged to the budget of the buffers in it.
 * Not thread-safe; the owner's lock guards it.
 */
#ifndef FOLD_FS_SLICEMAP_H
#define FOLD_FS_SLICEMAP_H

#include "fs/buf.h"

struct fold_slice {
    uint64_t off;         /* in the file */
    const uint8_t *data;  /* inside buf */
    struct fold_buf *buf; /* one reference held */
    uint32_t len;
};

struct fold_slice_block;

struct fold_slices {
    struct fold_slice_block **blocks;
    size_t cap;
    uint32_t count;
    uint64_t bytes;                 /* sum of lengths */
    struct fold_slice_block *spare; /* reserved for the change under way; else none */
};

/* A place in the map; valid until the map changes. */
struct fold_slice_pos {
    uint32_t block, index;
};

/* Drops everything; the map is empty and usable afterwards. */
void fold_slices_clear(struct fold_slices *m);

/* Inserts; takes over the reference in `s` on success. -ENOMEM: the map is as before, and `s` is
 * not taken. */
int fold_slices_insert(struct fold_slices *m, const struct fold_slice *s) FOLD_MUST;

/* Removes [off, off+len), len may reach past any offset. -ENOMEM when a slice cannot be split:
 * nothing is changed. */
int fold_slices_punch(struct fold_slices *m, uint64_t off, uint64_t len) FOLD_MUST;

/* First slice that ends after `off`; NULL if none. */
const struct fold_slice *fold_slices_seek(const struct fold_slices *m, uint64_t off,
                                          struct fold_slice_pos *pos);

/* The slice after `pos`; NULL at the end. */
const struct fold_slice *fold_slices_next(const struct fold_slices *m, struct fold_slice_pos *pos);

/* Number of bytes the map has inside [off, off+len). */
uint64_t fold_slices_covered(const struct fold_slices *m, uint64_t off, uint64_t len);

#endif
