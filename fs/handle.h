/* SPDX-License-Identifier: MIT */
/*
 * Open files: what fuse_file_info.fh points to between open and release.
 */
#ifndef FOLD_FS_HANDLE_H
#define FOLD_FS_HANDLE_H

#include "fs/itable.h"

#include <stdatomic.h>

struct fold_handle {
    struct fold_inode *inode; /* referenced, counted in opens */
    int flags;                /* open flags */
    bool direct;              /* FOPEN_DIRECT_IO */
    atomic_uint error_seen;   /* error_seq of the data already reported through this handle */
    _Atomic uint64_t next_read; /* end of the last read: sequential readers are prefetched for */
    _Atomic uint64_t prefetched; /* prefetch issued up to this file offset */
};

#endif
