/* SPDX-License-Identifier: MIT */
/*
 * The regular files at or below given inodes, each once per given inode however many names it has.
 * Belongs to one thread.
 */
#ifndef FOLD_META_FILELIST_H
#define FOLD_META_FILELIST_H

#include "meta/catalog.h"

struct fold_filelist_entry {
    fold_ino ino;
    uint64_t size;
    uint64_t mapped;
    uint32_t row;  /* which of the given inodes it was found from */
    bool repeated; /* found from an earlier one as well */
};

struct fold_filelist {
    struct fold_filelist_entry *files; /* in order of `row` */
    size_t count;
    size_t cap;
};

/*
 * Walks from each of the n inodes `from` (0 is left out). Names that come or go meanwhile may be
 * seen or not. -ENOENT if one of `from` does not exist, -ENOMEM, -ECANCELED when `cancelled` (may
 * be NULL) says so.
 */
int fold_filelist_make(struct fold_catalog *c, const fold_ino *from, size_t n,
                       bool (*cancelled)(void *arg), void *arg,
                       struct fold_filelist *out) FOLD_MUST;
void fold_filelist_fini(struct fold_filelist *l);

#endif
