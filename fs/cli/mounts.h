/* SPDX-License-Identifier: MIT */
/*
 * The foldfs mounts of this mount namespace, as /proc/self/mountinfo lists them. Asking never
 * touches the mounts themselves, so that a dead or stuck daemon cannot hold the caller up.
 */
#ifndef FOLD_FS_CLI_MOUNTS_H
#define FOLD_FS_CLI_MOUNTS_H

#include "meta/base/attr.h"

#include <stdbool.h>
#include <sys/types.h>

/* One mount of foldfs. Zero-initialise; free with fold_mount_free. */
struct fold_mount {
    char *point; /* absolute path */
    char *store; /* absolute path of the store, as the daemon gave it */
    dev_t dev;   /* of the filesystem; the same in every mount namespace */
    uid_t owner; /* who mounted it, and as whom the daemon runs */
    bool read_only;
};

void fold_mount_free(struct fold_mount *m);

/*
 * The topmost foldfs mount exactly at `path` (absolute or relative; symbolic links are followed).
 * -ENOENT if there is none, -errno.
 */
int fold_mounts_at(const char *path, struct fold_mount *out) FOLD_MUST;

/* A foldfs mount of the store `store` (absolute, resolved). -ENOENT if there is none, -errno. */
int fold_mounts_of(const char *store, struct fold_mount *out) FOLD_MUST;

/* Where the filesystem `dev`, or a part of it, is mounted according to the mountinfo file `path`,
 * relative to `dirfd`; malloc'd in *point. -ENOENT if nowhere, -errno. */
int fold_mounts_place(int dirfd, const char *path, dev_t dev, char **point) FOLD_MUST;

/*
 * `path` made absolute without touching its last component, so that a mount point with a dead
 * daemon has a name too. malloc'd in *out. -errno.
 */
int fold_path_absolute(const char *path, char **out) FOLD_MUST;

/* True if `inner` is `outer` or lies below it; both absolute and resolved. */
bool fold_path_within(const char *inner, const char *outer);

/* Undoes the octal escapes of mountinfo ("\040" for a space) in place. */
void fold_mounts_unescape(char *text);

#endif
