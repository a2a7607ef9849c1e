/* SPDX-License-Identifier: MIT */
/*
 * The log of everything that reached the store directory: written by recorder.c inside the daemon,
 * marked by the workload, read by rebuild.c. Records follow each other; each is a header, two path
 * names and data, all in one append.
 */
#ifndef FOLD_TESTS_CRASH_CRASHLOG_H
#define FOLD_TESTS_CRASH_CRASHLOG_H

#include <stdint.h>

#define CRASHLOG_MAGIC 0x4c435246u

enum crashlog_kind {
    CRASHLOG_CREATE = 1, /* path appeared, a new empty file `node` */
    CRASHLOG_OPEN,       /* path was opened and is `node` */
    CRASHLOG_MKDIR,
    CRASHLOG_RENAME, /* path to path2 */
    CRASHLOG_UNLINK,
    CRASHLOG_RMDIR,
    CRASHLOG_LINK,       /* path2 is a new name of path */
    CRASHLOG_WRITE,      /* data at `off` of `node` */
    CRASHLOG_TRUNCATE,   /* `node` to `off` bytes */
    CRASHLOG_FALLOCATE,  /* `node`, [off, off + size), mode in `aux` */
    CRASHLOG_SYNC_BEGIN, /* of `node` (file) or of directory `path`; `aux` numbers it */
    CRASHLOG_SYNC_END,   /* of the sync numbered `aux`: what was logged before its beginning is
                            durable */
    CRASHLOG_MARK,       /* by the workload: worker `node`, operation `off`, `aux` 0 begins, 1
                            acknowledged; 2: all acknowledged ones of all workers are durable */
    CRASHLOG_UNKNOWN     /* a call that cannot be replayed; its name in path */
};

struct crashlog_record {
    uint32_t magic;
    uint32_t kind;
    uint64_t node; /* inode number on the host */
    uint64_t off;
    uint64_t size; /* of the data, or of the range */
    uint64_t aux;
    uint64_t time_ns; /* monotonic */
    uint32_t path_len;
    uint32_t path2_len;
    uint64_t data_len;
};

#endif
