/* SPDX-License-Identifier: MIT */
/*
 * SEEK_DATA and SEEK_HOLE.
 */
#ifndef FOLD_FS_SEEK_H
#define FOLD_FS_SEEK_H

#include "fs/itable.h"

struct fold_long;
struct fold_session;

/* How far it is; zeros at first. */
struct fold_seek_state {
    uint64_t at;        /* nothing of what is looked for lies before */
    uint64_t ask, stop; /* what the kernel was asked to write back, [ask, stop) */
};

/* What fold_seek returns where the kernel has to be asked first, and when its time is up. */
#define FOLD_SEEK_ASK  1
#define FOLD_SEEK_MORE 2

/*
 * The first data byte (`data`) or hole byte of an open regular file at or after `off`; the end of
 * the file counts as a hole. Bytes that programs left in a shared mapping are data: FOLD_SEEK_ASK
 * if some may lie in what `st` says to ask for. Then the kernel has to write that range back
 * (fs/callback.h) before the caller tries again with the same state. With no lock of rank FLUSH or
 * later held. -ENXIO if there is none or `off` is not inside the file.
 */
int fold_seek(struct fold_session *s, struct fold_inode *inode, uint64_t off, bool data,
              const struct fold_long *work, struct fold_seek_state *st, uint64_t *out) FOLD_MUST;

/* The answer that is true whatever the kernel has: everything is data. -ENXIO. */
int fold_seek_all_data(struct fold_inode *inode, uint64_t off, bool data, uint64_t *out) FOLD_MUST;

#endif
