/* SPDX-License-Identifier: MIT */
/*
 * The way out: what bytes a file has in a range, as a list of pieces of memory that need no
 * copying: dirty slices, mapped segments, decoded chunks, zeros. Everything listed stays valid
 * until fini; of a stream, until the next stream read on the same thread at the latest.
 */
#ifndef FOLD_FS_READPATH_H
#define FOLD_FS_READPATH_H

#include "fs/data.h"
#include "meta/recipe.h"

#include <sys/uio.h>

struct fold_session;

struct fold_read {
    struct iovec *iov;
    size_t count, cap;
    size_t len; /* sum of the pieces: less than asked for at the end of the file */
    struct fold_part *parts;
    size_t part_count, part_cap;
    struct fold_pin *pins;
    size_t pin_count, pin_cap;
    bool inside; /* of the session's gate, until fini */
    unsigned gate_token;
    struct fold_extent last; /* the last chunk extent met, for prefetching; kind 0 if none */
    bool more;               /* the file goes on behind what was asked for */
    bool fills;              /* set by the caller: the kernel keeps the bytes in its page cache */
    bool stream;             /* set by the caller: nobody will ask for these bytes again soon */
    uint8_t *scratch;        /* of this thread, for the decoded chunks of a stream; or NULL */
    size_t scratch_len;
};

/*
 * Collects [off, off+len) of a regular file, clipped at its size. Takes the map lock shared and the
 * inode lock. `r` must be zeroed but for `stream` and `fills`; fini it in every case. -EIO and the
 * errors of fold_store_view: nothing may be used.
 */
int fold_read_collect(struct fold_session *s, struct fold_inode *inode, uint64_t off, size_t len,
                      struct fold_read *r) FOLD_MUST;

/*
 * The same of the stored content alone, dirty data left out. The caller holds the flush lock of the
 * inode, so that the recipe stands still, and is inside the gate.
 */
int fold_read_recipe(struct fold_session *s, struct fold_inode *inode, uint64_t off, uint64_t len,
                     struct fold_read *r) FOLD_MUST;

void fold_read_fini(struct fold_session *s, struct fold_read *r);

/* Appends the bytes of one extent to the list. */
int fold_read_extent(struct fold_session *s, const struct fold_extent *e,
                     struct fold_read *r) FOLD_MUST;

/* Copies the collected bytes out. -EIO if a mapping faults. */
int fold_read_copy(const struct fold_read *r, void *dst) FOLD_MUST;

/* Has the segments behind [off, off+len) read into memory and mapped. May wait for the disk. */
void fold_read_prefetch(struct fold_session *s, struct fold_inode *inode, uint64_t off,
                        uint64_t len);

#endif
