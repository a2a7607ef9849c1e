/* SPDX-License-Identifier: MIT */
/*
 * The plain values every layer above the kernels passes around.
 */
#ifndef FOLD_META_TYPES_H
#define FOLD_META_TYPES_H

#include "meta/base/attr.h"

#include <stdbool.h>
#include <time.h>

typedef uint64_t fold_ino; /* inode number; never reused; 0 is none, 1 the root directory */
typedef uint64_t fold_lsn; /* position in the order of commits; rises by one per commit */

#define FOLD_INO_ROOT 1

/* Fingerprint of a chunk's raw bytes: XXH3-128 in w[0..1] (w[2..3] zero), or SHA-256 in all four.
 */
struct fold_fp {
    uint64_t w[4];
};

static inline bool fold_fp_equal(const struct fold_fp *a, const struct fold_fp *b)
{
    return ((a->w[0] ^ b->w[0]) | (a->w[1] ^ b->w[1]) | (a->w[2] ^ b->w[2]) |
            (a->w[3] ^ b->w[3])) == 0;
}

/* Where a chunk's record lies: segment number (0 is none) and byte offset of the record, a multiple
 * of 16. */
struct fold_loc {
    uint32_t seg;
    uint32_t off;
};

static inline bool fold_loc_equal(struct fold_loc a, struct fold_loc b)
{
    return a.seg == b.seg && a.off == b.off;
}

enum fold_extent_kind {
    FOLD_EXTENT_DATA = 1,     /* bytes of a chunk */
    FOLD_EXTENT_UNWRITTEN = 2 /* allocated by fallocate, reads as zeros; loc and skip are 0 */
};

/* The chunk behind the extent was cut because the data ended, not because its content said so. */
#define FOLD_EXTENT_TAIL 1u

/* One piece of a file: `len` bytes at file offset `off` are bytes [skip, skip+len) of the chunk at
 * `loc`. */
struct fold_extent {
    uint64_t off;
    uint32_t len;
    uint32_t skip;
    struct fold_loc loc;
    uint8_t kind;
    uint8_t flags;
};

/* Everything an inode stores besides names, data and xattrs. */
struct fold_attr {
    fold_ino ino;
    uint32_t mode; /* type and permission bits */
    uint32_t uid;
    uint32_t gid;
    uint32_t nlink;
    uint64_t rdev;
    uint64_t
        size; /* bytes; for directories the number of entries, for symlinks the target's length */
    uint64_t mapped; /* bytes of the file covered by extents; st_blocks = mapped / 512 rounded up */
    fold_ino parent; /* directories only: the directory that holds it */
    uint32_t flags;  /* FOLD_INODE_* */
    struct timespec atime;
    struct timespec mtime;
    struct timespec ctime;
    struct timespec btime;
};

#define FOLD_INODE_XATTRS      1u  /* has at least one xattr (may be set when there are none) */
#define FOLD_INODE_DEFAULT_ACL 2u  /* a directory with a default ACL (exact) */
#define FOLD_INODE_ACCESS_ACL  4u  /* has an access ACL (exact) */
#define FOLD_INODE_FRAGMENTED  8u  /* worth refolding */
#define FOLD_INODE_RECOUNT     16u /* `mapped` is an upper bound: a cut was not counted yet */

/* Longest name, symlink target and extended attribute value, in bytes. */
#define FOLD_NAME_MAX    255
#define FOLD_SYMLINK_MAX 4095
#define FOLD_XATTR_MAX   65536

#endif
