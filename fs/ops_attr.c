/* SPDX-License-Identifier: MIT */
/*
 * Requests about attributes. All but the size are committed at once; the size goes through the
 * content's own door and is committed with it. Permission to change anything was checked by the
 * kernel (default_permissions), which also drops set-gid from a chmod that may not set it; set-id
 * bits that a chown takes away are ours to drop.
 */
#include "fs/ops.h"

#include "fs/aclstore.h"
#include "fs/callback.h"
#include "fs/caller.h"
#include "fs/change.h"
#include "fs/data.h"
#include "fs/invalidate.h"
#include "fs/session.h"
#include "fs/space.h"

#include <errno.h>

#define BLOCK_BYTES 4096

/* Smallest inodes in the catalog that a free block could hold. */
#define INODES_PER_BLOCK 8

#define SET_TIMES                                                                                  \
    (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW)
#define SET_OWNER (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_inode *inode = NULL;
    (void)fi;
    int rc = fold_itable_get(s->inodes, ino, &inode);
    if (rc < 0)
        fold_reply(req, rc);
    else
        fold_reply_attr(req, inode);
    fold_itable_put(s->inodes, inode);
}

/*
 * The mode after a change of owner: nobody inherits a set-id program. Set-gid without group
 * execution is not a program but marks mandatory locking, and stays for those who may set it.
 */
static uint32_t mode_after_chown(fuse_req_t req, const struct fold_attr *attr)
{
    uint32_t mode = attr->mode;
    if (S_ISDIR(mode))
        return mode;
    mode &= ~(uint32_t)S_ISUID;
    if ((mode & S_ISGID) != 0 && ((mode & S_IXGRP) != 0 || !fold_caller_keeps_sgid(req, attr->gid)))
        mode &= ~(uint32_t)S_ISGID;
    return mode;
}

static void set_times(struct fold_attr *attr, const struct stat *st, int to_set,
                      struct timespec now)
{
    if ((to_set & FUSE_SET_ATTR_ATIME_NOW) != 0)
        attr->atime = now;
    else if ((to_set & FUSE_SET_ATTR_ATIME) != 0)
        attr->atime = st->st_atim;
    if ((to_set & FUSE_SET_ATTR_MTIME_NOW) != 0)
        attr->mtime = now;
    else if ((to_set & FUSE_SET_ATTR_MTIME) != 0)
        attr->mtime = st->st_mtim;
}

/*
 * Nothing at all to set: a chown that changes nothing, which drops set-id bits like any other, so
 * that only the owner may do it while there are some; or the kernel's notice of a change of content
 * by anybody who has the file open, which says itself whether it drops them.
 */
static int void_chown(fuse_req_t req, const struct fold_inode *inode, struct fold_attr *attr)
{
    uid_t uid = fuse_req_ctx(req)->uid;
    uint32_t mode = mode_after_chown(req, attr);
    if (uid == 0 || uid == attr->uid)
        attr->mode = mode;
    else if (mode != attr->mode && inode->opens == 0)
        return -EPERM;
    return 0;
}

/* Everything but the size. */
static int set_attr(fuse_req_t req, struct fold_inode *inode, const struct stat *st, int to_set)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_change c;
    fold_change_begin(&c, s, &inode, 1);
    struct fold_attr *attr = fold_change_attr(&c, inode);
    int rc = 0;
    if ((to_set & FUSE_SET_ATTR_MODE) != 0) {
        attr->mode = (attr->mode & S_IFMT) | (st->st_mode & 07777);
        rc = fold_acl_follow_mode(fold_session_catalog(s), c.txn, attr);
    } else if ((to_set & SET_OWNER) != 0) {
        attr->mode = mode_after_chown(req, attr);
    } else if (to_set == 0) {
        rc = void_chown(req, inode, attr);
    }
    if (rc < 0)
        return fold_change_abort(&c, rc);
    if ((to_set & FUSE_SET_ATTR_UID) != 0)
        attr->uid = st->st_uid;
    if ((to_set & FUSE_SET_ATTR_GID) != 0)
        attr->gid = st->st_gid;
    set_times(attr, st, to_set, c.now);
    attr->ctime = c.now;
    return fold_change_commit(&c);
}

/* The result of a change; the reference on the inode is given up. */
static void answer(fuse_req_t req, struct fold_inode *inode, int rc)
{
    struct fold_session *s = fold_req_session(req);
    fold_invalidate_attr(s, inode);
    if (rc < 0)
        fold_reply(req, rc);
    else
        fold_reply_attr(req, inode);
    fold_itable_put(s->inodes, inode);
}

/* Times to be set in a file that is mapped. */
struct timing {
    fuse_req_t req;
    struct fold_inode *inode;
    struct stat st;
    int to_set;
    struct fold_callback callback;
};

static void set_times_now(void *arg)
{
    struct timing *t = arg;
    answer(t->req, t->inode, set_attr(t->req, t->inode, &t->st, t->to_set));
    free(t);
}

