/* SPDX-License-Identifier: MIT */
/*
 * One change of the namespace or of attributes: up to five inodes locked in order, new attributes
 * worked out on copies, everything committed in one transaction, and memory updated only if the
 * commit succeeded.
 *
 * Order: fold_names_lock on the directories concerned, then begin .. commit (or abort), then
 * fold_names_unlock.
 */
#ifndef FOLD_FS_CHANGE_H
#define FOLD_FS_CHANGE_H

#include "fs/itable.h"
#include "meta/catalog.h"

struct fold_session;

#define FOLD_CHANGE_INODES 5

/* Most names of a file, most subdirectories (but two) of a directory. */
#define FOLD_NLINK_MAX INT32_MAX

struct fold_change_item {
    struct fold_inode *inode;
    struct fold_attr attr; /* becomes the inode's with the commit */
    bool gone;             /* leaves the catalog with the commit */
};

struct fold_change {
    struct fold_session *s;
    struct fold_txn *txn;
    struct timespec now; /* the one time stamp of this change */
    unsigned count;
    struct fold_change_item items[FOLD_CHANGE_INODES];
    int64_t files, directories, others, logical_bytes; /* change of the totals */
};

/* The current time as inodes are stamped with it. */
struct timespec fold_change_now(void);

/* Locks the entries of up to FOLD_CHANGE_INODES directories, in order; NULL and repeated ones are
 * fine. */
void fold_names_lock(struct fold_inode *const *dirs, unsigned n);
void fold_names_unlock(struct fold_inode *const *dirs, unsigned n);

/* Locks the inodes (referenced by the caller; NULL and repeated ones are fine) and opens a
 * transaction. */
void fold_change_begin(struct fold_change *c, struct fold_session *s,
                       struct fold_inode *const *inodes, unsigned n);

/* The attributes to modify, of an inode given to begin. */
struct fold_attr *fold_change_attr(struct fold_change *c, const struct fold_inode *inode);

/* A directory whose entries change (its names lock is held): stamps it and adds to its entries and
 * subdirectories. */
void fold_change_dir(struct fold_change *c, struct fold_inode *dir, int entries, int subdirs);

/* Counts an inode that is new in the tree. */
void fold_change_born(struct fold_change *c, const struct fold_inode *inode);

/*
 * Takes one name from an inode (a directory has only one). With the last name the inode is removed,
 * or becomes an orphan while it is open. -ENOMEM, -EIO: the change must be aborted.
 */
int fold_change_unname(struct fold_change *c, struct fold_inode *inode) FOLD_MUST;

/* Removes an inode that has no name any more and is no longer open. Errors as for unname. */
int fold_change_remove(struct fold_change *c, struct fold_inode *inode) FOLD_MUST;

/* Stores all attributes, commits, brings memory up to date, unlocks. After a failure nothing has
 * changed. */
int fold_change_commit(struct fold_change *c) FOLD_MUST;

/* Drops everything and unlocks. Returns `code`, so that callers can leave with it. */
int fold_change_abort(struct fold_change *c, int code);

#endif
