/* SPDX-License-Identifier: MIT */
/*
 * The two names are resolved under the names locks of their directories. If the target is a
 * directory it must be locked, too (nothing may be created in it while it goes), and if the source
 * has unsaved data it must be stored; both cannot be done with the locks held, so they are dropped,
 * that is done, and everything starts over.
 */
#include "fs/rename.h"

#include "fs/change.h"
#include "fs/creation.h"
#include "fs/data.h"
#include "fs/flush.h"
#include "fs/session.h"
#include "fs/space.h"
#include "meta/base/err.h"
#include "meta/dentry.h"
#include "meta/inode.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#define RETRY 1
/* Unsaved data up to this size is stored on the loop's thread. */
#define SAVED_HERE (128u << 10)

struct place {
    struct fold_inode *dir;
    const char *name;
    size_t len;
    struct fold_inode *inode; /* NULL: there is no such name */
};

struct rename {
    fuse_req_t req;
    struct fold_session *s;
    struct fold_turn *turn; /* may be NULL */
    struct place from, to;
    bool exchange, noreplace;
    bool whiteout; /* a whiteout takes the place of `from` */
};

static int place_init(struct fold_session *s, fuse_ino_t dir, const char *name, struct place *p)
{
    *p = (struct place){.name = name, .len = strlen(name)};
    return p->len > FOLD_NAME_MAX ? -ENAMETOOLONG : fold_itable_get(s->inodes, dir, &p->dir);
}

static bool is_dir(const struct fold_inode *inode)
{
    return inode != NULL && S_ISDIR(inode->type);
}

/* What the name leads to now; nothing is no error. The directory's names lock is held. */
static int resolve(struct fold_session *s, struct place *p)
{
    struct fold_dentry d;
    int rc = fold_dentry_load(fold_session_catalog(s), p->dir->ino, p->name, p->len, &d);
    if (rc == 0)
        rc = fold_itable_get(s->inodes, d.ino, &p->inode);
    if (rc == -ENOENT)
        return 0;
    return rc == -ESTALE ? -FOLD_E_BAD_CATALOG : rc;
}

/* -EINVAL if `dir` is `moved` or lies below it. */
static int check_not_below(struct fold_session *s, fold_ino dir, const struct fold_inode *moved)
{
    while (dir != moved->ino) {
        if (dir == FOLD_INO_ROOT)
            return 0;
        struct fold_inode *inode = NULL;
        int rc = fold_itable_get(s->inodes, dir, &inode);
        if (rc < 0)
            return rc;
        fold_lock_take(&inode->lock);
        fold_ino parent = inode->attr.nlink > 0 ? inode->attr.parent : FOLD_INO_ROOT;
        fold_lock_drop(&inode->lock);
        fold_itable_put(s->inodes, inode);
        if (parent == dir || parent == 0)
            return -FOLD_E_BAD_CATALOG;
        dir = parent;
    }
    return -EINVAL;
}

/* What can be refused without looking at attributes. */
static int check(const struct rename *r)
{
    const struct place *from = &r->from, *to = &r->to;
    if (to->inode == NULL && r->exchange)
        return -ENOENT;
    if (to->inode != NULL && r->noreplace)
        return -EEXIST;
    if (to->inode != NULL && !r->exchange && is_dir(from->inode) != is_dir(to->inode))
        return is_dir(to->inode) ? -EISDIR : -ENOTDIR;
    int rc = 0;
    if (from->dir != to->dir && is_dir(from->inode))
        rc = check_not_below(r->s, to->dir->ino, from->inode);
    if (rc == 0 && from->dir != to->dir && is_dir(to->inode)) {
        rc = check_not_below(r->s, from->dir->ino, to->inode);
        if (rc == -EINVAL && !r->exchange)
            rc = -ENOTEMPTY;
    }
    return rc;
}

/* A directory changes its place: the link count of the directories and its way up follow. */
static void move_dir(struct fold_change *c, struct fold_inode *inode, struct fold_inode *from,
                     struct fold_inode *to)
{
    fold_change_attr(c, from)->nlink--;
    fold_change_attr(c, to)->nlink++;
    fold_change_attr(c, inode)->parent = to->ino;
}

