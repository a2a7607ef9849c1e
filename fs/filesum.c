/* SPDX-License-Identifier: MIT */
/*
 * Windows of the file go through the way out, so dirty, compressed and mapped bytes are all the
 * same here, and damage is found as by any reader. Where the recipe has no pages at all nothing is
 * read: zeros multiply the checksum by a power.
 */
#include "fs/filesum.h"

#include "asm/crc32.h"
#include "fs/flush.h"
#include "fs/readpath.h"
#include "fs/session.h"
#include "meta/base/guard.h"
#include "meta/recipe.h"

#include <errno.h>

#define WINDOW  (1u << 20)
#define PREPARE (8 * (uint64_t)WINDOW) /* read from the disk at once */

/* Apart from its loop, because a guard may jump back into the function that set it. */
static __attribute__((noinline)) int add_piece(const struct iovec *v, uint32_t *crc)
{
    int rc;
    FOLD_GUARDED(rc, *crc = fold_kernels()->crc32(*crc, v->iov_base, v->iov_len));
    return rc;
}

/* Adds [off, off+WINDOW), clipped at the end of the file; *done bytes were there. */
static int add_window(struct fold_session *s, struct fold_inode *inode, uint64_t off,
                      uint64_t *done, uint32_t *crc)
{
    struct fold_read r = {0};
    int rc = fold_read_collect(s, inode, off, WINDOW, &r);
    for (size_t i = 0; rc == 0 && i < r.count; i++)
        rc = add_piece(&r.iov[i], crc);
    *done = r.len;
    fold_read_fini(s, &r);
    return rc;
}

/* Where the recipe begins again at or after `off`, at most `size`. */
static int next_mapped(struct fold_session *s, struct fold_inode *inode, uint64_t off,
                       uint64_t size, uint64_t *out)
{
    uint64_t page_no = off / FOLD_PAGE_BYTES;
    uint64_t found = page_no;
    int rc = fold_recipe_next(fold_session_catalog(s), inode->ino, page_no, &found);
    if (rc == -ENOENT)
        *out = size;
    else if (rc == 0)
        *out = found > page_no ? FOLD_MIN(size, found * FOLD_PAGE_BYTES) : off;
    return rc == -ENOENT ? 0 : rc;
}

int fold_filesum_crc32(struct fold_session *s, struct fold_inode *inode, fuse_req_t req,
                       uint32_t *out)
{
    uint32_t crc = 0;
    uint64_t prepared = 0;
    struct fold_data *data;
    int rc = fold_data_get(inode, &data);
    if (rc == 0 && !s->opt.read_only)
        rc = fold_flush_inode(s, inode);
    fold_lock_take(&inode->lock);
    uint64_t size = inode->attr.size;
    fold_lock_drop(&inode->lock);
    for (uint64_t off = 0, next = 0, done = 0; rc == 0 && off < size; off += done) {
        if (fuse_req_interrupted(req))
            return -EINTR;
        rc = next_mapped(s, inode, off, size, &next);
        if (rc != 0)
            break;
        done = next - off;
        crc = fold_crc32_zeros(crc, done);
        if (done > 0)
            continue;
        if (off >= prepared) {
            fold_read_prefetch(s, inode, off, PREPARE);
            prepared = off + PREPARE;
        }
        rc = add_window(s, inode, off, &done, &crc);
        if (done == 0)
            break; /* cut off meanwhile */
    }
    if (rc == 0)
        *out = crc;
    return rc;
}
