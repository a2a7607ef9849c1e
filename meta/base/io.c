/* SPDX-License-Identifier: MIT */
/*
 * The I/O seam: thin wrappers around system calls that retry EINTR, complete short transfers and
 * ask the test hook first. No state but the hook, which is set before threads start.
 */
#include "meta/base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>

#define COPY_MAX (1u << 30)

static fold_io_fault fault_hook;
static void *fault_arg;

void fold_io_set_fault(fold_io_fault hook, void *arg)
{
    fault_arg = arg;
    fault_hook = hook;
}

static int ask(enum fold_io_op op, int fd, const char *name)
{
    return FOLD_UNLIKELY(fault_hook != NULL) ? fault_hook(fault_arg, op, fd, name) : 0;
}

/* A negative answer of the hook is the result; anything else lets the operation run. */
static int refused(enum fold_io_op op, int fd, const char *name)
{
    int rc = ask(op, fd, name);
    return rc < 0 ? rc : 0;
}

int fold_io_open(int dirfd, const char *name, int flags, mode_t mode)
{
    int rc = refused(FOLD_IO_OPEN, dirfd, name);
    if (rc < 0)
        return rc;
    int fd;
    do
        fd = openat(dirfd, name, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

int fold_io_pread(int fd, void *buf, size_t len, uint64_t off)
{
    uint8_t *p = buf;
    int rc = refused(FOLD_IO_READ, fd, NULL);
    if (rc < 0)
        return rc;
    while (len > 0) {
        ssize_t n = pread(fd, p, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ENODATA;
        p += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

/* Drops `done` bytes from the front of the vector. */
static void consume(struct iovec **iov, int *count, size_t done)
{
    while (*count > 0 && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        (*iov)++;
        (*count)--;
    }
    if (*count > 0 && done > 0) {
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
}

/* One transfer; `limit` > 0 makes it at most that many bytes long. */
static ssize_t write_some(int fd, const struct iovec *iov, int count, uint64_t off, size_t limit)
{
    if (FOLD_UNLIKELY(limit > 0))
        return pwrite(fd, iov->iov_base, FOLD_MIN(limit, iov->iov_len), (off_t)off);
    return pwritev(fd, iov, FOLD_MIN(count, IOV_MAX), (off_t)off);
}

int fold_io_pwritev(int fd, struct iovec *iov, int count, uint64_t off)
{
    consume(&iov, &count, 0);
    while (count > 0) {
        int limit = ask(FOLD_IO_WRITE, fd, NULL);
        if (limit < 0)
            return limit;
        ssize_t n = write_some(fd, iov, count, off, (size_t)limit);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        off += (uint64_t)n;
        consume(&iov, &count, (size_t)n);
    }
    return 0;
}

int fold_io_pwrite(int fd, const void *buf, size_t len, uint64_t off)
{
    struct iovec iov = {.iov_len = len};
    memcpy(&iov.iov_base, &buf, sizeof buf);
    return fold_io_pwritev(fd, &iov, 1, off);
}

int fold_io_fdatasync(int fd)
{
    int rc = refused(FOLD_IO_SYNC, fd, NULL);
    if (rc < 0)
        return rc;
    do
        rc = fdatasync(fd);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

int fold_io_fsync(int fd)
{
    int rc = refused(FOLD_IO_SYNC, fd, NULL);
    if (rc < 0)
        return rc;
    do
        rc = fsync(fd);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

int fold_io_truncate(int fd, uint64_t len)
{
    int rc = refused(FOLD_IO_TRUNCATE, fd, NULL);
    if (rc < 0)
        return rc;
    do
        rc = ftruncate(fd, (off_t)len);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

int fold_io_fallocate(int fd, int mode, uint64_t off, uint64_t len)
{
    int rc = refused(FOLD_IO_FALLOCATE, fd, NULL);
    if (rc < 0)
        return rc;
    do
        rc = fallocate(fd, mode, (off_t)off, (off_t)len);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

int fold_io_unlink(int dirfd, const char *name)
{
    int rc = refused(FOLD_IO_UNLINK, dirfd, name);
    if (rc < 0)
        return rc;
    return unlinkat(dirfd, name, 0) < 0 ? -errno : 0;
}

int fold_io_rename(int dirfd, const char *from, const char *to)
{
    int rc = refused(FOLD_IO_RENAME, dirfd, from);
    if (rc < 0)
        return rc;
    return renameat(dirfd, from, dirfd, to) < 0 ? -errno : 0;
}

int fold_io_mkdir(int dirfd, const char *name, mode_t mode)
{
    int rc = refused(FOLD_IO_MKDIR, dirfd, name);
    if (rc < 0)
        return rc;
    return mkdirat(dirfd, name, mode) < 0 ? -errno : 0;
}

int fold_io_rmdir(int dirfd, const char *name)
{
    int rc = refused(FOLD_IO_UNLINK, dirfd, name);
    if (rc < 0)
        return rc;
    return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int fold_io_exchange(int dirfd, const char *one, const char *other)
{
    int rc = refused(FOLD_IO_EXCHANGE, dirfd, one);
    if (rc < 0)
        return rc;
    return renameat2(dirfd, one, dirfd, other, RENAME_EXCHANGE) < 0 ? -errno : 0;
}

int fold_io_link(int dirfd, const char *name, int todirfd, const char *to)
{
    int rc = refused(FOLD_IO_LINK, todirfd, to);
    if (rc < 0)
        return rc;
    return linkat(dirfd, name, todirfd, to, 0) < 0 ? -errno : 0;
}

int fold_io_fstat(int fd, struct stat *st)
{
    int rc = refused(FOLD_IO_READ, fd, NULL);
    if (rc < 0)
        return rc;
    return fstat(fd, st) < 0 ? -errno : 0;
}

int fold_io_statvfs(int fd, struct statvfs *st)
{
    int rc = refused(FOLD_IO_READ, fd, NULL);
    if (rc < 0)
        return rc;
    return fstatvfs(fd, st) < 0 ? -errno : 0;
}

int fold_io_space(int fd, uint64_t *bytes)
{
    struct statvfs st;
    int rc = fold_io_statvfs(fd, &st);
    if (rc < 0)
        return rc;
    uint64_t blocks = st.f_bavail;
    if (geteuid() == 0) {
        /* ext4 counts blocks as free that it keeps for itself: 2 % or 4096, whichever is less. */
        uint64_t kept = FOLD_MIN((uint64_t)st.f_blocks / 50 + 1, (uint64_t)4096);
        blocks = FOLD_MAX(blocks, st.f_bfree > kept ? st.f_bfree - kept : 0);
    }
    *bytes = blocks * st.f_frsize;
    return 0;
}

int fold_io_map(int fd, size_t len, void **out)
{
    int rc = refused(FOLD_IO_MAP, fd, NULL);
    if (rc < 0)
        return rc;
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    *out = map;
    return 0;
}

void fold_io_unmap(void *map, size_t len)
{
    if (map != NULL)
        (void)munmap(map, len);
}

int fold_io_list(int dirfd, fold_io_name_fn fn, void *arg)
{
    int rc = refused(FOLD_IO_LIST, dirfd, NULL);
    if (rc < 0)
        return rc;
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        rc = -errno;
        (void)close(fd);
        return rc;
    }
    while (rc == 0) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            rc = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = fn(arg, entry->d_name);
        rc = FOLD_MIN(rc, 0);
    }
    (void)closedir(dir);
    return rc;
}

static int remove_entry(void *arg, const char *name)
{
    const int *dirfd = arg;
    int rc = fold_io_unlink(*dirfd, name);
    if (rc != -EISDIR)
        return rc;
    FOLD_AUTO(close) int fd = fold_io_open(*dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    rc = fd < 0 ? fd : fold_io_empty(fd);
    return rc < 0 ? rc : fold_io_rmdir(*dirfd, name);
}

int fold_io_empty(int dirfd)
{
    return fold_io_list(dirfd, remove_entry, &dirfd);
}

int fold_io_slurp(int dirfd, const char *name, size_t max, void **data, size_t *len)
{
    FOLD_AUTO(close) int fd = fold_io_open(dirfd, name, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    struct stat st;
    int rc = fold_io_fstat(fd, &st);
    if (rc < 0)
        return rc;
    if (st.st_size < 0 || (uint64_t)st.st_size > max)
        return -EFBIG;
    void *mem = malloc((size_t)st.st_size + 1);
    if (mem == NULL)
        return -ENOMEM;
    rc = fold_io_pread(fd, mem, (size_t)st.st_size, 0);
    if (rc < 0) {
        free(mem);
        return rc;
    }
    *data = mem;
    *len = (size_t)st.st_size;
    return 0;
}

int fold_io_copy(int dirfd, const char *name, int todirfd, const char *to)
{
    FOLD_AUTO(free) void *data = NULL;
    size_t len = 0;
    int rc = fold_io_slurp(dirfd, name, COPY_MAX, &data, &len);
    if (rc < 0)
        return rc;
    FOLD_AUTO(close) int fd = fold_io_open(todirfd, to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    return fd < 0 ? fd : fold_io_pwrite(fd, data, len, 0);
}

/* Creates `name` with the content and makes it durable. */
static int write_new(int dirfd, const char *name, const void *data, size_t len, mode_t mode)
{
    FOLD_AUTO(close) int fd = fold_io_open(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (fd < 0)
        return fd;
    int rc = fold_io_pwrite(fd, data, len, 0);
    return rc < 0 ? rc : fold_io_fsync(fd);
}

int fold_io_replace(int dirfd, const char *name, const void *data, size_t len, mode_t mode)
{
    char temp[NAME_MAX + 1];
    int n = snprintf(temp, sizeof temp, "%s.new", name);
    if (n < 0 || (size_t)n >= sizeof temp)
        return -ENAMETOOLONG;
    int rc = write_new(dirfd, temp, data, len, mode);
    if (rc == 0)
        rc = fold_io_rename(dirfd, temp, name);
    if (rc < 0) {
        (void)unlinkat(dirfd, temp, 0);
        return rc;
    }
    return fold_io_fsync(dirfd);
}
