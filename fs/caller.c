/* SPDX-License-Identifier: MIT */
/*
 * The caller's groups. libfuse reads them from /proc; how many there are is known only after
 * asking.
 */
#include "fs/caller.h"

#include "fs/flush.h"

#define FIRST_GROUPS 64

bool fold_caller_keeps_sgid(fuse_req_t req, gid_t gid)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    if (ctx->uid == 0 || ctx->gid == gid)
        return true;
    gid_t few[FIRST_GROUPS];
    FOLD_AUTO(free) gid_t *many = NULL;
    const gid_t *list = few;
    int n = fuse_req_getgroups(req, FIRST_GROUPS, few);
    if (n > FIRST_GROUPS) {
        many = malloc((size_t)n * sizeof(gid_t));
        if (many == NULL)
            return false;
        n = FOLD_MIN(fuse_req_getgroups(req, n, many), n);
        list = many;
    }
    for (int i = 0; i < n; i++)
        if (list[i] == gid)
            return true;
    return false;
}

void fold_caller_drops_sgid(fuse_req_t req, struct fold_inode *inode, bool kill_priv)
{
    if (FOLD_LIKELY(!kill_priv))
        return;
    fold_lock_take(&inode->lock);
    bool marked = (inode->attr.mode & (S_ISGID | S_IXGRP)) == S_ISGID;
    gid_t gid = inode->attr.gid;
    fold_lock_drop(&inode->lock);
    if (!marked || fold_caller_keeps_sgid(req, gid))
        return;
    fold_lock_take(&inode->lock);
    inode->attr.mode &= ~(uint32_t)S_ISGID;
    fold_flush_attr_dirty_locked(fold_req_session(req), inode);
    fold_lock_drop(&inode->lock);
}
