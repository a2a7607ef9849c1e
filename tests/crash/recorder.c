/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into the daemon: records every call that changes something below FOLD_RECORD_ROOT into
 * FOLD_RECORD_LOG.
 *
 * A change is logged under one lock together with the call itself, so the log has the order of the
 * changes. A sync is logged when it begins and when it has ended. Files the C library writes
 * through streams (the log of RocksDB) are not seen, and not needed. Calls that cannot be replayed
 * (writable shared mappings) are logged as unknown.
 */
#include "tests/crash/crashlog.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT   __attribute__((visibility("default")))
#define MAX_FDS  65536
#define NEXT(fn) ((__typeof__(&fn))next(#fn))

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static char root[PATH_MAX]; /* fixed after start */
static size_t root_len;
static int log_fd = -1;
static uint64_t sync_count;   /* guarded by lock */
static bool tracked[MAX_FDS]; /* guarded by lock */

static void *next(const char *name)
{
    void *fn = dlsym(RTLD_NEXT, name);
    if (!fn) {
        abort();
    }
    return fn;
}

__attribute__((constructor)) static void start(void)
{
    const char *dir = getenv("FOLD_RECORD_ROOT");
    const char *path = getenv("FOLD_RECORD_LOG");
    if (!dir || !path || !realpath(dir, root)) {
        return;
    }
    root_len = strlen(root);
    int fd = NEXT(open)(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    log_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 900);
}

static void emit(struct crashlog_record r, const char *path, const char *path2,
                 const struct iovec *data, int count)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    r.magic = CRASHLOG_MAGIC;
    r.time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    r.path_len = path ? (uint32_t)strlen(path) : 0;
    r.path2_len = path2 ? (uint32_t)strlen(path2) : 0;
    static struct iovec iov[IOV_MAX]; /* guarded by lock */
    int n = 0;
    iov[n++] = (struct iovec){&r, sizeof r};
    iov[n++] = (struct iovec){(void *)(uintptr_t)path, r.path_len};
    iov[n++] = (struct iovec){(void *)(uintptr_t)path2, r.path2_len};
    for (int i = 0; i < count; i++) {
        r.data_len += data[i].iov_len;
        iov[n++] = data[i];
    }
    size_t total = sizeof r + r.path_len + r.path2_len + r.data_len;
    if (NEXT(writev)(log_fd, iov, n) != (ssize_t)total) {
        abort(); /* a log with holes proves nothing */
    }
}

/* Path below the root of `name` at `dirfd`; false if it lies elsewhere. */
static bool below_root(int dirfd, const char *name, char out[PATH_MAX])
{
    char full[PATH_MAX];
    if (log_fd < 0) {
        return false;
    }
    if (name[0] == '/') { /* may lead through links, such as those of /proc/self/fd */
        char parent[PATH_MAX];
        char real[PATH_MAX];
        const char *last = strrchr(name, '/');
        snprintf(parent, sizeof parent, "%.*s/", (int)(last - name), name);
        if (!realpath(parent, real)) {
            return false;
        }
        snprintf(full, sizeof full, "%.*s/%.255s", PATH_MAX - 300, real, last + 1);
    } else {
        char link[64];
        char base[PATH_MAX / 2];
        snprintf(link, sizeof link, dirfd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d",
                 dirfd);
        ssize_t n = readlink(link, base, sizeof base - 1);
        if (n <= 0) {
            return false;
        }
        base[n] = 0;
        snprintf(full, sizeof full, "%s/%s", base, name);
    }
    size_t len = 0; /* no empty and no "." components */
    out[0] = 0;
    for (const char *part = full; *part;) {
        size_t n = strcspn(part, "/");
        if (n > 0 && !(n == 1 && part[0] == '.')) {
            len += (size_t)snprintf(out + len, PATH_MAX - len, "/%.*s", (int)n, part);
        }
        part += n + (part[n] == '/');
    }
    if (strncmp(out, root, root_len) != 0 || (out[root_len] != '/' && out[root_len] != 0)) {
        return false;
    }
    memmove(out, out + root_len + (out[root_len] == '/'),
            strlen(out + root_len) + 1 - (out[root_len] == '/'));
    return true;
}

