/* SPDX-License-Identifier: MIT */
/*
 * Durability of the blob area: the segments whose bytes may not be on stable storage yet, and the
 * one operation that puts them there for all callers at once. Thread-safe.
 */
#ifndef FOLD_META_BARRIER_H
#define FOLD_META_BARRIER_H

#include "meta/segment.h"
#include "meta/store.h"

struct fold_barrier;

/* `dirfd` of segments/, borrowed. The directory counts as not durable yet. -ENOMEM. */
int fold_barrier_create(int dirfd, struct fold_barrier **out) FOLD_MUST;
void fold_barrier_destroy(struct fold_barrier *b);

/* Watches a segment from now on (takes a reference), whose directory entry is new if `fresh`.
 * -ENOMEM. */
int fold_barrier_add(struct fold_barrier *b, struct fold_segment *s, bool fresh) FOLD_MUST;

/* Stops watching a segment that is sealed. */
void fold_barrier_remove(struct fold_barrier *b, struct fold_segment *s);

/*
 * Everything appended before the call is durable on return. Calls share the work. A failure is for
 * good: all later calls return it.
 */
int fold_barrier_sync(struct fold_barrier *b) FOLD_MUST;

/*
 * For an fsync with little data: writes what is appended but not safe as pieces of a redo record
 * (meta/redo.h) to `buf`, and how far each segment is then covered to `marks`. -E2BIG if it does
 * not fit in `cap` or a sync is needed for other reasons. fold_barrier_logged: the record is on
 * stable storage.
 */
int fold_barrier_unlogged(struct fold_barrier *b, void *buf, size_t cap, size_t *len,
                          struct fold_dep marks[FOLD_STORE_MAX_DEPS], size_t *count) FOLD_MUST;
void fold_barrier_logged(struct fold_barrier *b, const struct fold_dep *marks, size_t count);

/* Only one segment and the directory: what sealing needs. */
int fold_barrier_sync_one(struct fold_barrier *b, struct fold_segment *s) FOLD_MUST;

/* The error after which nothing new can become durable; 0 if all is well. */
int fold_barrier_error(struct fold_barrier *b);

/* As fold_store_deps. */
int fold_barrier_deps(struct fold_barrier *b, struct fold_dep deps[FOLD_STORE_MAX_DEPS],
                      size_t *count) FOLD_MUST;

#endif
