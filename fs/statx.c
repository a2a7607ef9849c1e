/* SPDX-License-Identifier: MIT */
/*
 * Everything but the time of birth is what GETATTR says.
 */
#include "fs/statx.h"

#include "fs/reply.h"
#include "fs/session.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

_Static_assert(sizeof(struct fold_statx_out) == 288, "the layout of the protocol");

static struct fold_statx_time time_of(struct timespec t)
{
    return (struct fold_statx_time){.sec = t.tv_sec, .nsec = (uint32_t)t.tv_nsec};
}

int fold_statx(struct fold_session *s, uint64_t ino, struct fold_statx_out *out)
{
    struct fold_inode *inode = NULL;
    struct stat st;
    int rc = fold_itable_get(s->inodes, ino, &inode);
    if (rc != 0)
        return rc;
    uint64_t valid = fold_reply_timeout(inode);
    fold_reply_stat(s, inode, &st);
    fold_lock_take(&inode->lock);
    struct timespec btime = inode->attr.btime;
    fold_lock_drop(&inode->lock);
    fold_itable_put(s->inodes, inode);
    *out = (struct fold_statx_out){
        .valid_sec = valid,
        .mask = STATX_BASIC_STATS | STATX_BTIME,
        .blksize = (uint32_t)st.st_blksize,
        .nlink = (uint32_t)st.st_nlink,
        .uid = st.st_uid,
        .gid = st.st_gid,
        .mode = (uint16_t)st.st_mode,
        .ino = st.st_ino,
        .size = (uint64_t)st.st_size,
        .blocks = (uint64_t)st.st_blocks,
        .atime = time_of(st.st_atim),
        .btime = time_of(btime),
        .ctime = time_of(st.st_ctim),
        .mtime = time_of(st.st_mtim),
        .rdev_major = major(st.st_rdev),
        .rdev_minor = minor(st.st_rdev),
    };
    return 0;
}
