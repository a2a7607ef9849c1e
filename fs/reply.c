/* SPDX-License-Identifier: MIT */
/*
 * Results to kernel replies. Timeouts are long because nobody else changes the volume; only what
 * may still change by itself (the block count of a file with unsaved data) is not cached.
 */
#include "fs/reply.h"

#include "fs/data.h"
#include "fs/session.h"
#include "meta/base/err.h"

#include <errno.h>

#define TIMEOUT_SECONDS 3600u

/* What st_blksize tells: cp takes at least 128 KiB anyway, buffered I/O of programs takes this. */
#define PREFERRED_IO_BYTES (64 * 1024)

void fold_reply(fuse_req_t req, int code)
{
    int err = fold_err_errno(code);
    /* The kernel would never ask again. */
    (void)fuse_reply_err(req, err == ENOSYS ? EIO : err);
}

void fold_reply_fill(const struct fold_attr *attr, uint64_t mapped, struct stat *st)
{
    memset(st, 0, sizeof *st);
    st->st_ino = attr->ino;
    st->st_mode = attr->mode;
    st->st_nlink = attr->nlink;
    st->st_uid = attr->uid;
    st->st_gid = attr->gid;
    st->st_rdev = attr->rdev;
    st->st_size = (off_t)attr->size;
    st->st_blksize = PREFERRED_IO_BYTES;
    st->st_blocks = (blkcnt_t)((mapped + 511) / 512);
    st->st_atim = attr->atime;
    st->st_mtim = attr->mtime;
    st->st_ctim = attr->ctime;
}

void fold_reply_stat(struct fold_session *s, struct fold_inode *inode, struct stat *st)
{
    (void)s;
    fold_lock_take(&inode->lock);
    struct fold_attr attr = inode->attr;
    attr.size = FOLD_MIN(attr.size, inode->shown_size);
    bool content = inode->data != NULL;
    fold_lock_drop(&inode->lock);
    fold_reply_fill(&attr, content ? fold_data_mapped(inode) : attr.mapped, st);
}

unsigned fold_reply_timeout(struct fold_inode *inode)
{
    fold_lock_take(&inode->lock);
    struct fold_data *d = inode->data;
    bool empty = inode->attr.mapped == 0 && inode->attr.size > 0;
    fold_lock_drop(&inode->lock);
    if (d == NULL)
        return TIMEOUT_SECONDS;
    fold_rwlock_read(&d->map);
    bool unsaved = d->direct != NULL || d->dirty.bytes > 0 || d->flushing.bytes > 0 ||
                   d->hidden_from != UINT64_MAX;
    fold_rwlock_drop(&d->map);
    unsaved = unsaved || (empty && atomic_load(&d->mappable) > 0);
    return unsaved ? 0 : TIMEOUT_SECONDS;
}

int fold_reply_entry_fill(struct fold_session *s, struct fold_inode *inode,
                          struct fuse_entry_param *e)
{
    int rc = fold_itable_lookup(s->inodes, inode->ino);
    if (rc < 0)
        return rc;
    memset(e, 0, sizeof *e);
    e->ino = inode->ino;
    e->generation = 1;
    e->entry_timeout = TIMEOUT_SECONDS;
    e->attr_timeout = fold_reply_timeout(inode);
    fold_reply_stat(s, inode, &e->attr);
    return 0;
}

void fold_reply_entry(fuse_req_t req, struct fold_inode *inode)
{
    struct fold_session *s = fold_req_session(req);
    struct fuse_entry_param e;
    fold_ino ino = inode->ino;
    int rc = fold_reply_entry_fill(s, inode, &e);
    if (rc < 0)
        fold_reply(req, rc);
    else if (fuse_reply_entry(req, &e) < 0)
        fold_itable_forget(s->inodes, ino, 1);
}

void fold_reply_no_entry(fuse_req_t req)
{
    struct fuse_entry_param e;
    memset(&e, 0, sizeof e);
    e.entry_timeout = TIMEOUT_SECONDS;
    (void)fuse_reply_entry(req, &e);
}

void fold_reply_attr(fuse_req_t req, struct fold_inode *inode)
{
    struct stat st;
    double timeout = fold_reply_timeout(inode);
    fold_reply_stat(fold_req_session(req), inode, &st);
    (void)fuse_reply_attr(req, &st, timeout);
}
