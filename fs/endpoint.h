/* SPDX-License-Identifier: MIT */
/*
 * Where a daemon listens for control connections, and how a client finds it: by the store, as the
 * socket STORE/run/control, or by the mount, as an abstract socket that carries the mount's device
 * number in its name.
 *
 * The second way needs no path, so it goes on working when the store was renamed, and it leaves
 * nothing behind. Its name is
 *
 *     foldfs/MAJOR:MINOR/RANDOM
 *
 * The random part keeps others from taking the name first. Anybody may listen on a name that looks
 * like one, so a client believes only a peer that runs as the user who mounted.
 */
#ifndef FOLD_FS_ENDPOINT_H
#define FOLD_FS_ENDPOINT_H

#include "meta/base/attr.h"

#include <stdbool.h>
#include <sys/types.h>

/* A listening socket, mode 0600, in the directory `run_fd` of a store. Replaces what a dead daemon
 * left. -EADDRINUSE if another daemon answers there; -errno. */
int fold_endpoint_listen_store(int run_fd) FOLD_MUST;

/* Takes the name of that socket away. */
void fold_endpoint_unlink_store(int run_fd);

/* A listening socket for the mount with device number `dev`. -errno. */
int fold_endpoint_listen_mount(dev_t dev) FOLD_MUST;

/* Connects to the daemon of the store `storefd`. Returns the socket; -ECONNREFUSED or -ENOENT if
 * there is none; -errno. */
int fold_endpoint_connect_store(int storefd) FOLD_MUST;

/* Connects to the daemon of the mount `dev`, which `owner` mounted. Returns the socket; -ENOENT if
 * there is none in this network namespace, -EAGAIN if it is too busy to accept; -errno. */
int fold_endpoint_connect_mount(dev_t dev, uid_t owner) FOLD_MUST;

/* Whether the peer of an accepted connection is root or runs as we do. */
bool fold_endpoint_admits(int fd);

/* The process at the other end of a connection, as a descriptor (pidfd_open) in *pidfd. *pid is 0
 * if it is not visible in our process namespace, *pidfd -1 where the kernel cannot tell. */
void fold_endpoint_peer(int fd, pid_t *pid, int *pidfd);

#endif