/*
 * What a mapping stored moves the time of the last change, though we learn of it only when the
 * kernel writes the page back. So before the time is set, everything is written back: it must not
 * come later and move the time again. False: not needed, or not possible.
 */
static bool set_times_later(fuse_req_t req, struct fold_inode *inode, const struct stat *st,
                            int to_set)
{
    struct fold_session *s = fold_req_session(req);
    fold_lock_take(&inode->lock);
    struct fold_data *d = inode->data;
    fold_lock_drop(&inode->lock);
    if ((to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) == 0 || d == NULL ||
        atomic_load(&d->mappable) == 0)
        return false;
    struct timing *t = malloc(sizeof *t);
    if (t == NULL)
        return false;
    *t = (struct timing){.req = req, .inode = inode, .st = *st, .to_set = to_set};
    t->callback = (struct fold_callback){.fn = set_times_now,
                                         .arg = t,
                                         .inode = inode,
                                         .len = FOLD_FILE_MAX,
                                         .unique = fold_raw_request.unique};
    if (fold_callback_begin(s, &t->callback))
        return true;
    free(t);
    return false;
}

/* A change of the size, perhaps with others. */
struct resize {
    struct fold_turn turn;
    fuse_req_t req;
    struct fold_inode *inode;
    struct stat st;
    int others; /* FUSE_SET_ATTR_* besides the size */
    bool kill_priv;
};

static void resize(void *arg)
{
    struct resize *r = arg;
    int rc = fold_data_truncate(fold_req_session(r->req), r->inode, (uint64_t)r->st.st_size,
                                r->kill_priv, &r->turn);
    if (rc == FOLD_TURN_WAITS)
        return;
    /* The new size stamped the times already. */
    bool stamped = (r->others & ~SET_TIMES) == 0 && (r->others & FUSE_SET_ATTR_ATIME) == 0 &&
                   (r->others & FUSE_SET_ATTR_MTIME_NOW) != 0;
    if (rc == 0 && r->others != 0 && !stamped)
        rc = set_attr(r->req, r->inode, &r->st, r->others);
    answer(r->req, r->inode, rc);
    free(r);
}

/* Takes over the reference on the inode. */
static void set_size(fuse_req_t req, struct fold_inode *inode, const struct stat *st, int others)
{
    bool kill_priv = fold_raw_request.kill_priv;
    int rc = st->st_size < 0 ? -EINVAL : 0;
    if (!S_ISREG(inode->type))
        rc = S_ISDIR(inode->type) ? -EISDIR : -EINVAL;
    struct resize *r = rc == 0 ? malloc(sizeof *r) : NULL;
    if (r == NULL) {
        answer(req, inode, rc != 0 ? rc : -ENOMEM);
        return;
    }
    *r = (struct resize){.turn = {.fn = resize, .arg = r},
                         .req = req,
                         .inode = inode,
                         .st = *st,
                         .others = others,
                         .kill_priv = kill_priv};
    fold_caller_modifies(req, inode, kill_priv);
    resize(r);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
                       struct fuse_file_info *fi)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_inode *inode = NULL;
    int others = to_set & (FUSE_SET_ATTR_MODE | SET_OWNER | SET_TIMES);
    (void)fi;
    int rc = s->opt.read_only ? -EROFS : fold_itable_get(s->inodes, ino, &inode);
    if (rc < 0)
        fold_reply(req, rc);
    else if ((to_set & FUSE_SET_ATTR_SIZE) != 0)
        set_size(req, inode, st, others);
    else if (!set_times_later(req, inode, st, others))
        answer(req, inode, set_attr(req, inode, st, others));
}

/*
 * Used is what the store occupies and free what can still be written, so the size is their sum: it
 * moves when others use the host, but used and free never contradict each other.
 */
static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_space space;
    struct fold_counters totals;
    (void)ino;
    int rc = fold_space_figures(s, &space);
    if (rc < 0) {
        fold_reply(req, rc);
        return;
    }
    fold_catalog_counters(fold_session_catalog(s), &totals);
    uint64_t left = space.left / BLOCK_BYTES;
    struct statvfs st = {
        .f_bsize = BLOCK_BYTES,
        .f_frsize = BLOCK_BYTES,
        .f_blocks = space.used / BLOCK_BYTES + left,
        .f_bfree = left,
        .f_bavail = left,
        .f_namemax = FOLD_NAME_MAX,
    };
    st.f_ffree = st.f_favail = st.f_bavail * INODES_PER_BLOCK;
    st.f_files = st.f_ffree + totals.files + totals.directories + totals.others;
    (void)fuse_reply_statfs(req, &st);
}

void fold_ops_attr(struct fuse_lowlevel_ops *ops)
{
    ops->getattr = op_getattr;
    ops->setattr = op_setattr;
    ops->statfs = op_statfs;
}
