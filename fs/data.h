/* SPDX-License-Identifier: MIT */
/*
 * The content of a regular file as seen by requests: what is dirty in memory over what the recipe says.
 * Operations here are in-memory and O(1) or O(log n); the catalog follows when the inode is flushed (fs/flush.h).
 */
#ifndef FOLD_FS_DATA_H
#define FOLD_FS_DATA_H

#include "fs/itable.h"
#include "fs/slicemap.h"
#include "meta/base/lock.h"

#include <pthread.h>

struct fold_session;

struct fold_data {
    struct fold_lock flush; /* rank FLUSH: one flush, truncate or range operation at a time */

    struct fold_rwlock map;  /* rank INODE; guards the members below and the inode's recipe pages in the catalog */
    struct fold_slices dirty;    /* newest bytes */
    struct fold_slices flushing; /* bytes being stored; older than dirty, newer than the recipe */
    uint64_t hidden_from;        /* recipe bytes from here on are cut off but not yet dropped; UINT64_MAX = none */
    struct fold_buf *arena;      /* small writes are copied here */

    atomic_int error;          /* first write-back error not yet reported by fsync or close; negative code */
    atomic_uint error_seq;     /* rises with each error, so that every handle reports it once */
    uint64_t dirty_since_ms;   /* guarded by the flusher's queue */
    bool queued;               /* guarded by the flusher's queue */
};

/* The data object of a regular file, made on first use. -ENOMEM. */
int fold_data_get(struct fold_inode *inode, struct fold_data **out) FOLD_MUST;
void fold_data_destroy(struct fold_session *s, struct fold_data *d);

/*
 * Sets the size (shrinks or extends): takes flush lock, map and inode lock; updates mtime and ctime; drops set-id bits if
 * `kill_priv`. -EFBIG. O(1) whatever the size.
 */
int fold_data_truncate(struct fold_session *s, struct fold_inode *inode, uint64_t size, bool kill_priv) FOLD_MUST;

/* True if the inode has content or attributes that the catalog does not have yet. */
bool fold_data_dirty(struct fold_inode *inode);

/* Bytes for st_blocks: mapped plus dirty bytes not yet stored. Inode lock NOT held. */
uint64_t fold_data_mapped(struct fold_inode *inode);

#endif
