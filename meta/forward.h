/* SPDX-License-Identifier: MIT */
/*
 * Forwarding: where a record that was healed or moved lies now. One table per segment that records
 * left, kept in memory and in a file NNNNNNNN.fwd of segments/, replaced atomically. Resolving
 * costs one load for segments without a table. Thread-safe; changes are serialised inside.
 */
#ifndef FOLD_META_FORWARD_H
#define FOLD_META_FORWARD_H

#include "meta/types.h"

struct fold_forward;

/* The record at offset `off` of the table's segment is now at `to`. */
struct fold_forward_entry {
    uint32_t off;
    struct fold_loc to;
};

/* Loads all tables below `dirfd` (segments/; borrowed). Damaged ones are logged and left out.
 * -errno. */
int fold_forward_open(int dirfd, struct fold_forward **out) FOLD_MUST;
void fold_forward_close(struct fold_forward *f);

/* Longest way that is followed: only forged tables lead further, or round and round. */
#define FOLD_FORWARD_HOPS 64u

/* Where the record at `loc` is now; `loc` itself if it never moved. */
struct fold_loc fold_forward_resolve(struct fold_forward *f, struct fold_loc loc);

/*
 * Adds entries to the table of `seg` (an offset already there is overwritten), durably, then makes
 * them seen. The new places must be on stable storage before. After a failure the entries are seen
 * if the next opening might see them, too (they are in the file, but it may not be durable): the
 * old and the new places must both stay. -ENOMEM, -errno.
 */
int fold_forward_add(struct fold_forward *f, uint32_t seg, const struct fold_forward_entry *entries,
                     size_t n) FOLD_MUST;

/* Forgets the table of a segment that nothing names any more, file included. */
int fold_forward_retire(struct fold_forward *f, uint32_t seg) FOLD_MUST;

/* One step of the way: false if the record at *loc never moved, else *loc is where it moved to.
 * Take at most FOLD_FORWARD_HOPS. */
bool fold_forward_step(struct fold_forward *f, struct fold_loc *loc);

/* Numbers of the segments that have tables: malloc'd, the caller frees it. -ENOMEM. */
int fold_forward_list(struct fold_forward *f, uint32_t **segs, size_t *count) FOLD_MUST;

/* True if the segment has a table. */
bool fold_forward_has(struct fold_forward *f, uint32_t seg);

/* Number of tables and of entries in them. */
void fold_forward_count(struct fold_forward *f, size_t *tables, size_t *entries);

#endif
