/* SPDX-License-Identifier: MIT */
/*
 * Direct writes beside the kernel's page cache. A write that passes by the page cache (through a
 * direct handle, or with O_DIRECT) is not seen by pages that the kernel has read before; the kernel
 * drops them around the write, but a mapping or a reader may bring an old page back in between.
 * Such a page shows old bytes, and if it is stored to, its write-back would put them into the file.
 *
 * So while pages may be cached, a direct write is guarded from the moment it is applied until the
 * kernel has been made to drop what it has of the range, and only then answered. Meanwhile
 * - what is written back of pages older than the write is left out where the write was: stores that
 *   happened at the same time as the write count as before it;
 * - reads return the new bytes, so a page that is read from then on is new;
 * - the size that others are shown is the old one, so that nobody looks at a new end of the file
 *   through an old page.
 */
#ifndef FOLD_FS_DIRECT_H
#define FOLD_FS_DIRECT_H

#include "fs/itable.h"

struct fold_data;

/* A write request has at most this many bytes. */
#define FOLD_DIRECT_MOST (1u << 20)
#define FOLD_DIRECT_PAGE 4096u

/* Part of the write request. Zeros but for off and end. */
struct fold_direct {
    uint64_t off, end;        /* what is written */
    uint64_t shown;           /* size of the file before, if the write made it longer; map lock */
    struct fold_direct *next; /* map lock */
    /* One bit for each page of the range: read since the write, so that its write-backs count. */
    _Atomic uint64_t fresh[FOLD_DIRECT_MOST / FOLD_DIRECT_PAGE / 64 + 1];
};

/* Begins: called with the map lock held exclusively, together with the change of content. */
void fold_direct_enter_locked(struct fold_inode *inode, struct fold_direct *w);

/* Ends: the kernel has dropped its old pages. Takes map and inode lock. */
void fold_direct_leave(struct fold_inode *inode, struct fold_direct *w);

/* The size was set by somebody: it is shown as it is. Map lock held exclusively. */
void fold_direct_resized_locked(struct fold_inode *inode);

/* The kernel reads [off, off + len) into its page cache. Map lock held. */
void fold_direct_filling_locked(struct fold_data *d, uint64_t off, uint64_t len);

/*
 * The next piece of [*off, end) in which a page that is written back may change the file: from *off
 * to the result. False if there is none. Map lock held.
 */
bool fold_direct_piece_locked(const struct fold_data *d, uint64_t *off, uint64_t end,
                              uint64_t *piece_end);

#endif
