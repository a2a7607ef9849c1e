/* SPDX-License-Identifier: MIT */
/*
 * Looks for data and holes in the recipe of a file, which is stored and frozen meanwhile. What was
 * written through a shared mapping is known to the kernel alone until it writes it back, so what
 * looks like a hole of a file that may be mapped is looked at again after the kernel has written
 * back what it has there.
 */
#include "fs/seek.h"

#include "fs/data.h"
#include "fs/freeze.h"
#include "fs/longwork.h"
#include "fs/mapped.h"
#include "fs/session.h"
#include "meta/base/knob.h"
#include "meta/recipe.h"

#include <errno.h>

/* Holes are told in blocks of this size. */
#define BLOCK_BYTES 4096u

/*
 * First block at or after *at, which begins one, with data in it; `size` if there is none. Looks at
 * one stretch of the file: FOLD_SEEK_MORE with *at behind it if there is none in that.
 */
static int next_data(struct fold_session *s, struct fold_inode *inode, uint64_t size, uint64_t *at)
{
    uint64_t stop = FOLD_MIN(size - *at, fold_knobs.seek_stride) + *at, found = size, page_no = 0;
    int rc = fold_mapped_next(s, inode, *at, stop, true, &found);
    if (rc != 0)
        return rc;
    if (found < stop) {
        *at = found - found % BLOCK_BYTES;
        return 0;
    }
    *at = size;
    if (stop == size)
        return 0;
    rc = fold_recipe_next(fold_session_catalog(s), inode->ino, stop / FOLD_PAGE_BYTES, &page_no);
    if (rc != 0)
        return rc == -ENOENT ? 0 : rc;
    *at = FOLD_MIN(size, FOLD_MAX(stop - stop % BLOCK_BYTES, page_no * FOLD_PAGE_BYTES));
    return *at < size ? FOLD_SEEK_MORE : 0;
}

/*
 * The same for a block without data. One with any data in it is all data: programs work out the
 * size of blocks by seeking, and none of them expects holes of single bytes.
 */
static int next_hole(struct fold_session *s, struct fold_inode *inode, uint64_t size, uint64_t *at)
{
    uint64_t stop = FOLD_MIN(size - *at, fold_knobs.seek_stride) + *at, from = size, end = size;
    int rc = fold_mapped_next(s, inode, *at, stop, true, &from);
    if (rc != 0 || from >= stop || from - *at >= BLOCK_BYTES)
        return rc;
    rc = fold_mapped_next(s, inode, from, stop, false, &end);
    if (rc != 0)
        return rc;
    uint64_t rest = (BLOCK_BYTES - end % BLOCK_BYTES) % BLOCK_BYTES; /* of its last block */
    *at = size - end <= rest ? size : end + rest;
    return *at < size ? FOLD_SEEK_MORE : 0;
}

/* Where the hole ends that begins at `at`, as far as one stretch shows. */
static int end_of_hole(struct fold_session *s, struct fold_inode *inode, uint64_t size, uint64_t at,
                       uint64_t *end)
{
    *end = size;
    if (at >= size)
        return 0;
    uint64_t next = at;
    int rc = next_data(s, inode, size, &next);
    if (rc == 0 || rc == FOLD_SEEK_MORE)
        *end = next;
    return FOLD_MIN(rc, 0);
}

/* Looks from st->at on, which begins a block, as long as it may: 0 when it is the answer, in a file
 * of *size bytes; the hole found there, if so, ends at *end. */
static int look(struct fold_session *s, struct fold_inode *inode, uint64_t off, bool data,
                const struct fold_long *work, struct fold_seek_state *st, uint64_t *size,
                uint64_t *end)
{
    int rc = fold_inode_freeze(s, inode);
    if (rc != 0)
        return rc;
    fold_lock_take(&inode->lock);
    *size = inode->attr.size;
    fold_lock_drop(&inode->lock);
    do {
        if (off >= *size || st->at >= *size)
            break;
        rc = data ? next_data(s, inode, *size, &st->at) : next_hole(s, inode, *size, &st->at);
    } while (rc == FOLD_SEEK_MORE && !fold_long_due(work));
    if (rc == 0 && !data)
        rc = end_of_hole(s, inode, *size, st->at, end);
    fold_inode_thaw(s, inode);
    return rc;
}

int fold_seek(struct fold_session *s, struct fold_inode *inode, uint64_t off, bool data,
              const struct fold_long *work, struct fold_seek_state *st, uint64_t *out)
{
    uint64_t size = 0, end = 0, first = off - off % BLOCK_BYTES;
    st->at = FOLD_MAX(st->at, first);
    int rc = look(s, inode, off, data, work, st, &size, &end);
    if (rc != 0)
        return rc;
    if (off >= size)
        return -ENXIO;
    uint64_t found = FOLD_MIN(st->at, size);
    /* What has to be a hole for it to be true: up to the data, or one block; and the whole hole is
     * asked for at once. */
    uint64_t from = data ? first : found, to = data ? found : FOLD_MIN(size, found + BLOCK_BYTES);
    bool known = from >= to || (st->ask <= from && to <= st->stop);
    if (!known && atomic_load(&inode->data->mappable) > 0) {
        st->ask = from;
        st->stop = data ? to : FOLD_MAX(to, end);
        if (data)
            st->at = first; /* it may have become data */
        return FOLD_SEEK_ASK;
    }
    if (data && found == size)
        return -ENXIO;
    *out = FOLD_MAX(off, found);
    return 0;
}

int fold_seek_all_data(struct fold_inode *inode, uint64_t off, bool data, uint64_t *out)
{
    fold_lock_take(&inode->lock);
    uint64_t size = inode->attr.size;
    fold_lock_drop(&inode->lock);
    if (off >= size)
        return -ENXIO;
    *out = data ? off : size;
    return 0;
}
