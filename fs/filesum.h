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
struct fold_session;

/*
 * The checksum of the whole content of a regular file, holes as zeros; exact if nobody changes the
 * file meanwhile. For a worker: reads everything but holes. The caller holds no lock and is outside
 * the gate. -EINTR once the asker has given up; -EIO and the errors of fold_read_collect.
 */
int fold_filesum_crc32(struct fold_session *s, struct fold_inode *inode, fuse_req_t req,
                       uint32_t *out) FOLD_MUST;

#endif
