/* SPDX-License-Identifier: MIT */
/*
 * What the host says of itself: how large it is and how full, and its random numbers, which are the
 * program's, so that a history comes out the same again. It copies no ranges.
 */
#include "tests/sim/shared.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int fstatvfs(int fd, struct statvfs *st)
{
    int (*next)(int, struct statvfs *) =
        (int (*)(int, struct statvfs *))dlsym(RTLD_NEXT, "fstatvfs");
    const struct sim_shared *shared = sim_host_shared();
    int ret = next(fd, st);
    if (ret == 0 && shared != NULL && shared->host_blocks != 0) {
        st->f_bsize = st->f_frsize = 4096;
        st->f_blocks = shared->host_blocks;
        st->f_bfree = st->f_bavail = shared->host_free;
    }
    return ret;
}

EXPORT int fstatvfs64(int fd, struct statvfs64 *st)
{
    return fstatvfs(fd, (struct statvfs *)st); /* the same on 64-bit systems */
}

EXPORT ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    ssize_t (*next)(void *, size_t, unsigned) =
        (ssize_t(*)(void *, size_t, unsigned))dlsym(RTLD_NEXT, "getrandom");
    struct sim_shared *shared = sim_host_shared();
    if (shared == NULL)
        return next(buf, len, flags);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < len; i++) {
        shared->random = shared->random * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)buf)[i] = (uint8_t)(shared->random >> 56);
    }
    pthread_mutex_unlock(&lock);
    return (ssize_t)len;
}

EXPORT ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t len, unsigned flags)
{
    if (sim_host_tracked(out)) {
        errno = EXDEV; /* callers copy by reading and writing then, which is logged */
        return -1;
    }
    ssize_t (*next)(int, off_t *, int, off_t *, size_t, unsigned) =
        (ssize_t(*)(int, off_t *, int, off_t *, size_t, unsigned))dlsym(RTLD_NEXT,
                                                                        "copy_file_range");
    return next(in, from, out, to, len, flags);
}

EXPORT int sync_file_range(int fd, off_t off, off_t len, unsigned flags)
{
    int (*next)(int, off_t, off_t, unsigned) =
        (int (*)(int, off_t, off_t, unsigned))dlsym(RTLD_NEXT, "sync_file_range");
    return sim_host_tracked(fd) ? 0 : next(fd, off, len, flags);
}

EXPORT int stat(const char *name, struct stat *st)
{
    int fd = AT_FDCWD;
    name = sim_host_shorter(&fd, name);
    return fstatat(fd, name, st, 0);
}

EXPORT int access(const char *name, int mode)
{
    int fd = AT_FDCWD;
    name = sim_host_shorter(&fd, name);
    return faccessat(fd, name, mode, 0);
}

EXPORT int stat64(const char *name, struct stat64 *st)
{
    return stat(name, (struct stat *)st); /* likewise */
}

EXPORT DIR *opendir(const char *name)
{
    int dirfd = AT_FDCWD;
    name = sim_host_shorter(&dirfd, name);
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0 ? fdopendir(fd) : NULL;
}
