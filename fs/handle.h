/* SPDX-License-Identifier: MIT */
/*
 * Open files: what fuse_file_info.fh points to between open and release, and the lists of all open
 * files and directories, so that those the kernel never released (a connection that was cut) are
 * closed with the session.
 */
#ifndef FOLD_FS_HANDLE_H
#define FOLD_FS_HANDLE_H

#include "fs/itable.h"
#include "fs/readahead.h"

#include <stdatomic.h>

struct fold_handles;
struct fold_session;
struct fold_turn;

struct fold_handle {
    struct fold_inode *inode;    /* referenced, counted in opens */
    int flags;                   /* open flags */
    bool direct;                 /* FOPEN_DIRECT_IO */
    atomic_uint error_seen;      /* error_seq of the data already reported through this handle */
    struct fold_readahead ahead; /* of reads through this handle */
    struct fold_handle *prev, *next; /* private to the list */
};

/* Part of an open directory; `close` takes it off its list. */
struct fold_open_dir {
    void (*close)(struct fold_session *s, struct fold_open_dir *d);
    struct fold_open_dir *prev, *next; /* private to the list */
};

/* Puts an open directory on the list, and takes it off. Thread-safe. */
void fold_handles_add_dir(struct fold_handles *all, struct fold_open_dir *d);
void fold_handles_remove_dir(struct fold_handles *all, struct fold_open_dir *d);

int fold_handles_create(struct fold_handles **out) FOLD_MUST;

/* Closes what is still open. NULL is fine. */
void fold_handles_destroy(struct fold_session *s, struct fold_handles *all);

/*
 * A handle on a regular file; the caller's reference on the inode moves to it. With `truncate` the
 * file is emptied first; FOLD_TURN_WAITS if the request `turn` (may be NULL) was left waiting for
 * the flush lock for that (fs/turn.h), and nothing was done. -ESTALE if the inode has left the
 * catalog, -ENOMEM.
 */
int fold_handle_open(struct fold_session *s, struct fold_inode *inode, int flags, bool truncate,
                     bool kill_priv, struct fold_turn *turn, struct fold_handle **out) FOLD_MUST;

/* The result `rc` of storing, or if that is 0 an error met earlier in the background that this
 * handle has not been told. */
int fold_handle_error(struct fold_handle *h, int rc);

void fold_handle_close(struct fold_session *s, struct fold_handle *h);

#endif
