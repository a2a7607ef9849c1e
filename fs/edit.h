/* SPDX-License-Identifier: MIT */
/*
 * One edit of a file's recipe: pages, size, times and totals of one inode, committed in one
 * transaction. Used under the inode's flush lock and its map lock held exclusively.
 */
#ifndef FOLD_FS_EDIT_H
#define FOLD_FS_EDIT_H

#include "fs/data.h"
#include "meta/recipe.h"

struct fold_session;

/* Whole-page ranges one edit can drop; further ones are edited page by page. */
#define FOLD_EDIT_DROPS 4

struct fold_edit {
    struct fold_session *session;
    struct fold_inode *inode;
    struct fold_txn *txn;
    struct fold_edit_page *pages; /* touched, in their order */
    size_t count, cap;
    uint64_t drops[FOLD_EDIT_DROPS]
                  [2]; /* first and last page: empty by now, whatever the catalog still has */
    size_t drop_count;
    uint64_t released; /* bytes that were mapped before and may be garbage now */
    int64_t mapped;    /* change */
    bool uncounted;    /* `mapped` is at least that, but may be more */
    int rc;            /* first error; later calls do nothing */
};

/* Begins; a pending cut-off of the recipe (hidden_from) is carried out first. */
void fold_edit_begin(struct fold_edit *c, struct fold_session *s, struct fold_inode *inode);

/* Removes [off, off+len) from the recipe. */
void fold_edit_punch(struct fold_edit *c, uint64_t off, uint64_t len);

/* Lets `e` (any length) stand in its range. */
void fold_edit_extent(struct fold_edit *c, const struct fold_extent *e);

/*
 * Stores pages and inode and commits. `disk_size` is the size the catalog may state now. Returns
 * the first error of any step, having changed nothing then. An inode that became a ghost meanwhile:
 * 0, and nothing is stored.
 */
int fold_edit_end(struct fold_edit *c, uint64_t disk_size) FOLD_MUST;

#endif
