/* SPDX-License-Identifier: MIT */
/*
 * Deleting, renaming and changing attributes are not in the list: they need what the reserve is
 * kept for.
 */
#include "fs/growth.h"

#include "fs/space.h"

#include <linux/falloc.h>
#include <linux/fuse.h>

#define OPCODE_TMPFILE 51u /* not in the kernel headers of the oldest system we build on */
/* An extent is at most 16 bytes, and is written to the journal and twice to the database; chunks
 * are 4 KiB and more. */
#define COPIED_PER_BYTE 64u

uint64_t fold_growth_of(const uint8_t *mem, size_t len)
{
    struct fuse_in_header h;
    struct fuse_write_in write = {0};
    struct fuse_fallocate_in range = {0};
    memcpy(&h, mem, sizeof h);
    const uint8_t *arg = mem + sizeof h;
    size_t left = len - sizeof h;
    switch (h.opcode) {
    case FUSE_WRITE:
        memcpy(&write, arg, FOLD_MIN(left, sizeof write));
        return write.size;
    case FUSE_FALLOCATE:
        memcpy(&range, arg, FOLD_MIN(left, sizeof range));
        return (range.mode & FALLOC_FL_PUNCH_HOLE) == 0 ? range.length : 0;
    case FUSE_SETXATTR:
        return FOLD_SPACE_NAME_BYTES + FOLD_MIN(left, (size_t)1 << 16);
    case FUSE_CREATE:
    case OPCODE_TMPFILE:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_SYMLINK:
    case FUSE_LINK:
        return FOLD_SPACE_NAME_BYTES;
    default:
        return 0;
    }
}

uint64_t fold_growth_of_copy(uint64_t len)
{
    return FOLD_SPACE_NAME_BYTES + len / COPIED_PER_BYTE;
}
