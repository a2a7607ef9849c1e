/* SPDX-License-Identifier: MIT */
/*
 * The files CURRENT and MANIFEST of a database directory after a power cut. The database renames
 * CURRENT before the names in the directory are on stable storage, so it may name a MANIFEST that
 * has no name; and the last record of the MANIFEST may be torn.
 */
#ifndef FOLD_META_MANIFEST_H
#define FOLD_META_MANIFEST_H

#include "meta/base/attr.h"

/*
 * Makes CURRENT of database directory `name` below `dirfd` (-1: `name` is a path) name the newest
 * MANIFEST with content if what it names is not there, and cuts a torn last record off the one in
 * use, durably. Nothing is done to a directory that is missing, is good or has no MANIFEST. To be
 * called before the database is opened for writing. 0 or -errno.
 */
int fold_manifest_mend(int dirfd, const char *name) FOLD_MUST;

/* 1 if fold_manifest_mend would change something, else 0 or -errno. Changes nothing. */
int fold_manifest_look(int dirfd, const char *name) FOLD_MUST;

#endif
