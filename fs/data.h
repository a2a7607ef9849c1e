/* SPDX-License-Identifier: MIT */
/*
 * The content of a regular file as seen by requests: what is dirty in memory over what the recipe
 * says. Operations here are in-memory and O(1) or O(log n); the catalog follows when the inode is
 * flushed (fs/flush.h).
 */
#ifndef FOLD_FS_DATA_H
#define FOLD_FS_DATA_H

#include "fs/itable.h"
#include "fs/slicemap.h"
#include "fs/turn.h"
#include "meta/base/lock.h"

#include <pthread.h>

struct fold_session;

/* Places of the file to be refolded (fs/refold.h); guarded by the flush lock. */
#define FOLD_FRAGS 64u
struct fold_frag {
    uint64_t lo, hi;
};
struct fold_frags {
    struct fold_frag at[FOLD_FRAGS];
    unsigned count;
    bool listed;               /* in the refolder's list */
    _Atomic uint64_t noted_ms; /* monotonic time of the last note */
};

struct fold_data {
    struct fold_lock flush;  /* rank FLUSH: one flush, truncate or range operation at a time; taken
                                through fs/turn.h */
    struct fold_turns turns; /* requests that wait for it */

    struct fold_frags *frags; /* flush lock; NULL until there is one */
    uint64_t stored_end;      /* flush lock: end of the farthest run flushed, which the size in the
                                 catalog may not reach yet */
    uint64_t cuts;            /* flush lock: cut-offs whose bytes were not counted (fs/recount.h) */
    uint64_t settled; /* flush lock: where the last flushed run ended at a cut that more data cannot
                         move */

    struct fold_rwlock
        map; /* rank INODE; guards the members below and the inode's recipe pages in the catalog */
    struct fold_slices dirty;    /* newest bytes */
    struct fold_slices flushing; /* bytes being stored; older than dirty, newer than the recipe */
    uint64_t hidden_ms;          /* monotonic time of the last cut-off */
    uint64_t hidden_from; /* recipe bytes from here on are cut off but not yet dropped; UINT64_MAX =
                             none */
    uint64_t aside_size;  /* of the file, when `flushing` was filled */
    struct fold_buf *arena; /* small writes are copied here */

    struct fold_direct *direct; /* direct writes beside the kernel's page cache (fs/direct.h) */

    unsigned direct_handles, cached_handles; /* open; guarded by the inode lock */
    atomic_bool filled; /* the kernel may have read pages into its cache since the first of the
                           handles that are open was opened */

    atomic_uint mappable;  /* open handles through which a shared mapping may write */
    atomic_int error;      /* the newest write-back error; negative code, 0 if none ever */
    atomic_uint error_seq; /* rises with each error, so that every handle reports each once */
    atomic_bool queued;    /* in the flusher's list */
    atomic_bool streaming; /* a background flush of this inode is queued or running */
};

/* The data object of a regular file, made on first use. -ENOMEM. */
int fold_data_get(struct fold_inode *inode, struct fold_data **out) FOLD_MUST;
void fold_data_destroy(struct fold_session *s, struct fold_data *d);

/*
 * Sets the size (shrinks or extends): takes flush lock, map and inode lock; updates mtime and
 * ctime; drops set-id bits if `kill_priv`. -EFBIG, -ENOMEM. O(1) whatever the size. FOLD_TURN_WAITS
 * if the request `turn` (may be NULL) was left waiting for the flush lock (fs/turn.h).
 */
int fold_data_truncate(struct fold_session *s, struct fold_inode *inode, uint64_t size,
                       bool kill_priv, struct fold_turn *turn) FOLD_MUST;

/* The same for an inode with data, with the flush lock held; fold_flusher_note is left to do. */
int fold_data_truncate_locked(struct fold_inode *inode, uint64_t size, bool kill_priv) FOLD_MUST;

/* A request to write. */
struct fold_write {
    uint64_t off;
    const uint8_t *data;
    uint32_t len;
    struct fold_buf *buf; /* holds the data, and is kept; NULL: the data is copied */
    bool kill_priv;
    bool mapped; /* a page that was stored to through a mapping, written back by the kernel */
    bool direct; /* it passes by the kernel's page cache */
    struct fold_direct *guard; /* for a direct write beside pages in the kernel's cache, or NULL */
};

/* What fold_data_write returns if the write needs a guard; nothing was done. */
#define FOLD_WRITE_GUARD 1

/*
 * Puts bytes into the dirty list. Size and times of the inode follow. *dirty_bytes is what the
 * inode has dirty now, or 0 while a file is rewritten that may still be stored in one commit. On
 * success a guard given is entered (fs/direct.h). -EFBIG, -ENOMEM.
 */
int fold_data_write(struct fold_session *s, struct fold_inode *inode, const struct fold_write *w,
                    uint64_t *dirty_bytes) FOLD_MUST;

/* True if the file had content in the catalog and was cut off at 0, and that is not committed yet:
 * what is written now replaces it. For an inode with data, with its map or flush lock held. */
bool fold_data_rewritten(struct fold_inode *inode);

/* Records a write-back error for all open handles. */
void fold_data_fail(struct fold_data *d, int code);

/* The error this handle has not reported yet (0 if none); `seen` is the handle's own mark. */
int fold_data_error(struct fold_data *d, atomic_uint *seen);

/* Written bytes that are not stored yet, of an inode with data. */
uint64_t fold_data_pending(struct fold_inode *inode);

/* True if the inode has content or attributes that the catalog does not have yet. */
bool fold_data_dirty(struct fold_inode *inode);

/* Drops set-uid, and set-gid where it means execution, as a write by an unprivileged user does.
 * Inode lock held; fold_invalidate_attr is left to do. */
void fold_data_kill_priv_locked(struct fold_inode *inode) FOLD_REQUIRES(inode->lock);

/* Largest size of a file. */
#define FOLD_FILE_MAX INT64_MAX

/*
 * Bytes for st_blocks: mapped plus dirty bytes not yet stored; never none of a file in which a
 * mapping may have stored what the kernel has not written back yet. Inode lock NOT held.
 */
uint64_t fold_data_mapped(struct fold_inode *inode);

#endif
