/* SPDX-License-Identifier: MIT */
/*
 * Windows of the file go through the way out, so dirty, compressed and mapped bytes are all the
 * same here, and damage is found as by any reader. Where the recipe has no pages at all nothing is
 * read: zeros multiply the checksum by a power.
 */
#include "fs/filesum.h"

#include "asm/crc32.h"
#include "fs/data.h"
#include "fs/longwork.h"
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

int fold_filesum_begin(struct fold_session *s, struct fold_inode *inode, struct fold_filesum *f)
{
    struct fold_data *data;
    (void)s;
    *f = (struct fold_filesum){0};
    int rc = fold_data_get(inode, &data);
    fold_lock_take(&inode->lock);
    f->size = inode->attr.size;
    fold_lock_drop(&inode->lock);
    return rc;
}

int fold_filesum_step(struct fold_session *s, struct fold_inode *inode, const struct fold_long *l,
                      struct fold_filesum *f)
{
    while (f->off < f->size) {
        uint64_t next = 0, done = 0;
        if (fold_long_interrupted(l))
            return -EINTR;
        int rc = next_mapped(s, inode, f->off, f->size, &next);
        if (rc != 0)
            return rc;
        done = next - f->off;
        if (done > 0) {
            f->crc = fold_crc32_zeros(f->crc, done);
        } else {
            if (f->off >= f->prepared) {
                fold_read_prefetch(s, inode, f->off, PREPARE);
                f->prepared = f->off + PREPARE;
            }
            rc = add_window(s, inode, f->off, &done, &f->crc);
            if (rc != 0)
                return rc;
            if (done == 0)
                break; /* cut off meanwhile */
        }
        f->off += done;
        if (f->off < f->size && fold_long_due(l))
            return FOLD_FILESUM_MORE;
    }
    return 0;
}
