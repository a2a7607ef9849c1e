/* SPDX-License-Identifier: MIT */
/*
 * Every call of foldfs' own code into the host filesystem goes through here, so that tests can make
 * any of them fail. All functions return 0 (or a count where said) or -errno; short transfers are
 * completed or turned into errors.
 */
#ifndef FOLD_META_BASE_IO_H
#define FOLD_META_BASE_IO_H

#include "meta/base/attr.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Opens relative to `dirfd`; O_CLOEXEC is added. Returns the descriptor or -errno. */
int fold_io_open(int dirfd, const char *name, int flags, mode_t mode) FOLD_MUST;

/* Reads exactly `len` bytes; -ENODATA if the file ends before. */
int fold_io_pread(int fd, void *buf, size_t len, uint64_t off) FOLD_MUST;

/* Writes all bytes of the vector, which is consumed (modified) on the way. */
int fold_io_pwritev(int fd, struct iovec *iov, int count, uint64_t off) FOLD_MUST;
int fold_io_pwrite(int fd, const void *buf, size_t len, uint64_t off) FOLD_MUST;

int fold_io_fdatasync(int fd) FOLD_MUST;
int fold_io_fsync(int fd) FOLD_MUST;
int fold_io_truncate(int fd, uint64_t len) FOLD_MUST;
int fold_io_fallocate(int fd, int mode, uint64_t off, uint64_t len) FOLD_MUST;
int fold_io_unlink(int dirfd, const char *name) FOLD_MUST;
int fold_io_rename(int dirfd, const char *from, const char *to) FOLD_MUST;
int fold_io_mkdir(int dirfd, const char *name, mode_t mode) FOLD_MUST;

/* Removes an empty directory. */
int fold_io_rmdir(int dirfd, const char *name) FOLD_MUST;

/* Lets two names of `dirfd` change places in one step. -EINVAL or -ENOSYS: the host cannot. */
int fold_io_exchange(int dirfd, const char *one, const char *other) FOLD_MUST;

/* Makes a second name for a file. -EPERM, -EOPNOTSUPP, -EMLINK: the host cannot. */
int fold_io_link(int dirfd, const char *name, int todirfd, const char *to) FOLD_MUST;

/* Copies a file's bytes (at most 1 GiB) to a name that must be free; not durable yet. */
int fold_io_copy(int dirfd, const char *name, int todirfd, const char *to) FOLD_MUST;

int fold_io_fstat(int fd, struct stat *st) FOLD_MUST;
int fold_io_statvfs(int fd, struct statvfs *st) FOLD_MUST;

/* Bytes this process may still allocate on the filesystem of `fd` (root may take what is reserved
 * for it). */
int fold_io_space(int fd, uint64_t *bytes) FOLD_MUST;

/* Reads a whole small file (at most `max` bytes) into malloc'd memory the caller frees. -EFBIG if
 * larger. */
int fold_io_slurp(int dirfd, const char *name, size_t max, void **data, size_t *len) FOLD_MUST;

/* Replaces `name` atomically and durably: writes `name`.new, fsyncs, renames, fsyncs the directory.
 */
int fold_io_replace(int dirfd, const char *name, const void *data, size_t len,
                    mode_t mode) FOLD_MUST;

/* Maps [0, len) of the file read-only and shared; `len` may reach beyond its end (such reads
 * fault). */
int fold_io_map(int fd, size_t len, void **out) FOLD_MUST;
void fold_io_unmap(void *map, size_t len);

/* Calls `fn` for each name in the directory but "." and ".."; a negative return stops and is
 * returned. */
typedef int (*fold_io_name_fn)(void *arg, const char *name);
int fold_io_list(int dirfd, fold_io_name_fn fn, void *arg) FOLD_MUST;

/* Removes everything in an open directory, folders with what is in them too. Not durable yet. */
int fold_io_empty(int dirfd) FOLD_MUST;

enum fold_io_op {
    FOLD_IO_OPEN,
    FOLD_IO_READ,
    FOLD_IO_WRITE,
    FOLD_IO_SYNC,
    FOLD_IO_TRUNCATE,
    FOLD_IO_FALLOCATE,
    FOLD_IO_UNLINK,
    FOLD_IO_RENAME,
    FOLD_IO_MKDIR,
    FOLD_IO_EXCHANGE,
    FOLD_IO_LINK,
    FOLD_IO_MAP,
    FOLD_IO_LIST,
    FOLD_IO_OPS
};

/*
 * Test seam: called before each operation; a negative return makes the operation fail with it, a
 * positive return of a write limits it to that many bytes (a short write). NULL removes it. Set
 * before threads start.
 */
typedef int (*fold_io_fault)(void *arg, enum fold_io_op op, int fd, const char *name);
void fold_io_set_fault(fold_io_fault hook, void *arg);

#endif
