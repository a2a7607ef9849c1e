/* SPDX-License-Identifier: MIT */
/*
 * Replacing a directory of the store as a whole. What is to come is made in a twin beside it
 * (NAME.new), out of second names for its files, while the directory itself stays as it is; then
 * both change places in one step. Wherever that stops, the directory is the whole old or the whole
 * new one after the next call of fold_twin_clean(). The caller holds the store's lock for writing.
 */
#ifndef FOLD_META_TWIN_H
#define FOLD_META_TWIN_H

#include "meta/base/attr.h"

#include <stdbool.h>
#include <stddef.h>

/* Should the twin have file `name` of the directory? The file must be one that never changes. */
typedef bool (*fold_twin_fn)(const char *name);

/* Name of the twin of directory `name`. */
struct fold_twin_name {
    char text[64];
};

/*
 * Makes a twin, new and durable, of directory `name` (at most 50 bytes) with the files that
 * `wanted` names; `count` says how many. Where the host has no hard links they are copied. -ENOENT
 * if there is no such directory, else -errno, and then there may be a part of a twin.
 */
int fold_twin_create(int storefd, const char *name, fold_twin_fn wanted,
                     struct fold_twin_name *twin, size_t *count) FOLD_MUST;

/*
 * Makes the files of the twin durable and puts it in the directory's place; the old directory is
 * removed. Nothing has them open. 0 or -errno; after an error it is the old or the new one.
 */
int fold_twin_swap(int storefd, const char *name) FOLD_MUST;

/*
 * Takes away what an interrupted replacement left, and puts a directory back whose name an
 * interrupted one had taken. To be called before the directory is used. 0 or -errno.
 */
int fold_twin_clean(int storefd, const char *name) FOLD_MUST;

#endif