static bool is_tracked(int fd)
{
    return log_fd >= 0 && fd >= 0 && fd < MAX_FDS && tracked[fd];
}

static uint64_t node_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static int record_open(int (*call)(int, const char *, int, ...), int dirfd, const char *name,
                       int flags, mode_t mode)
{
    char path[PATH_MAX];
    if (log_fd < 0 || (flags & O_TMPFILE) == O_TMPFILE) {
        return call(dirfd, name, flags, mode);
    }
    pthread_mutex_lock(&lock);
    bool mine = below_root(dirfd, name, path);
    struct stat st;
    bool existed = mine && fstatat(dirfd, name, &st, 0) == 0;
    int fd = call(dirfd, name, flags, mode);
    int saved = errno;
    if (fd >= 0 && fd < MAX_FDS) {
        tracked[fd] = mine;
        if (mine && !(existed && S_ISDIR(st.st_mode))) {
            emit((struct crashlog_record){.kind = existed ? CRASHLOG_OPEN : CRASHLOG_CREATE,
                                          .node = node_of(fd)},
                 path, NULL, NULL, 0);
        }
        if (mine && existed && (flags & O_TRUNC) && st.st_size > 0) {
            emit((struct crashlog_record){.kind = CRASHLOG_TRUNCATE, .node = node_of(fd)}, NULL,
                 NULL, NULL, 0);
        }
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

#define OPEN_MODE(last)                                                                            \
    mode_t mode = 0;                                                                               \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                                         \
        va_list args;                                                                              \
        va_start(args, last);                                                                      \
        mode = va_arg(args, mode_t);                                                               \
        va_end(args);                                                                              \
    }

EXPORT int open(const char *name, int flags, ...)
{
    OPEN_MODE(flags)
    return record_open(NEXT(openat), AT_FDCWD, name, flags, mode);
}

EXPORT int openat(int dirfd, const char *name, int flags, ...)
{
    OPEN_MODE(flags)
    return record_open(NEXT(openat), dirfd, name, flags, mode);
}

EXPORT int creat(const char *name, mode_t mode)
{
    return record_open(NEXT(openat), AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT int __open_2(const char *name, int flags);
EXPORT int __open_2(const char *name, int flags)
{
    return record_open(NEXT(openat), AT_FDCWD, name, flags, 0);
}

EXPORT int __openat_2(int dirfd, const char *name, int flags);
EXPORT int __openat_2(int dirfd, const char *name, int flags)
{
    return record_open(NEXT(openat), dirfd, name, flags, 0);
}

EXPORT int close(int fd)
{
    if (log_fd >= 0 && fd == log_fd) {
        errno = EBADF;
        return -1;
    }
    if (is_tracked(fd)) {
        pthread_mutex_lock(&lock);
        tracked[fd] = false;
        pthread_mutex_unlock(&lock);
    }
    return NEXT(close)(fd);
}

static int record_sync(int fd, int (*call)(int))
{
    char path[PATH_MAX] = "";
    struct stat st;
    pthread_mutex_lock(&lock);
    uint64_t number = ++sync_count;
    bool dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && below_root(fd, ".", path);
    emit((struct crashlog_record){.kind = CRASHLOG_SYNC_BEGIN,
                                  .node = dir ? 0 : node_of(fd),
                                  .aux = number},
         path, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
    int ret = call(fd);
    int saved = errno;
    if (ret == 0) {
        pthread_mutex_lock(&lock);
        emit((struct crashlog_record){.kind = CRASHLOG_SYNC_END, .aux = number}, NULL, NULL, NULL,
             0);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return ret;
}

EXPORT int fsync(int fd)
{
    return is_tracked(fd) ? record_sync(fd, NEXT(fsync)) : NEXT(fsync)(fd);
}

EXPORT int fdatasync(int fd)
{
    return is_tracked(fd) ? record_sync(fd, NEXT(fdatasync)) : NEXT(fdatasync)(fd);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t off)
{
    if (!is_tracked(fd)) {
        return NEXT(pwritev)(fd, iov, count, off);
    }
    pthread_mutex_lock(&lock);
    uint64_t size = 0;
    for (int i = 0; i < count; i++) {
        size += iov[i].iov_len;
    }
    emit(
        (struct crashlog_record){
            .kind = CRASHLOG_WRITE, .node = node_of(fd), .off = (uint64_t)off, .size = size},
        NULL, NULL, iov, count > IOV_MAX - 3 ? IOV_MAX - 3 : count);
    ssize_t ret = NEXT(pwritev)(fd, iov, count > IOV_MAX - 3 ? IOV_MAX - 3 : count, off);
    int saved = errno;
    pthread_mutex_unlock(&lock);
    if (ret >= 0 && (fcntl(fd, F_GETFL) & O_DSYNC)) {
        (void)record_sync(fd, NEXT(fdatasync));
    }
    errno = saved;
    return ret;
}

EXPORT ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
    if (!is_tracked(fd)) {
        return NEXT(pwrite)(fd, buf, len, off);
    }
    struct iovec iov = {(void *)(uintptr_t)buf, len};
    return pwritev(fd, &iov, 1, off);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
    if (!is_tracked(fd)) {
        return NEXT(writev)(fd, iov, count);
    }
    pthread_mutex_lock(&lock);
    off_t at = lseek(fd, 0, (fcntl(fd, F_GETFL) & O_APPEND) ? SEEK_END : SEEK_CUR);
    ssize_t ret = pwritev(fd, iov, count, at);
    if (ret > 0) {
        lseek(fd, at + ret, SEEK_SET);
    }
    pthread_mutex_unlock(&lock);
    return ret;
}

EXPORT ssize_t write(int fd, const void *buf, size_t len)
{
    if (!is_tracked(fd)) {
        return NEXT(write)(fd, buf, len);
    }
    struct iovec iov = {(void *)(uintptr_t)buf, len};
    return writev(fd, &iov, 1);
}

EXPORT int ftruncate(int fd, off_t size)
{
    if (!is_tracked(fd)) {
        return NEXT(ftruncate)(fd, size);
    }
    pthread_mutex_lock(&lock);
    emit((struct crashlog_record){.kind = CRASHLOG_TRUNCATE,
                                  .node = node_of(fd),
                                  .off = (uint64_t)size},
         NULL, NULL, NULL, 0);
    int ret = NEXT(ftruncate)(fd, size);
    pthread_mutex_unlock(&lock);
    return ret;
}

EXPORT int fallocate(int fd, int mode, off_t off, off_t len)
{
    if (!is_tracked(fd)) {
        return NEXT(fallocate)(fd, mode, off, len);
    }
    pthread_mutex_lock(&lock);
    int ret = NEXT(fallocate)(fd, mode, off, len);
    if (ret == 0) {
        emit((struct crashlog_record){.kind = CRASHLOG_FALLOCATE,
                                      .node = node_of(fd),
                                      .off = (uint64_t)off,
                                      .size = (uint64_t)len,
                                      .aux = (uint64_t)mode},
             NULL, NULL, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return ret;
}

EXPORT int posix_fallocate(int fd, off_t off, off_t len)
{
    return is_tracked(fd) ? (fallocate(fd, 0, off, len) == 0 ? 0 : errno)
                          : NEXT(posix_fallocate)(fd, off, len);
}

/* Two names or one: done and logged if it worked. */
#define RECORD_NAMES(kind_, from_dir, from, to_dir, to, call)                                      \
    char a[PATH_MAX] = "";                                                                         \
    char b[PATH_MAX] = "";                                                                         \
    if (log_fd < 0) {                                                                              \
        return call;                                                                               \
    }                                                                                              \
    pthread_mutex_lock(&lock);                                                                     \
    bool mine = below_root(from_dir, from, a) && below_root(to_dir, to, b);                        \
    int ret = call;                                                                                \
    int saved = errno;                                                                             \
    if (ret == 0 && mine) {                                                                        \
        emit((struct crashlog_record){.kind = (kind_)}, a, b, NULL, 0);                            \
    }                                                                                              \
    pthread_mutex_unlock(&lock);                                                                   \
    errno = saved;                                                                                 \
    return ret

EXPORT int rename(const char *from, const char *to)
{
    RECORD_NAMES(CRASHLOG_RENAME, AT_FDCWD, from, AT_FDCWD, to, NEXT(rename)(from, to));
}

EXPORT int renameat(int fd, const char *from, int fd2, const char *to)
{
    RECORD_NAMES(CRASHLOG_RENAME, fd, from, fd2, to, NEXT(renameat)(fd, from, fd2, to));
}

EXPORT int renameat2(int fd, const char *from, int fd2, const char *to, unsigned flags)
{
    RECORD_NAMES(flags & RENAME_EXCHANGE ? CRASHLOG_UNKNOWN : CRASHLOG_RENAME, fd, from, fd2, to,
                 NEXT(renameat2)(fd, from, fd2, to, flags));
}

EXPORT int link(const char *from, const char *to)
{
    RECORD_NAMES(CRASHLOG_LINK, AT_FDCWD, from, AT_FDCWD, to, NEXT(link)(from, to));
}

EXPORT int linkat(int fd, const char *from, int fd2, const char *to, int flags)
{
    RECORD_NAMES(CRASHLOG_LINK, fd, from, fd2, to, NEXT(linkat)(fd, from, fd2, to, flags));
}

EXPORT int unlink(const char *name)
{
    RECORD_NAMES(CRASHLOG_UNLINK, AT_FDCWD, name, AT_FDCWD, name, NEXT(unlink)(name));
}

EXPORT int unlinkat(int fd, const char *name, int flags)
{
    RECORD_NAMES(flags & AT_REMOVEDIR ? CRASHLOG_RMDIR : CRASHLOG_UNLINK, fd, name, fd, name,
                 NEXT(unlinkat)(fd, name, flags));
}

EXPORT int rmdir(const char *name)
{
    RECORD_NAMES(CRASHLOG_RMDIR, AT_FDCWD, name, AT_FDCWD, name, NEXT(rmdir)(name));
}

EXPORT int mkdir(const char *name, mode_t mode)
{
    RECORD_NAMES(CRASHLOG_MKDIR, AT_FDCWD, name, AT_FDCWD, name, NEXT(mkdir)(name, mode));
}

EXPORT int mkdirat(int fd, const char *name, mode_t mode)
{
    RECORD_NAMES(CRASHLOG_MKDIR, fd, name, fd, name, NEXT(mkdirat)(fd, name, mode));
}

EXPORT int truncate(const char *name, off_t size)
{
    RECORD_NAMES(CRASHLOG_UNKNOWN, AT_FDCWD, name, AT_FDCWD, name, NEXT(truncate)(name, size));
}

EXPORT ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t len, unsigned flags)
{
    if (is_tracked(out)) {
        pthread_mutex_lock(&lock);
        emit((struct crashlog_record){.kind = CRASHLOG_UNKNOWN}, "copy_file_range", NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return NEXT(copy_file_range)(in, from, out, to, len, flags);
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
    if (is_tracked(fd) && (prot & PROT_WRITE) && (flags & MAP_SHARED)) {
        pthread_mutex_lock(&lock);
        emit((struct crashlog_record){.kind = CRASHLOG_UNKNOWN}, "mmap", NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return NEXT(mmap)(addr, len, prot, flags, fd, off);
}

/* The same calls under the names large-file programs use. */
#define ALIAS(name, of) extern EXPORT __typeof__(of) name __attribute__((alias(#of)))
ALIAS(open64, open);
ALIAS(openat64, openat);
ALIAS(creat64, creat);
ALIAS(__open64_2, __open_2);
ALIAS(__openat64_2, __openat_2);
ALIAS(pwrite64, pwrite);
ALIAS(pwritev64, pwritev);
ALIAS(ftruncate64, ftruncate);
ALIAS(fallocate64, fallocate);
ALIAS(posix_fallocate64, posix_fallocate);
ALIAS(truncate64, truncate);
ALIAS(mmap64, mmap);
