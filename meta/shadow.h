/* SPDX-License-Identifier: MIT */
/*
 * A private copy of the catalog database for read-only mounts: table files as symbolic links, the
 * rest copied, in a temporary directory outside the store. The journal can be replayed into it
 * without changing the store.
 */
#ifndef FOLD_META_SHADOW_H
#define FOLD_META_SHADOW_H

#include "meta/base/attr.h"

struct fold_shadow;

/* Makes the copy of directory `name` below `dirfd` (kept as a duplicate) in $TMPDIR or /tmp. */
int fold_shadow_create(int dirfd, const char *name, struct fold_shadow **out) FOLD_MUST;

/* Path of the copy; owned by the shadow. */
const char *fold_shadow_path(const struct fold_shadow *s);

/* Deletes the copy. NULL is fine. */
void fold_shadow_destroy(struct fold_shadow *s);

#endif
