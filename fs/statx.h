/* SPDX-License-Identifier: MIT */
/*
 * FUSE_STATX: attributes with the time of birth, which GETATTR has no room for. libfuse does not
 * know the request, so it is answered from its bytes.
 */
#ifndef FOLD_FS_STATX_H
#define FOLD_FS_STATX_H

#include "fs/itable.h"

#include <linux/fuse.h>

struct fold_session;

/* The number of the request, and its reply. */
#define FOLD_STATX_OPCODE 52u

struct fold_statx_time {
    int64_t sec;
    uint32_t nsec;
    int32_t reserved;
};

struct fold_statx_out {
    uint64_t valid_sec; /* how long the kernel may keep it */
    uint32_t valid_nsec;
    uint32_t flags;
    uint64_t spare[2];
    uint32_t mask; /* STATX_* of what follows */
    uint32_t blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, spare_mode;
    uint64_t ino, size, blocks, attributes_mask;
    struct fold_statx_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t spare_end[14];
};

/* The answer about an inode. The errors of fold_itable_get. */
int fold_statx(struct fold_session *s, uint64_t ino, struct fold_statx_out *out) FOLD_MUST;

#endif
