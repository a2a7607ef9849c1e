/* SPDX-License-Identifier: MIT */
/*
 * Addresses in a store go through /proc/self/fd, because the path of a store may be longer than
 * sun_path. Those of mounts are looked up in /proc/net/unix, which lists the abstract sockets of
 * this network namespace.
 */
#include "fs/endpoint.h"

#include "meta/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#define BACKLOG 16

/* Not in the headers of the oldest system we build on. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static const char run_name[] = "run";
static const char socket_name[] = "control";

static int set_path(int run_fd, struct sockaddr_un *address)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    int n = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", run_fd,
                     socket_name);
    return n > 0 && (size_t)n < sizeof address->sun_path ? 0 : -ENAMETOOLONG;
}

static int connect_run(int run_fd)
{
    struct sockaddr_un address;
    int rc = set_path(run_fd, &address);
    if (rc != 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

int fold_endpoint_connect_store(int storefd)
{
    FOLD_AUTO(close) int run_fd = fold_io_open(storefd, run_name, O_PATH | O_DIRECTORY, 0);
    if (run_fd < 0)
        return run_fd;
    return connect_run(run_fd);
}

int fold_endpoint_listen_store(int run_fd)
{
    struct sockaddr_un address;
    int other = connect_run(run_fd);
    if (other >= 0) {
        close(other);
        return -EADDRINUSE;
    }
    int rc = fold_io_unlink(run_fd, socket_name);
    if (rc != 0 && rc != -ENOENT)
        return rc;
    rc = set_path(run_fd, &address);
    if (rc != 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* The mode set before bind is the one the socket file is born with. */
    if (fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        fchmodat(run_fd, socket_name, 0600, 0) != 0 || listen(fd, BACKLOG) != 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

void fold_endpoint_unlink_store(int run_fd)
{
    (void)!fold_io_unlink(run_fd, socket_name);
}

/* "foldfs/MAJOR:MINOR/", what all names for this mount begin with. */
static int prefix_of(dev_t dev, char *text, size_t size)
{
    return snprintf(text, size, "foldfs/%u:%u/", major(dev), minor(dev));
}

/* An abstract name begins with a zero byte, and ends where the address does. */
static socklen_t set_name(const char *name, struct sockaddr_un *address)
{
    size_t len = strlen(name);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path + 1, name, len);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
}

int fold_endpoint_listen_mount(dev_t dev)
{
    struct sockaddr_un address;
    uint64_t random[2];
    char name[96];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return -EIO;
    int n = prefix_of(dev, name, sizeof name);
    (void)snprintf(name + n, sizeof name - (size_t)n, "%016" PRIx64 "%016" PRIx64, random[0],
                   random[1]);
    socklen_t len = set_name(name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&address, len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int rc = -errno;
    close(fd);
    return rc;
}

static bool peer_runs_as(int fd, uid_t owner)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == owner;
}

bool fold_endpoint_admits(int fd)
{
    return peer_runs_as(fd, 0) || peer_runs_as(fd, geteuid());
}

/* Connects without waiting: a stranger's socket must not be able to hold us up. */
static int connect_name(const char *name, uid_t owner)
{
    struct sockaddr_un address;
    socklen_t len = set_name(name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = connect(fd, (const struct sockaddr *)&address, len) == 0 ? 0 : -errno;
    if (rc == 0 && !peer_runs_as(fd, owner))
        rc = -ENOENT;
    if (rc == 0 && fcntl(fd, F_SETFL, 0) != 0) /* blocking from here on */
        rc = -errno;
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

/* The name in one line of /proc/net/unix, if it is that of a listening socket for this mount. */
static const char *name_in(char *line, const char *prefix)
{
    char *at = strstr(line, " @");
    if (at == NULL || strncmp(at + 2, prefix, strlen(prefix)) != 0)
        return NULL;
    char *name = at + 2;
    name[strcspn(name, "\n")] = '\0';
    return strlen(name) < sizeof((struct sockaddr_un *)0)->sun_path - 1 ? name : NULL;
}

int fold_endpoint_connect_mount(dev_t dev, uid_t owner)
{
    char prefix[64];
    (void)prefix_of(dev, prefix, sizeof prefix);
    FILE *in = fopen("/proc/net/unix", "re");
    if (in == NULL)
        return errno == ENOENT ? -ENOENT : -errno;
    char *line = NULL;
    size_t size = 0;
    int found = -ENOENT;
    while (found < 0 && getline(&line, &size, in) > 0) {
        const char *name = name_in(line, prefix);
        int rc = name != NULL ? connect_name(name, owner) : -ENOENT;
        if (rc >= 0 || rc == -EAGAIN)
            found = rc;
    }
    free(line);
    (void)fclose(in);
    return found;
}

void fold_endpoint_peer(int fd, pid_t *pid, int *pidfd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    *pid = 0;
    *pidfd = -1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
        *pid = peer.pid;
    len = sizeof *pidfd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, pidfd, &len) == 0)
        return;
    *pidfd = *pid > 0 ? (int)syscall(SYS_pidfd_open, *pid, 0) : -1;
}
