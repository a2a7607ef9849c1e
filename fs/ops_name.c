/* SPDX-License-Identifier: MIT */
/*
 * Requests about names, except rename. Each takes the names lock of the directories it changes,
 * works on inode copies and replies after everything is unlocked.
 */
#include "fs/ops.h"

#include "fs/change.h"
#include "fs/creation.h"
#include "fs/rename.h"
#include "fs/session.h"
#include "fs/space.h"
#include "fs/stamp.h"
#include "fs/turn.h"
#include "meta/base/err.h"
#include "meta/dentry.h"
#include "meta/inode.h"

#include <dirent.h>
#include <errno.h>

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_inode *inode = NULL;
    int rc = fold_lookup(s, parent, name, &inode);
    if (rc == 0)
        fold_reply_entry(req, inode);
    else if (rc == -ENOENT)
        fold_reply_no_entry(req);
    else
        fold_reply(req, rc);
    fold_itable_put(s->inodes, inode);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    fold_itable_forget(fold_req_session(req)->inodes, ino, nlookup);
    fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        fold_itable_forget(fold_req_session(req)->inodes, forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

static void create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev,
                   const char *target)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_inode *inode = NULL;
    int rc = fold_create(req, parent, name, mode, rdev, target, &inode);
    if (rc < 0)
        fold_reply(req, rc);
    else
        fold_reply_entry(req, inode);
    fold_itable_put(s->inodes, inode);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    if ((mode & S_IFMT) == 0)
        mode |= S_IFREG;
    if (S_ISREG(mode) || S_ISCHR(mode) || S_ISBLK(mode) || S_ISFIFO(mode) || S_ISSOCK(mode))
        create(req, parent, name, mode, rdev, NULL);
    else
        fold_reply(req, -EINVAL);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    create(req, parent, name, S_IFDIR | (mode & 07777), 0, NULL);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    create(req, parent, name, S_IFLNK | 0777, 0, target);
}

/* The directory's names lock is held. */
static int link_locked(struct fold_session *s, struct fold_inode *inode, struct fold_inode *dir,
                       const char *name, size_t len)
{
    struct fold_change c;
    int rc;
    fold_change_begin(&c, s, (struct fold_inode *[]){inode, dir}, 2);
    struct fold_attr *attr = fold_change_attr(&c, inode);
    bool first = attr->nlink == 0;
    if (S_ISDIR(attr->mode))
        rc = -EPERM;
    else if ((first && (inode->ghost || !inode->unnamed)) || fold_change_attr(&c, dir)->nlink == 0)
        rc = -ENOENT;
    else if (attr->nlink >= FOLD_NLINK_MAX)
        rc = -EMLINK;
    else
        rc = fold_dentry_add(c.txn, dir->ino, name, len, inode->ino, (uint8_t)IFTODT(attr->mode));
    if (rc < 0)
        return fold_change_abort(&c, rc);
    if (first) {
        fold_orphan_remove(c.txn, inode->ino);
        fold_change_born(&c, inode);
    }
    attr->nlink++;
    attr->ctime = c.now;
    fold_change_dir(&c, dir, 1, 0);
    return fold_change_commit(&c);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_inode *inode = NULL, *dir = NULL;
    size_t len = strlen(newname);
    int rc = len > FOLD_NAME_MAX ? -ENAMETOOLONG : fold_space_admit(s, FOLD_SPACE_NAME_BYTES);
    if (rc == 0)
        rc = fold_itable_get(s->inodes, ino, &inode);
    if (rc == 0)
        rc = fold_itable_get(s->inodes, newparent, &dir);
    if (rc == 0) {
        fold_names_lock(&dir, 1);
        rc = link_locked(s, inode, dir, newname, len);
        fold_names_unlock(&dir, 1);
    }
    if (rc == 0)
        fold_reply_entry(req, inode);
    else
        fold_reply(req, rc);
    fold_itable_put(s->inodes, dir);
    fold_itable_put(s->inodes, inode);
}

/* Removes the entry `name` of `dir`, which is `inode`; names locks of both are held. */
static int remove_locked(struct fold_session *s, struct fold_inode *dir, const char *name,
                         size_t len, struct fold_inode *inode, bool want_dir)
{
    struct fold_change c;
    fold_change_begin(&c, s, (struct fold_inode *[]){dir, inode}, 2);
    const struct fold_attr *attr = fold_change_attr(&c, inode);
    bool is_dir = S_ISDIR(attr->mode);
    int rc = 0;
    if (is_dir != want_dir)
        rc = is_dir ? -EISDIR : -ENOTDIR;
    else if (is_dir && attr->size > 0)
        rc = -ENOTEMPTY;
    if (rc == 0)
        rc = fold_dentry_remove(c.txn, dir->ino, name, len);
    if (rc == 0)
        rc = fold_change_unname(&c, inode);
    if (rc < 0)
        return fold_change_abort(&c, rc);
    fold_change_dir(&c, dir, -1, is_dir ? -1 : 0);
    return fold_change_commit(&c);
}

