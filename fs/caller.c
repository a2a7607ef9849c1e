/* SPDX-License-Identifier: MIT */
/*
 * The caller's groups and capabilities come from /proc. How many groups there are is known only
 * after asking libfuse for them.
 */
#include "fs/caller.h"

#include "fs/capability.h"
#include "fs/change.h"
#include "fs/flush.h"
#include "fs/invalidate.h"
#include "fs/session.h"
#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/xattr.h"

#include <inttypes.h>
#include <linux/capability.h>

#define FIRST_GROUPS 64

bool fold_caller_keeps_sgid(fuse_req_t req, gid_t gid)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    if (ctx->gid == gid)
        return true;
    int held = fold_capability_held(ctx->pid, CAP_FSETID);
    if (held > 0 || (held < 0 && ctx->uid == 0))
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

/* Removes the file's capabilities, or remembers that it has none. */
static void drop_capabilities(struct fold_session *s, struct fold_inode *inode)
{
    static const char name[] = "security.capability";
    struct fold_change c;
    size_t len;
    fold_change_begin(&c, s, &inode, 1);
    int rc = fold_xattr_load(fold_session_catalog(s), inode->ino, name, NULL, 0, &len);
    if (rc == -ENODATA) {
        inode->no_capabilities = true;
        rc = fold_change_abort(&c, 0);
    } else if (rc < 0 && rc != -ERANGE) {
        rc = fold_change_abort(&c, rc);
    } else {
        fold_xattr_remove(c.txn, inode->ino, name);
        fold_change_attr(&c, inode)->ctime = c.now;
        rc = fold_change_commit(&c);
    }
    if (rc < 0)
        fold_warn("inode %" PRIu64 ": its capabilities could not be dropped: %s", inode->ino,
                  fold_err_text(rc));
}

void fold_caller_modifies(fuse_req_t req, struct fold_inode *inode, bool kill_priv)
{
    struct fold_session *s = fold_req_session(req);
    fold_lock_take(&inode->lock);
    bool marked = kill_priv && (inode->attr.mode & (S_ISGID | S_IXGRP)) == S_ISGID;
    bool capable = (inode->attr.flags & FOLD_INODE_XATTRS) != 0 && !inode->no_capabilities;
    gid_t gid = inode->attr.gid;
    fold_lock_drop(&inode->lock);
    if (FOLD_UNLIKELY(capable))
        drop_capabilities(s, inode);
    if (FOLD_LIKELY(!marked) || fold_caller_keeps_sgid(req, gid))
        return;
    fold_lock_take(&inode->lock);
    inode->attr.mode &= ~(uint32_t)S_ISGID;
    fold_inode_changed_locked(inode);
    fold_flush_attr_dirty_locked(s, inode);
    fold_lock_drop(&inode->lock);
}