static int exchange(struct fold_change *c, const struct rename *r)
{
    const struct place *from = &r->from, *to = &r->to;
    struct fold_attr *a = fold_change_attr(c, from->inode), *b = fold_change_attr(c, to->inode);
    int rc = fold_dentry_store(c->txn, from->dir->ino, from->name, from->len, b->ino,
                               (uint8_t)IFTODT(b->mode));
    if (rc == 0)
        rc = fold_dentry_store(c->txn, to->dir->ino, to->name, to->len, a->ino,
                               (uint8_t)IFTODT(a->mode));
    if (rc < 0)
        return rc;
    fold_change_dir(c, from->dir, 0, 0);
    fold_change_dir(c, to->dir, 0, 0);
    if (is_dir(from->inode))
        move_dir(c, from->inode, from->dir, to->dir);
    if (is_dir(to->inode))
        move_dir(c, to->inode, to->dir, from->dir);
    a->ctime = b->ctime = c->now;
    return 0;
}

/* What is left under the old name: nothing, or `white`. */
static int vacate(struct fold_change *c, const struct rename *r, struct fold_inode *white)
{
    const struct place *from = &r->from;
    if (white == NULL) {
        fold_change_dir(c, from->dir, -1, 0);
        return fold_dentry_remove(c->txn, from->dir->ino, from->name, from->len);
    }
    int rc = fold_whiteout_enter(r->req, c, from->dir, white);
    if (rc < 0)
        return rc;
    fold_change_dir(c, from->dir, 0, 0);
    return fold_dentry_store(c->txn, from->dir->ino, from->name, from->len, white->ino, DT_CHR);
}

static int replace(struct fold_change *c, const struct rename *r, struct fold_inode *white)
{
    const struct place *from = &r->from, *to = &r->to;
    struct fold_attr *attr = fold_change_attr(c, from->inode);
    bool moves_dir = is_dir(from->inode), over = to->inode != NULL;
    if (is_dir(to->inode) && fold_change_attr(c, to->inode)->size > 0)
        return -ENOTEMPTY;
    if (moves_dir && !over && from->dir != to->dir &&
        fold_change_attr(c, to->dir)->nlink >= FOLD_NLINK_MAX)
        return -EMLINK;
    int rc = vacate(c, r, white);
    if (rc == 0)
        rc = fold_dentry_store(c->txn, to->dir->ino, to->name, to->len, attr->ino,
                               (uint8_t)IFTODT(attr->mode));
    if (rc == 0 && over)
        rc = fold_change_unname(c, to->inode);
    if (rc < 0)
        return rc;
    fold_change_dir(c, to->dir, over ? 0 : 1, is_dir(to->inode) ? -1 : 0);
    if (moves_dir)
        move_dir(c, from->inode, from->dir, to->dir);
    attr->ctime = c->now;
    return 0;
}

/* The change itself, with `white` (or NULL) to be left behind. */
static int change(const struct rename *r, struct fold_inode *white)
{
    struct fold_change c;
    int rc;
    fold_change_begin(
        &c, r->s,
        (struct fold_inode *[]){r->from.dir, r->to.dir, r->from.inode, r->to.inode, white}, 5);
    if (fold_change_attr(&c, r->to.dir)->nlink == 0)
        rc = -ENOENT;
    else
        rc = r->exchange ? exchange(&c, r) : replace(&c, r, white);
    return rc < 0 ? fold_change_abort(&c, rc) : fold_change_commit(&c);
}

/* Names locks are held and the names lead where `r` says. */
static int rename_locked(const struct rename *r)
{
    struct fold_inode *white = NULL;
    int rc = check(r);
    if (rc == 0 && r->whiteout)
        rc = fold_whiteout_create(r->req, r->from.dir, &white);
    if (rc < 0)
        return rc;
    rc = change(r, white);
    if (rc < 0 && white != NULL)
        fold_whiteout_discard(r->s, white);
    else
        fold_itable_put(r->s->inodes, white);
    return rc;
}

static bool unsaved(struct fold_inode *inode)
{
    return inode != NULL && S_ISREG(inode->type) && fold_data_dirty(inode);
}

