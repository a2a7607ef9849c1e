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
#include "fs/mapped.h"
#include "fs/session.h"

#include <errno.h>

/* Holes are told in blocks of this size. */
#define BLOCK_BYTES 4096u

/*
 * First data byte (`data`) or hole byte at or after `off`, in blocks: one with any data in it is
 * all data. Programs work out the size of blocks by seeking, and none of them expects holes of
 * single bytes. The file is frozen.
 */
static int next_block(struct fold_session *s, struct fold_inode *inode, uint64_t off, uint64_t size,
                      bool data, uint64_t *out)
{
    uint64_t at = off - off % BLOCK_BYTES;
    for (;;) {
        uint64_t from = size, end = size;
        int rc = fold_mapped_next(s, inode, at, size, true, &from);
        if (rc == 0 && !data && from < size)
            rc = fold_mapped_next(s, inode, from, size, false, &end);
        if (rc != 0)
            return rc;
        if (from < size)
            from -= from % BLOCK_BYTES;
        if (data || from > at || from == size) {
            *out = FOLD_MAX(off, data ? from : at);
            return 0;
        }
        uint64_t rest = (BLOCK_BYTES - end % BLOCK_BYTES) % BLOCK_BYTES; /* of its last block */
        if (size - end <= rest) {
            *out = size;
            return 0;
        }
        at = end + rest;
    }
}

/*
 * One look: *found is the answer, the size if there is none, and *hole what has to be a hole for it
 * to be true.
 */
static int look(struct fold_session *s, struct fold_inode *inode, uint64_t off, bool data,
                uint64_t *found, struct fold_seek_range *hole)
{
    int rc = fold_inode_freeze(s, inode);
    if (rc != 0)
        return rc;
    fold_lock_take(&inode->lock);
    uint64_t size = inode->attr.size;
    fold_lock_drop(&inode->lock);
    rc = off < size ? next_block(s, inode, off, size, data, found) : -ENXIO;
    if (rc == 0 && data) {
        hole->from = *found > off ? off - off % BLOCK_BYTES : *found;
        hole->end = *found;
    } else if (rc == 0) {
        hole->from = hole->end = *found;
        if (*found < size)
            rc = next_block(s, inode, *found, size, true, &hole->end);
    }
    if (rc == 0 && data && *found == size)
        rc = -ENXIO;
    fold_inode_thaw(s, inode);
    return rc;
}

int fold_seek(struct fold_session *s, struct fold_inode *inode, uint64_t off, bool data,
              struct fold_seek_range *ask, uint64_t *out)
{
    uint64_t found = 0;
    struct fold_seek_range hole = {0};
    int rc = look(s, inode, off, data, &found, &hole);
    bool known = ask->from <= hole.from && hole.end <= ask->end;
    if ((rc == 0 || rc == -ENXIO) && hole.from < hole.end && !known &&
        atomic_load(&inode->data->mappable) > 0) {
        *ask = hole;
        return FOLD_SEEK_ASK;
    }
    if (rc == 0)
        *out = found;
    return rc;
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
