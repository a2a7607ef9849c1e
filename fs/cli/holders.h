/* SPDX-License-Identifier: MIT */
/*
 * Who keeps a filesystem alive that is not mounted here any more: another mount, a mount namespace
 * with a copy of it, or a process with its root, its working directory, its program, an open file
 * or a mapping there. Asking never touches the filesystem itself.
 */
#ifndef FOLD_FS_CLI_HOLDERS_H
#define FOLD_FS_CLI_HOLDERS_H

#include "meta/base/attr.h"

#include <sys/types.h>

struct fold_holder {
    pid_t pid;       /* 0: no process, but another mount of this namespace */
    char name[32];   /* of the program */
    const char *how; /* static storage: "its mount namespace", ... */
    char *point;     /* the other mount, or NULL */
};

/*
 * Looks for one holder of the filesystem `dev` other than ourselves. -ENOENT if there is none to be
 * seen: without being root only one's own processes can be. No other threads may exist.
 */
int fold_holders_find(dev_t dev, struct fold_holder *out) FOLD_MUST;

/* Writes who it is and how it holds the mount into `text`, as a part of a sentence. */
void fold_holder_describe(const struct fold_holder *h, char *text, size_t size);

void fold_holder_free(struct fold_holder *h);

#endif
