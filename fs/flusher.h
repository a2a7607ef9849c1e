/* SPDX-License-Identifier: MIT */
/*
 * When dirty data is flushed without being asked for: soon for an inode with much of it or under
 * memory pressure, and for everything within the commit interval, made durable. Knows nothing of
 * how a flush works (fs/flush.h).
 */
#ifndef FOLD_FS_FLUSHER_H
#define FOLD_FS_FLUSHER_H

#include "fs/itable.h"

struct fold_flusher;
struct fold_session;

int fold_flusher_create(struct fold_session *s, unsigned commit_seconds,
                        struct fold_flusher **out) FOLD_MUST;

/* Stops the timer thread; the rest goes on working. NULL and twice are fine. */
void fold_flusher_stop(struct fold_flusher *f);

/* Stops, and drops what is queued (flush everything first). */
void fold_flusher_destroy(struct fold_flusher *f);

/* The inode has `bytes` of dirty data now: it will be flushed in time. No inode lock may be held.
 */
void fold_flusher_note(struct fold_flusher *f, struct fold_inode *inode, uint64_t bytes);

/* Takes the references of all queued inodes out: *list is malloc'd, the caller frees it and puts
 * the inodes. */
size_t fold_flusher_take(struct fold_flusher *f, struct fold_inode ***list);

#endif
