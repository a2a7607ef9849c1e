/* SPDX-License-Identifier: MIT */
/*
 * Looking names up and creating them. A new inode is known to nobody until its commit, so it may be
 * locked together with its directory in any order; if the commit fails it goes as a ghost that
 * nobody saw.
 */
#include "fs/creation.h"

#include "fs/aclstore.h"
#include "fs/change.h"
#include "fs/session.h"
#include "fs/space.h"
#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/dentry.h"
#include "meta/inode.h"

#include <dirent.h>
#include <inttypes.h>

/* A name found twice to lead nowhere was not removed in between: the catalog is damaged. */
#define LOOKUP_TRIES 2

/* The inode itself or the directory above it, for lookups of "." and ".." (file handles). */
static int lookup_dots(struct fold_session *s, fold_ino ino, bool up, struct fold_inode **out)
{
    struct fold_inode *inode;
    int rc = fold_itable_get(s->inodes, ino, &inode);
    if (rc < 0 || !up) {
        if (rc == 0)
            *out = inode;
        return rc;
    }
    fold_lock_take(&inode->lock);
    fold_ino parent = S_ISDIR(inode->type) ? inode->attr.parent : 0;
    fold_lock_drop(&inode->lock);
    fold_itable_put(s->inodes, inode);
    return parent != 0 ? fold_itable_get(s->inodes, parent, out) : -ENOTDIR;
}

int fold_lookup(struct fold_session *s, fuse_ino_t parent, const char *name,
                struct fold_inode **out)
{
    size_t len = strlen(name);
    if (len > FOLD_NAME_MAX)
        return -ENAMETOOLONG;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return lookup_dots(s, parent, len == 2, out);
    for (int i = 0; i < LOOKUP_TRIES; i++) {
        struct fold_dentry d;
        int rc = fold_dentry_load(fold_session_catalog(s), parent, name, len, &d);
        if (rc == 0)
            rc = fold_itable_get(s->inodes, d.ino, out);
        if (rc != -ESTALE)
            return rc;
        if (i + 1 == LOOKUP_TRIES)
            fold_error("directory %" PRIu64 ": an entry names inode %" PRIu64
                       ", which does not exist",
                       (fold_ino)parent, d.ino);
    }
    return -FOLD_E_BAD_CATALOG;
}

/* What is asked for. */
struct wish {
    fuse_req_t req;
    const char *name; /* NULL: none */
    size_t len;
    mode_t mode;
    dev_t rdev;
    const char *target;
};

/* The attributes of the new inode, but for the permissions. */
static void compose(const struct wish *w, const struct fold_attr *dir, fold_ino ino,
                    struct fold_attr *attr)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(w->req);
    struct timespec now = fold_change_now();
    *attr = (struct fold_attr){
        .ino = ino, .mode = w->mode, .uid = ctx->uid, .gid = ctx->gid, .nlink = w->name != NULL};
    if ((dir->mode & S_ISGID) != 0) {
        attr->gid = dir->gid;
        if (S_ISDIR(w->mode))
            attr->mode |= S_ISGID;
    }
    if (S_ISDIR(w->mode)) {
        attr->nlink = 2;
        attr->parent = dir->ino;
    }
    if (S_ISCHR(w->mode) || S_ISBLK(w->mode))
        attr->rdev = w->rdev;
    if (w->target != NULL)
        attr->size = strlen(w->target);
    attr->atime = attr->mtime = attr->ctime = attr->btime = now;
}

/* Permissions: the directory's default list if it has one, else the caller's umask. */
static int permit(struct fold_change *c, const struct wish *w, const struct fold_attr *dir,
                  struct fold_attr *attr)
{
    if (S_ISLNK(attr->mode))
        return 0;
    if ((dir->flags & FOLD_INODE_DEFAULT_ACL) == 0) {
        attr->mode &= ~(uint32_t)(fuse_req_ctx(w->req)->umask & 0777);
        return 0;
    }
    struct fold_acl acl;
    int rc = fold_acl_load(fold_session_catalog(c->s), dir, FOLD_ACL_DEFAULT, &acl);
    if (rc == 0 && S_ISDIR(attr->mode))
        rc = fold_acl_store(c->txn, attr, FOLD_ACL_DEFAULT, &acl);
    if (rc == 0) {
        mode_t mode = attr->mode;
        if (fold_acl_inherit(&acl, &mode))
            rc = fold_acl_store(c->txn, attr, FOLD_ACL_ACCESS, &acl);
        attr->mode = mode;
    }
    fold_acl_fini(&acl);
    return rc;
}