/* Resolves `name` under the directory's names lock. */
static int resolve(struct fold_session *s, struct fold_inode *dir, const char *name, size_t len,
                   struct fold_inode **out)
{
    struct fold_dentry d;
    int rc = fold_dentry_load(fold_session_catalog(s), dir->ino, name, len, &d);
    if (rc == 0)
        rc = fold_itable_get(s->inodes, d.ino, out);
    return rc == -ESTALE ? -FOLD_E_BAD_CATALOG : rc;
}

static int remove_name(struct fold_session *s, struct fold_inode *dir, const char *name,
                       bool want_dir)
{
    size_t len = strlen(name);
    if (len > FOLD_NAME_MAX)
        return -ENAMETOOLONG;
    struct fold_inode *dirs[] = {dir, NULL};
    for (;;) {
        struct fold_inode *inode = NULL;
        fold_names_lock(dirs, 2);
        int rc = resolve(s, dir, name, len, &inode);
        bool locked = rc < 0 || !want_dir || !S_ISDIR(inode->type) || inode == dirs[1];
        if (rc == 0 && locked)
            rc = remove_locked(s, dir, name, len, inode, want_dir);
        fold_names_unlock(dirs, 2);
        fold_itable_put(s->inodes, dirs[1]);
        dirs[1] = NULL;
        if (locked) {
            fold_itable_put(s->inodes, inode);
            return rc;
        }
        /* Its own entries must be locked, too: once more with both, unless the name leads elsewhere
         * by then. */
        dirs[1] = inode;
    }
}

static void op_remove(fuse_req_t req, fuse_ino_t parent, const char *name, bool want_dir)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_inode *dir = NULL;
    int rc = s->opt.read_only ? -EROFS : fold_itable_get(s->inodes, parent, &dir);
    if (rc == 0)
        rc = remove_name(s, dir, name, want_dir);
    fold_itable_put(s->inodes, dir);
    fold_reply(req, rc);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    op_remove(req, parent, name, false);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    op_remove(req, parent, name, true);
}

struct renaming {
    struct fold_turn turn;
    fuse_req_t req;
    fuse_ino_t parent, newparent;
    unsigned flags;
    const char *newname; /* behind the name */
    char name[];
};

static void rename_task(void *arg)
{
    struct renaming *r = arg;
    int rc = fold_rename(r->req, r->parent, r->name, r->newparent, r->newname, r->flags, &r->turn);
    if (rc == FOLD_TURN_WAITS)
        return;
    fold_reply(r->req, rc);
    free(r);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                      const char *newname, unsigned int flags)
{
    size_t len = strlen(name) + 1, newlen = strlen(newname) + 1;
    struct renaming *r = malloc(sizeof *r + len + newlen);
    if (r == NULL) {
        fold_reply(req, -ENOMEM);
        return;
    }
    *r = (struct renaming){.turn = {.fn = rename_task, .arg = r},
                           .req = req,
                           .parent = parent,
                           .newparent = newparent,
                           .flags = flags,
                           .newname = r->name + len};
    memcpy(r->name, name, len);
    memcpy(r->name + len, newname, newlen);
    rename_task(r);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_inode *inode = NULL;
    char target[FOLD_SYMLINK_MAX + 1];
    int rc = fold_itable_get(s->inodes, ino, &inode);
    if (rc == 0)
        rc = S_ISLNK(inode->type) ? fold_symlink_load(fold_session_catalog(s), ino, target)
                                  : -EINVAL;
    if (rc == 0) {
        fold_inode_touch_atime(s, inode);
        (void)fuse_reply_readlink(req, target);
    } else {
        fold_reply(req, rc);
    }
    fold_itable_put(s->inodes, inode);
}

void fold_ops_name(struct fuse_lowlevel_ops *ops)
{
    ops->lookup = op_lookup;
    ops->forget = op_forget;
    ops->forget_multi = op_forget_multi;
    ops->mknod = op_mknod;
    ops->mkdir = op_mkdir;
    ops->symlink = op_symlink;
    ops->link = op_link;
    ops->unlink = op_unlink;
    ops->rmdir = op_rmdir;
    ops->rename = op_rename;
    ops->readlink = op_readlink;
}
