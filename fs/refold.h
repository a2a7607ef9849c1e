/* SPDX-License-Identifier: MIT */
/*
 * Refolding: random overwrites leave a file in pieces that no sequentially written copy has. Places
 * where that happened are noted, and when the file has been quiet for a while the chunks around
 * them are cut again as if the content had been written at once, up to where the new cuts meet the
 * old ones.
 */
#ifndef FOLD_FS_REFOLD_H
#define FOLD_FS_REFOLD_H

#include "fs/data.h"

struct fold_refolder;
struct fold_session;

int fold_refolder_create(struct fold_session *s, struct fold_refolder **out) FOLD_MUST;

/* Stops the thread; places are still noted. NULL and twice are fine. */
void fold_refolder_stop(struct fold_refolder *r);

/* Stops, and forgets what is noted. */
void fold_refolder_destroy(struct fold_refolder *r);

/* Notes that the chunks around [lo, hi] of the file may not be what its content alone would give.
 * Flush lock held. */
void fold_refold_note(struct fold_refolder *r, struct fold_inode *inode, uint64_t lo, uint64_t hi);

/* The file's stored bytes are to be counted, some time. Flush lock held. NULL is fine. */
void fold_refold_recount(struct fold_refolder *r, struct fold_inode *inode);

/* A file was opened: if an earlier mount left it in pieces, all of it is noted; if uncounted, that.
 * Its data object exists; no lock held. */
void fold_refold_resume(struct fold_refolder *r, struct fold_inode *inode);

/* The place `at` is settled after all: a writer went on there. Flush lock held. */
void fold_refold_unnote(struct fold_inode *inode, uint64_t at);

/* Asked now and then, by whoever may want it to end early. */
struct fold_refold_stop {
    bool (*cancelled)(void *arg);
    void *arg;
};

/*
 * Cuts again now what is noted, for one inode or for all. No lock may be held. Work in proportion
 * to the extents around what is noted, whatever the size of the holes; ends within a window of
 * refold_window bytes when `stop` (may be NULL) says so, and what is left stays noted. The first
 * error is returned.
 */
int fold_refold_inode(struct fold_session *s, struct fold_inode *inode,
                      const struct fold_refold_stop *stop) FOLD_MUST;
int fold_refolder_run(struct fold_refolder *r, const struct fold_refold_stop *stop) FOLD_MUST;

/* File bytes cut again since the mount. */
uint64_t fold_refolder_bytes(const struct fold_refolder *r);

#endif