/*
 * Whether the rename can be done with the locks held: a directory in the way must be locked, too
 * (`locked` is), and what takes another's place must be saved (`saved`: that was done; what was
 * written since is newer than the rename).
 */
static bool prepared(const struct rename *r, const struct fold_inode *locked, bool saved)
{
    if (is_dir(r->to.inode) && r->to.inode != locked)
        return false;
    if (saved || r->to.inode == NULL || r->noreplace)
        return true;
    return !unsaved(r->from.inode) && (!r->exchange || !unsaved(r->to.inode));
}

static int save_one(const struct rename *r, struct fold_inode *inode)
{
    bool long_work = inode->data != NULL && fold_data_pending(inode) > SAVED_HERE;
    if (r->turn != NULL && !r->turn->called && long_work) {
        fold_turn_call(r->s, r->turn);
        return FOLD_TURN_WAITS;
    }
    return fold_flush_in_turn(r->s, inode, r->turn);
}

/* Stores what the files have unsaved, with no lock held. */
static int save(const struct rename *r)
{
    int rc = 0;
    if (r->noreplace)
        return 0;
    if (unsaved(r->from.inode))
        rc = save_one(r, r->from.inode);
    if (rc == 0 && r->exchange && unsaved(r->to.inode))
        rc = save_one(r, r->to.inode);
    return rc;
}

static void forget(struct rename *r)
{
    fold_itable_put(r->s->inodes, r->from.inode);
    fold_itable_put(r->s->inodes, r->to.inode);
    r->from.inode = r->to.inode = NULL;
}

/* One attempt with the directory `locked` (or NULL) locked besides. RETRY: something has to be
 * prepared first. */
static int attempt(struct rename *r, struct fold_inode *locked, bool saved)
{
    struct fold_inode *dirs[] = {r->from.dir, r->to.dir, locked};
    fold_names_lock(dirs, 3);
    int rc = resolve(r->s, &r->from);
    if (rc == 0)
        rc = resolve(r->s, &r->to);
    if (rc == 0 && r->from.inode == NULL)
        rc = -ENOENT;
    if (rc == 0 && r->from.inode == r->to.inode)
        rc = r->noreplace ? -EEXIST : 0;
    else if (rc == 0)
        rc = prepared(r, locked, saved) ? rename_locked(r) : RETRY;
    fold_names_unlock(dirs, 3);
    return rc;
}

static int rename_places(struct rename *r)
{
    struct fold_inode *locked = NULL;
    bool saved = false;
    int rc;
    while ((rc = attempt(r, locked, saved)) == RETRY) {
        rc = save(r);
        saved = true;
        fold_itable_put(r->s->inodes, locked);
        locked = is_dir(r->to.inode) ? r->to.inode : NULL;
        if (locked != NULL)
            fold_itable_ref(r->s->inodes, locked);
        forget(r);
        if (rc != 0)
            break;
    }
    forget(r);
    fold_itable_put(r->s->inodes, locked);
    return rc;
}

static bool flags_known(unsigned flags)
{
    return flags == RENAME_EXCHANGE ||
           (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_WHITEOUT)) == 0;
}

int fold_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                const char *newname, unsigned flags, struct fold_turn *turn)
{
    struct fold_session *s = fold_req_session(req);
    if (!flags_known(flags))
        return -EINVAL;
    if (s->opt.read_only)
        return -EROFS;
    struct rename r = {.req = req,
                       .s = s,
                       .turn = turn,
                       .exchange = flags == RENAME_EXCHANGE,
                       .noreplace = (flags & RENAME_NOREPLACE) != 0,
                       .whiteout = (flags & RENAME_WHITEOUT) != 0};
    int rc = r.whiteout ? fold_space_admit(s, FOLD_SPACE_NAME_BYTES) : 0;
    if (rc == 0)
        rc = place_init(s, parent, name, &r.from);
    if (rc == 0)
        rc = place_init(s, newparent, newname, &r.to);
    if (rc == 0)
        rc = rename_places(&r);
    fold_itable_put(s->inodes, r.from.dir);
    fold_itable_put(s->inodes, r.to.dir);
    return rc;
}