/* Commits the new inode below its directory, whose names lock is held. */
static int enter(struct fold_session *s, const struct wish *w, struct fold_inode *dir,
                 struct fold_inode *inode)
{
    struct fold_change c;
    bool subdir = S_ISDIR(w->mode);
    fold_change_begin(&c, s, (struct fold_inode *[]){dir, inode}, 2);
    struct fold_attr *above = fold_change_attr(&c, dir);
    struct fold_attr *attr = fold_change_attr(&c, inode);
    if (above->nlink == 0)
        return fold_change_abort(&c, -ENOENT);
    if (subdir && above->nlink >= FOLD_NLINK_MAX)
        return fold_change_abort(&c, -EMLINK);
    int rc = permit(&c, w, above, attr);
    if (rc == 0 && w->name != NULL)
        rc =
            fold_dentry_add(c.txn, dir->ino, w->name, w->len, inode->ino, (uint8_t)IFTODT(w->mode));
    if (rc < 0)
        return fold_change_abort(&c, rc);
    if (w->target != NULL)
        fold_symlink_store(c.txn, inode->ino, w->target);
    if (w->name != NULL) {
        fold_change_dir(&c, dir, 1, subdir);
        fold_change_born(&c, inode);
    } else {
        inode->unnamed = true;
        fold_orphan_add(c.txn, inode->ino);
    }
    return fold_change_commit(&c);
}

/* An inode as wished for, which nobody knows before it is committed. */
static int conceive(struct fold_session *s, const struct wish *w, struct fold_inode *dir,
                    struct fold_inode **out)
{
    fold_lock_take(&dir->lock);
    struct fold_attr above = dir->attr;
    fold_lock_drop(&dir->lock);
    struct fold_attr attr;
    compose(w, &above, fold_catalog_new_ino(fold_session_catalog(s)), &attr);
    return fold_itable_add(s->inodes, &attr, out);
}

/* The inode was not committed. */
static void discard(struct fold_session *s, struct fold_inode *inode)
{
    fold_lock_take(&inode->lock);
    fold_itable_ghost_locked(s->inodes, inode);
    fold_lock_drop(&inode->lock);
    fold_itable_put(s->inodes, inode);
}

/* The directory's names lock is held. */
static int create_locked(struct fold_session *s, const struct wish *w, struct fold_inode *dir,
                         struct fold_inode **out)
{
    struct fold_inode *inode = NULL;
    int rc = conceive(s, w, dir, &inode);
    if (rc < 0)
        return rc;
    rc = enter(s, w, dir, inode);
    if (rc < 0) {
        discard(s, inode);
        return rc;
    }
    if (S_ISDIR(w->mode))
        fold_dentry_born(fold_session_catalog(s), inode->ino);
    *out = inode;
    return 0;
}

/* A device 0:0. */
static struct wish whiteout(fuse_req_t req)
{
    return (struct wish){.req = req, .name = "", .mode = S_IFCHR};
}

int fold_whiteout_create(fuse_req_t req, struct fold_inode *dir, struct fold_inode **out)
{
    struct wish w = whiteout(req);
    return conceive(fold_req_session(req), &w, dir, out);
}

int fold_whiteout_enter(fuse_req_t req, struct fold_change *c, struct fold_inode *dir,
                        struct fold_inode *inode)
{
    struct wish w = whiteout(req);
    int rc = permit(c, &w, fold_change_attr(c, dir), fold_change_attr(c, inode));
    if (rc == 0)
        fold_change_born(c, inode);
    return rc;
}

void fold_whiteout_discard(struct fold_session *s, struct fold_inode *inode)
{
    discard(s, inode);
}

int fold_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev,
                const char *target, struct fold_inode **out)
{
    struct fold_session *s = fold_req_session(req);
    struct wish w = {req, name, name != NULL ? strlen(name) : 0, mode, rdev, target};
    if (s->opt.read_only)
        return -EROFS;
    if (w.len > FOLD_NAME_MAX || (target != NULL && strlen(target) > FOLD_SYMLINK_MAX))
        return -ENAMETOOLONG;
    struct fold_inode *dir = NULL;
    int rc = fold_space_admit(s, FOLD_SPACE_NAME_BYTES);
    if (rc == 0)
        rc = fold_itable_get(s->inodes, parent, &dir);
    if (rc < 0)
        return rc == -ESTALE ? -ENOENT : rc;
    fold_names_lock(&dir, 1);
    rc = S_ISDIR(dir->type) ? create_locked(s, &w, dir, out) : -ENOTDIR;
    fold_names_unlock(&dir, 1);
    fold_itable_put(s->inodes, dir);
    return rc;
}
