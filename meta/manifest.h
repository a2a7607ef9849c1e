/* SPDX-License-Identifier: MIT */
/*
 * The file CURRENT of a database directory. The database renames it before the names in the
 * directory are on stable storage, so a power cut may leave it naming a MANIFEST that has no name.
 */
#ifndef FOLD_META_MANIFEST_H
#define FOLD_META_MANIFEST_H

#include "meta/base/attr.h"

/*
 * Makes CURRENT of database directory `name` below `dirfd` (-1: `name` is a path) name the newest
 * MANIFEST with content if what it names is not there, durably. Nothing is done to a directory that
 * is missing, has a good CURRENT or no MANIFEST. To be called before the database is opened for
 * writing. 0 or -errno.
 */
int fold_manifest_mend(int dirfd, const char *name) FOLD_MUST;

#endif
