/* SPDX-License-Identifier: MIT */
/*
 * Making a new inode under a directory: owner, set-gid inheritance, umask or default ACL, dentry
 * and parent in one commit.
 */
#ifndef FOLD_FS_CREATION_H
#define FOLD_FS_CREATION_H

#include "fs/reply.h"

struct fold_change;

/*
 * Creates `name` in `parent`: mode with type bits, rdev for devices, target for symlinks (else
 * NULL). Without a name (NULL) it makes an inode that is in no directory and may be linked into
 * one: an orphan, which the caller opens or gives up with fold_inode_abandon. The caller's ids and
 * umask come from the request. On success *out is referenced. -EEXIST, -ENOENT (parent removed),
 * -ENAMETOOLONG, ...
 */
int fold_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev,
                const char *target, struct fold_inode **out) FOLD_MUST;

/*
 * A whiteout as overlayfs wants it where a file of a lower layer is not to be seen: a character
 * device 0:0 without permissions, owned by the caller. Nobody knows the inode yet; a change that it
 * takes part in enters it and gives it a name in `dir`, or else it is discarded. *out is
 * referenced; discard gives the reference up.
 */
int fold_whiteout_create(fuse_req_t req, struct fold_inode *dir, struct fold_inode **out) FOLD_MUST;
int fold_whiteout_enter(fuse_req_t req, struct fold_change *c, struct fold_inode *dir,
                        struct fold_inode *inode) FOLD_MUST;
void fold_whiteout_discard(struct fold_session *s, struct fold_inode *inode);

/* Looks `name` up and references the inode. -ENOENT. */
int fold_lookup(struct fold_session *s, fuse_ino_t parent, const char *name,
                struct fold_inode **out) FOLD_MUST;

/*
 * Counts an open handle on the inode (-ESTALE if it is a ghost) / one less: the last close of an
 * inode without a name removes it from the catalog.
 */
int fold_inode_open(struct fold_inode *inode) FOLD_MUST;
void fold_inode_close(struct fold_session *s, struct fold_inode *inode);

/* Removes the inode from the catalog if it has neither a name nor an open handle. */
void fold_inode_abandon(struct fold_session *s, struct fold_inode *inode);

#endif
