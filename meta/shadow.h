/* SPDX-License-Identifier: MIT */
/*
 * A private copy of a directory of the store for read-only use: files that never change as symbolic
 * links, the rest copied, in a temporary directory outside the store. What the journal holds can
 * be put into it without changing the store.
 *
 * Programs that clean up temporary directories take old files away, whoever needs them. So the
 * directory is there only while something is opened from it; what is needed later is held open.
 */
#ifndef FOLD_META_SHADOW_H
#define FOLD_META_SHADOW_H

#include "meta/base/attr.h"

struct fold_shadow;

enum fold_shadow_how { FOLD_SHADOW_SKIP, FOLD_SHADOW_LINK, FOLD_SHADOW_COPY };

/* What to do with file `name` of the directory. */
typedef enum fold_shadow_how (*fold_shadow_fn)(void *arg, const char *name);

/*
 * Makes the copy of directory `name` below `dirfd` (kept as a duplicate) in $TMPDIR or /tmp; `fn`
 * is called for each file in it. -errno.
 */
int fold_shadow_create(int dirfd, const char *name, fold_shadow_fn fn, void *arg,
                       struct fold_shadow **out) FOLD_MUST;

/* What a database directory needs: table files linked, the rest copied as far as it matters. */
enum fold_shadow_how fold_shadow_database(void *arg, const char *name);

/* Path of the copy; owned by the shadow. Not after fold_shadow_vanish. */
const char *fold_shadow_path(const struct fold_shadow *s);

/* Takes the directory away. What was opened from it stays usable, and so does fold_shadow_open.
 * NULL is fine. */
void fold_shadow_vanish(struct fold_shadow *s);

/* Opens file `name` for reading, as it is in the copy. The descriptor or -errno. Thread-safe. */
int fold_shadow_open(const struct fold_shadow *s, const char *name) FOLD_MUST;

/* Deletes the copy. NULL is fine. */
void fold_shadow_destroy(struct fold_shadow *s);

#endif
