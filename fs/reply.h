/* SPDX-License-Identifier: MIT */
/*
 * The one place where results become kernel replies and errno.
 */
#ifndef FOLD_FS_REPLY_H
#define FOLD_FS_REPLY_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "fs/itable.h"

struct fold_session;

/* The session of a request. */
static inline struct fold_session *fold_req_session(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* Replies success (0) or the errno of a negative code. */
void fold_reply(fuse_req_t req, int code);

/* struct stat of these attributes, with `mapped` bytes of content. */
void fold_reply_fill(const struct fold_attr *attr, uint64_t mapped, struct stat *st);

/* Seconds that the kernel may keep the attributes: none while the block count will change by
 * itself. Takes the inode's locks; to be called before the attributes are looked at. */
unsigned fold_reply_timeout(struct fold_inode *inode);

/* struct stat of an inode as it is now. Takes the inode's locks. */
void fold_reply_stat(struct fold_session *s, struct fold_inode *inode, struct stat *st);

/* Entry parameter with the long timeouts of a single-writer volume; counts one lookup. -ENOMEM. */
int fold_reply_entry_fill(struct fold_session *s, struct fold_inode *inode,
                          struct fuse_entry_param *e) FOLD_MUST;

/* Reply with the inode, which stays referenced by the caller; a reply that cannot be delivered is
 * not counted. */
void fold_reply_entry(fuse_req_t req, struct fold_inode *inode);
/* Replies that there is no such name, so that the kernel remembers. */
void fold_reply_no_entry(fuse_req_t req);

void fold_reply_attr(fuse_req_t req, struct fold_inode *inode);

#endif
