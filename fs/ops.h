/* SPDX-License-Identifier: MIT */
/*
 * The request handlers, by kind. Each runs on a thread of the request loop (or of the worker pool
 * where it says so) and replies exactly once, possibly later and from another thread.
 */
#ifndef FOLD_FS_OPS_H
#define FOLD_FS_OPS_H

#include "fs/reply.h"

struct fold_handle;

/* Fill their part of the table. */
void fold_ops_name(struct fuse_lowlevel_ops *ops); /* lookup forget mknod mkdir symlink link unlink
                                                      rmdir rename readlink */
void fold_ops_attr(struct fuse_lowlevel_ops *ops); /* getattr setattr statfs */
void fold_ops_dir(
    struct fuse_lowlevel_ops *ops); /* opendir readdir readdirplus releasedir fsyncdir */
void fold_ops_xattr(struct fuse_lowlevel_ops *ops); /* set get list remove */
void fold_ops_file(struct fuse_lowlevel_ops *ops);  /* create open read write flush release fsync */
void fold_ops_range(struct fuse_lowlevel_ops *ops); /* fallocate lseek copy_file_range */

/* Part of fold_ops_file, in a file of its own. */
void fold_op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
                       struct fuse_file_info *fi);

/* The handle that open gave out. */
static inline struct fold_handle *fold_handle_of(const struct fuse_file_info *fi)
{
    return (struct fold_handle *)(uintptr_t)fi->fh;
}

/* What the kernel's request said beyond libfuse's arguments: set by the request loop before it
 * dispatches. */
struct fold_raw_request {
    uint64_t unique; /* number of the request */
    bool kill_priv;  /* FUSE_WRITE_KILL_SUIDGID, FATTR_KILL_SUIDGID or FUSE_OPEN_KILL_SUIDGID */
    bool direct;     /* a read or write that passes by the kernel's page cache */
    bool unnamed;    /* a create that is FUSE_TMPFILE: its name means nothing */
};
extern __thread struct fold_raw_request fold_raw_request;

#endif
