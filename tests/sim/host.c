/* SPDX-License-Identifier: MIT */
/*
 * The host of the daemon under test. These definitions take the place of the C library's in the
 * whole process, RocksDB included: what changes the store directory is logged in order, and fails
 * or ends the process where the plan says so. Before sim_host_begin everything is passed on.
 *
 * A change is logged under one lock together with the call itself. A sync is logged when it begins
 * and when it has ended.
 */
#include "tests/crash/crashlog.h"
#include "tests/sim/shared.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT  __attribute__((visibility("default")))
#define MAX_FDS 4096
#define NEXT(fn)                                                                                   \
    ({                                                                                             \
        static __typeof__(&fn) of_c_;                                                              \
        if (!of_c_) {                                                                              \
            of_c_ = (__typeof__(&fn))next(#fn);                                                    \
        }                                                                                          \
        of_c_;                                                                                     \
    })

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static struct sim_shared *shared; /* NULL: not begun */
static const char *root;
static size_t root_len;
static int device = -1;
static uint64_t sync_count;  /* guarded by lock */
static char *paths[MAX_FDS]; /* of descriptors below the root; guarded by lock */

static void *next(const char *name)
{
    void *fn = dlsym(RTLD_NEXT, name);
    if (!fn) {
        abort();
    }
    return fn;
}

void sim_host_begin(const char *dir, struct sim_shared *s)
{
    root = dir;
    root_len = strlen(dir);
    shared = s;
}

void sim_host_device(int fd)
{
    device = fd;
}

/* Lock held. */
static void emit(struct crashlog_record r, const char *path, const char *path2,
                 const struct iovec *data, int count, size_t limit)
{
    r.magic = CRASHLOG_MAGIC;
    r.path_len = path ? (uint32_t)strlen(path) : 0;
    r.path2_len = path2 ? (uint32_t)strlen(path2) : 0;
    for (int i = 0; i < count; i++) {
        r.data_len += data[i].iov_len;
    }
    r.data_len = r.data_len < limit ? r.data_len : limit;
    size_t total = sizeof r + r.path_len + r.path2_len + r.data_len;
    uint64_t at = atomic_load(&shared->log_used);
    if (total > SIM_LOG_BYTES - at) {
        atomic_store(&shared->log_full, true);
        sim_host_die();
    }
    uint8_t *to = shared->log + at;
    memcpy(to, &r, sizeof r);
    to += sizeof r;
    if (path) {
        memcpy(to, path, r.path_len);
    }
    to += r.path_len;
    if (path2) {
        memcpy(to, path2, r.path2_len);
    }
    to += r.path2_len;
    size_t left = r.data_len;
    for (int i = 0; i < count && left > 0; i++) {
        size_t n = data[i].iov_len < left ? data[i].iov_len : left;
        memcpy(to, data[i].iov_base, n);
        to += n;
        left -= n;
    }
    atomic_store(&shared->log_used, at + total);
}

static bool is_tracked(int fd)
{
    return shared && fd >= 0 && fd < MAX_FDS && paths[fd];
}

bool sim_host_tracked(int fd)
{
    return is_tracked(fd);
}

struct sim_shared *sim_host_shared(void)
{
    return shared;
}

/* The absolute path of `name` at `dirfd` without empty and "." parts; below the root: the rest of
 * it in `out`, and true. Lock held. */
static bool below_root(int dirfd, const char *name, char out[PATH_MAX])
{
    static const char proc[] = "/proc/self/fd/";
    char full[2 * PATH_MAX];
    if (strncmp(name, proc, sizeof proc - 1) == 0) {
        char *rest;
        dirfd = (int)strtol(name + sizeof proc - 1, &rest, 10);
        name = rest + strspn(rest, "/");
        if (!is_tracked(dirfd)) {
            return false;
        }
    }
    if (name[0] == '/' && strncmp(name, root, root_len) != 0) {
        return false;
    }
    if (name[0] == '/') {
        snprintf(full, sizeof full, "%s", name + root_len);
    } else if (is_tracked(dirfd)) {
        snprintf(full, sizeof full, "%s/%s", paths[dirfd], name);
    } else {
        return false;
    }
    size_t len = 0;
    out[0] = 0;
    for (const char *part = full; *part;) {
        size_t n = strcspn(part, "/");
        if (n > 0 && !(n == 1 && part[0] == '.')) {
            len +=
                (size_t)snprintf(out + len, PATH_MAX - len, "%s%.*s", len ? "/" : "", (int)n, part);
        }
        part += n + (part[n] == '/');
    }
    return true;
}

/*
 * RocksDB names its files /proc/self/fd/<directory>/<name>. Walking through /proc leaves the kernel
 * with work at the end of each process, so the name is taken relative to the descriptor instead.
 */
const char *sim_host_shorter(int *dirfd, const char *name)
{
    static const char proc[] = "/proc/self/fd/";
    if (strncmp(name, proc, sizeof proc - 1) != 0) {
        return name;
    }
    char *rest;
    long fd = strtol(name + sizeof proc - 1, &rest, 10);
    rest += strspn(rest, "/");
    if (!is_tracked((int)fd)) {
        return name;
    }
    *dirfd = (int)fd;
    return *rest ? rest : ".";
}

static uint64_t node_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static int host_open(int dirfd, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    if (!shared) {
        return NEXT(openat)(dirfd, name, flags, mode);
    }
    name = sim_host_shorter(&dirfd, name);
    pthread_mutex_lock(&lock);
    bool mine = below_root(dirfd, name, path);
    struct stat st;
    bool existed = mine && fstatat(dirfd, name, &st, 0) == 0;
    int fd = -1;
    if (!mine || sim_host_refused(existed ? SIM_CALL_READ : SIM_CALL_NAME) == 0) {
        fd = NEXT(openat)(dirfd, name, flags, mode);
    }
    int saved = errno;
    if (fd >= 0 && fd < MAX_FDS) {
        free(paths[fd]);
        paths[fd] = mine ? strdup(path) : NULL;
        if (mine && !(existed && S_ISDIR(st.st_mode))) {
            emit((struct crashlog_record){.kind = existed ? CRASHLOG_OPEN : CRASHLOG_CREATE,
                                          .node = node_of(fd)},
                 path, NULL, NULL, 0, 0);
        }
        if (mine && existed && (flags & O_TRUNC) && st.st_size > 0) {
            emit((struct crashlog_record){.kind = CRASHLOG_TRUNCATE, .node = node_of(fd)}, NULL,
                 NULL, NULL, 0, 0);
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
    return host_open(AT_FDCWD, name, flags, mode);
}

EXPORT int openat(int dirfd, const char *name, int flags, ...)
{
    OPEN_MODE(flags)
    return host_open(dirfd, name, flags, mode);
}

EXPORT int __open_2(const char *name, int flags);
EXPORT int __open_2(const char *name, int flags)
{
    return host_open(AT_FDCWD, name, flags, 0);
}

EXPORT int __openat_2(int dirfd, const char *name, int flags);
EXPORT int __openat_2(int dirfd, const char *name, int flags)
{
    return host_open(dirfd, name, flags, 0);
}

/* `fd` is one more descriptor of what `of` is. */
static int same(int fd, int of)
{
    if (shared && fd >= 0 && fd < MAX_FDS) {
        pthread_mutex_lock(&lock);
        free(paths[fd]);
        paths[fd] = is_tracked(of) ? strdup(paths[of]) : NULL;
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

EXPORT int dup(int fd)
{
    return same(NEXT(dup)(fd), fd);
}

EXPORT int dup2(int fd, int to)
{
    return same(NEXT(dup2)(fd, to), fd);
}

EXPORT int dup3(int fd, int to, int flags)
{
    return same(NEXT(dup3)(fd, to, flags), fd);
}

EXPORT int fcntl(int fd, int cmd, ...)
{
    va_list args;
    va_start(args, cmd);
    void *arg = va_arg(args, void *);
    va_end(args);
    int ret = NEXT(fcntl)(fd, cmd, arg);
    return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC ? same(ret, fd) : ret;
}

EXPORT int close(int fd)
{
    if (is_tracked(fd)) {
        pthread_mutex_lock(&lock);
        free(paths[fd]);
        paths[fd] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return NEXT(close)(fd);
}

/* True if a sync of this file is one that was planted to do nothing. */
static bool lies(const char *path)
{
    return (shared->plant == SIM_PLANT_SKIP_SYNC && strncmp(path, "journal", 7) == 0) ||
           (shared->plant == SIM_PLANT_SKIP_DATA && strncmp(path, "segments/", 9) == 0);
}

/* In memory there is nothing to wait for. */
static int host_sync(int fd)
{
    struct stat st;
    atomic_fetch_add(&shared->syncs, 1);
    if (sim_host_refused(SIM_CALL_SYNC) != 0) {
        return -1;
    }
    pthread_mutex_lock(&lock);
    uint64_t number = ++sync_count;
    bool dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    bool nothing = lies(paths[fd]);
    emit((struct crashlog_record){.kind = CRASHLOG_SYNC_BEGIN,
                                  .node = dir ? 0 : st.st_ino,
                                  .aux = number},
         dir ? paths[fd] : "", NULL, NULL, 0, 0);
    if (!nothing) {
        emit((struct crashlog_record){.kind = CRASHLOG_SYNC_END, .aux = number}, NULL, NULL, NULL,
             0, 0);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

EXPORT int fsync(int fd)
{
    return is_tracked(fd) ? host_sync(fd) : NEXT(fsync)(fd);
}

EXPORT int fdatasync(int fd)
{
    return is_tracked(fd) ? host_sync(fd) : NEXT(fdatasync)(fd);
}

/* How many bytes of a write are carried out; -1 with errno for none. */
static ssize_t allowed(size_t size, bool *dies)
{
    enum sim_fault f = sim_host_planned(SIM_CALL_WRITE);
    *dies = f == SIM_KILL_HALF;
    if (f == SIM_KILL) {
        sim_host_die();
    }
    if (f == SIM_EIO || f == SIM_ENOSPC) {
        errno = f == SIM_EIO ? EIO : ENOSPC;
        return -1;
    }
    return f == SIM_NO_FAULT ? (ssize_t)size : (ssize_t)(size - size / 2);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t off)
{
    if (!is_tracked(fd)) {
        return NEXT(pwritev)(fd, iov, count, off);
    }
    if (strncmp(paths[fd], "segments/", 9) == 0) {
        sim_device_storing();
    }
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += iov[i].iov_len;
    }
    bool dies;
    atomic_fetch_add(&shared->writes, 1);
    ssize_t most = allowed(size, &dies);
    if (most < 0) {
        return -1;
    }
    pthread_mutex_lock(&lock);
    emit((struct crashlog_record){.kind = CRASHLOG_WRITE,
                                  .node = node_of(fd),
                                  .off = (uint64_t)off,
                                  .size = (uint64_t)most},
         NULL, NULL, iov, count, (size_t)most);
    ssize_t done = 0;
    for (int i = 0; i < count && done < most; i++) {
        size_t n = iov[i].iov_len < (size_t)(most - done) ? iov[i].iov_len : (size_t)(most - done);
        ssize_t ret = NEXT(pwrite)(fd, iov[i].iov_base, n, off + done);
        if (ret != (ssize_t)n) {
            abort(); /* memory of the machine */
        }
        done += ret;
    }
    pthread_mutex_unlock(&lock);
    if (dies) {
        sim_host_die();
    }
    return done;
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
    if (fd >= 0 && fd == device) {
        return sim_device_write(iov, count);
    }
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

EXPORT ssize_t read(int fd, void *buf, size_t len)
{
    if (fd >= 0 && fd == device) {
        return sim_device_read(buf, len);
    }
    if (is_tracked(fd) && sim_host_refused(SIM_CALL_READ) != 0) {
        return -1;
    }
    return NEXT(read)(fd, buf, len);
}

EXPORT ssize_t pread(int fd, void *buf, size_t len, off_t off)
{
    if (is_tracked(fd) && sim_host_refused(SIM_CALL_READ) != 0) {
        return -1;
    }
    return NEXT(pread)(fd, buf, len, off);
}

EXPORT int ftruncate(int fd, off_t size)
{
    if (!is_tracked(fd)) {
        return NEXT(ftruncate)(fd, size);
    }
    if (sim_host_refused(SIM_CALL_SIZE) != 0) {
        return -1;
    }
    pthread_mutex_lock(&lock);
    emit((struct crashlog_record){.kind = CRASHLOG_TRUNCATE,
                                  .node = node_of(fd),
                                  .off = (uint64_t)size},
         NULL, NULL, NULL, 0, 0);
    int ret = NEXT(ftruncate)(fd, size);
    pthread_mutex_unlock(&lock);
    return ret;
}

EXPORT int fallocate(int fd, int mode, off_t off, off_t len)
{
    if (!is_tracked(fd)) {
        return NEXT(fallocate)(fd, mode, off, len);
    }
    if (sim_host_refused(SIM_CALL_SIZE) != 0) {
        return -1;
    }
    if (mode == FALLOC_FL_KEEP_SIZE) {
        return 0; /* room set aside: memory has no use for it, and setting it aside takes time */
    }
    pthread_mutex_lock(&lock);
    int ret = NEXT(fallocate)(fd, mode, off, len);
    if (ret == 0) {
        emit((struct crashlog_record){.kind = CRASHLOG_FALLOCATE,
                                      .node = node_of(fd),
                                      .off = (uint64_t)off,
                                      .size = (uint64_t)len,
                                      .aux = (uint64_t)mode},
             NULL, NULL, NULL, 0, 0);
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
#define CHANGE_NAMES(kind_, from_dir, from, to_dir, to, call)                                      \
    char a[PATH_MAX] = "";                                                                         \
    char b[PATH_MAX] = "";                                                                         \
    if (!shared) {                                                                                 \
        return call;                                                                               \
    }                                                                                              \
    pthread_mutex_lock(&lock);                                                                     \
    bool mine = below_root(from_dir, from, a) && below_root(to_dir, to, b);                        \
    int ret = mine && sim_host_refused(SIM_CALL_NAME) != 0 ? -1 : call;                            \
    int saved = errno;                                                                             \
    if (ret == 0 && mine) {                                                                        \
        emit((struct crashlog_record){.kind = (kind_)}, a, b, NULL, 0, 0);                         \
    }                                                                                              \
    pthread_mutex_unlock(&lock);                                                                   \
    errno = saved;                                                                                 \
    return ret

EXPORT int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

EXPORT int renameat(int fd, const char *from, int fd2, const char *to)
{
    from = sim_host_shorter(&fd, from);
    to = sim_host_shorter(&fd2, to);
    CHANGE_NAMES(CRASHLOG_RENAME, fd, from, fd2, to, NEXT(renameat)(fd, from, fd2, to));
}

EXPORT int renameat2(int fd, const char *from, int fd2, const char *to, unsigned flags)
{
    CHANGE_NAMES(flags & RENAME_EXCHANGE ? CRASHLOG_UNKNOWN : CRASHLOG_RENAME, fd, from, fd2, to,
                 NEXT(renameat2)(fd, from, fd2, to, flags));
}

EXPORT int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int linkat(int fd, const char *from, int fd2, const char *to, int flags)
{
    from = sim_host_shorter(&fd, from);
    to = sim_host_shorter(&fd2, to);
    CHANGE_NAMES(CRASHLOG_LINK, fd, from, fd2, to, NEXT(linkat)(fd, from, fd2, to, flags));
}

EXPORT int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

EXPORT int unlinkat(int fd, const char *name, int flags)
{
    name = sim_host_shorter(&fd, name);
    CHANGE_NAMES(flags & AT_REMOVEDIR ? CRASHLOG_RMDIR : CRASHLOG_UNLINK, fd, name, fd, name,
                 NEXT(unlinkat)(fd, name, flags));
}

EXPORT int rmdir(const char *name)
{
    return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

EXPORT int mkdir(const char *name, mode_t mode)
{
    return mkdirat(AT_FDCWD, name, mode);
}

EXPORT int mkdirat(int fd, const char *name, mode_t mode)
{
    name = sim_host_shorter(&fd, name);
    CHANGE_NAMES(CRASHLOG_MKDIR, fd, name, fd, name, NEXT(mkdirat)(fd, name, mode));
}

/* The same calls under the names large-file programs use. */
#define ALIAS(name, of) extern EXPORT __typeof__(of) name __attribute__((alias(#of)))
ALIAS(open64, open);
ALIAS(openat64, openat);
ALIAS(fcntl64, fcntl);
ALIAS(__open64_2, __open_2);
ALIAS(__openat64_2, __openat_2);
ALIAS(pread64, pread);
ALIAS(pwrite64, pwrite);
ALIAS(pwritev64, pwritev);
ALIAS(ftruncate64, ftruncate);
ALIAS(fallocate64, fallocate);
ALIAS(posix_fallocate64, posix_fallocate);
