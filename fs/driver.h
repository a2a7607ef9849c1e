/* SPDX-License-Identifier: MIT */
/*
 * A mount from beginning to end: opens the volume, mounts, serves requests until the kernel ends
 * the session, makes everything durable and closes.
 */
#ifndef FOLD_FS_DRIVER_H
#define FOLD_FS_DRIVER_H

#include "meta/base/attr.h"

struct fold_mount_options;
struct fuse_lowlevel_ops;

/*
 * Blocks until unmounted. Once the kernel has completed its handshake one zero byte is written to
 * `ready_fd` (if >= 0), which is then closed. Returns 0 after a clean unmount; a negative code
 * otherwise (nothing written to ready_fd if it never became ready). Call once per process, before
 * other threads exist.
 */
int fold_driver_run(const char *store, const char *mountpoint, const struct fold_mount_options *opt,
                    int ready_fd) FOLD_MUST;

/* All handlers of requests, INIT included, for sessions that are served without a mount. */
void fold_driver_ops(struct fuse_lowlevel_ops *ops);

#endif
