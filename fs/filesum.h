/* SPDX-License-Identifier: MIT */
/*
 * The CRC-32 of a file's content, as zip, gzip and PNG have it: computed where the bytes are, so
 * that a copy elsewhere can be told apart without carrying the file through the kernel.
 */
#ifndef FOLD_FS_FILESUM_H
#define FOLD_FS_FILESUM_H

#include "fs/reply.h"

#include <stdint.h>

struct fold_inode;
struct fold_long;
struct fold_session;

/* How far a checksum is. */
struct fold_filesum {
    uint64_t off, size;
    uint64_t prepared; /* up to here the disk was asked to read ahead */
    uint32_t crc;      /* of what lies before `off`; the result in the end */
};

/* What fold_filesum_step returns when its time is up. */
#define FOLD_FILESUM_MORE 1

/*
 * The checksum of the whole content of a regular file, holes as zeros; exact if nobody changes the
 * file meanwhile, and of everything that was flushed before. -ENOMEM.
 */
int fold_filesum_begin(struct fold_session *s, struct fold_inode *inode,
                       struct fold_filesum *f) FOLD_MUST;

/* Goes on as long as `l` may. The caller holds no lock and is outside the gate. 0: f->crc is the
 * result; FOLD_FILESUM_MORE; -EINTR once the asker has given up; -EIO and the errors of
 * fold_read_collect. */
int fold_filesum_step(struct fold_session *s, struct fold_inode *inode, const struct fold_long *l,
                      struct fold_filesum *f) FOLD_MUST;

#endif
