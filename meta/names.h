/* SPDX-License-Identifier: MIT */
/*
 * From inode numbers to paths, for reports. The catalog does not keep the way back, so this
 * searches: slow, but right.
 */
#ifndef FOLD_META_NAMES_H
#define FOLD_META_NAMES_H

#include "meta/catalog.h"

/*
 * The path of `ino`, known to be named by directory `dir`, from the root of the volume ("/a/b");
 * malloc'd. -ENOENT if there is none, -ELOOP, -ENOMEM, -EIO.
 */
int fold_names_path(struct fold_catalog *c, fold_ino dir, fold_ino ino, char **out) FOLD_MUST;

/*
 * A path for each of `n` inodes (rising numbers) in one pass over all directories: paths[i] is
 * malloc'd, or NULL if the inode has no name. -ENOMEM, -EIO.
 */
int fold_names_find(struct fold_catalog *c, const fold_ino *inos, size_t n, char **paths) FOLD_MUST;

#endif
