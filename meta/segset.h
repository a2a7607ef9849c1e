/* SPDX-License-Identifier: MIT */
/*
 * What is known of every segment, by number: identity, how far it may be read, its counts. Lookups
 * take no lock; a segment once added stays until the set is destroyed (its state may become GONE).
 */
#ifndef FOLD_META_SEGSET_H
#define FOLD_META_SEGSET_H

#include "meta/segfmt.h"

#include <stdatomic.h>

struct fold_gaps;
struct fold_segset;

enum fold_seg_state {
    FOLD_SEG_UNKNOWN = 0,
    FOLD_SEG_OPEN,   /* takes records, or waits to be sealed */
    FOLD_SEG_SEALED, /* has a valid footer; nothing is added any more */
    FOLD_SEG_GONE    /* its file was removed */
};

struct fold_seg {
    struct fold_seg_ident ident; /* fixed before the state leaves UNKNOWN */
    _Atomic uint8_t state;
    _Atomic bool
        condemned; /* a collection is about to remove it: lookups must not find its records */
    _Atomic uint32_t data_end;  /* records below this offset may be read */
    _Atomic uint32_t whole_end; /* records below this offset were found whole or written by us */
    _Atomic uint32_t file_bytes;
    _Atomic uint32_t count;
    _Atomic uint64_t raw_bytes;
    _Atomic uint64_t stored_bytes;
    /* What of the above is gone again, in gaps (meta/gaps.h). */
    _Atomic uint32_t gap_bytes;
    _Atomic uint32_t gap_freed; /* blocks that the host has back */
    _Atomic uint32_t gap_records;
    _Atomic uint64_t gap_raw;
    struct fold_gaps *_Atomic doomed; /* while a collection takes records away: lookups must not
                                         find those in there */
};

/* -ENOMEM. */
int fold_segset_create(struct fold_segset **out) FOLD_MUST;
void fold_segset_destroy(struct fold_segset *set);

/* The segment, or NULL if it was never added. Any thread. */
struct fold_seg *fold_segset_get(const struct fold_segset *set, uint32_t seg);

/* Adds an open segment whose data ends at `data_end`, all of it whole. NULL without memory.
 * `id->seg` must be new. */
struct fold_seg *fold_segset_add(struct fold_segset *set, const struct fold_seg_ident *id,
                                 uint32_t data_end);

/* Adds a sealed segment, or makes an open one sealed. -ENOMEM. */
int fold_segset_seal(struct fold_segset *set, const struct fold_seg_summary *sum) FOLD_MUST;

/* Takes over what a list of gaps says; NULL: there is none. */
void fold_segset_gaps(struct fold_seg *seg, const struct fold_gaps *g);

/* Bytes the segment occupies on the host, and of it records that are still there. */
uint64_t fold_seg_occupied(const struct fold_seg *seg);
uint64_t fold_seg_stored(const struct fold_seg *seg);

/* What the index keeps of a sealed segment. */
void fold_seg_summarise(const struct fold_seg *seg, struct fold_seg_summary *out);

/* Reserves the next unused number; 0 when there is none left. note: numbers up to `seg` are used.
 */
uint32_t fold_segset_reserve(struct fold_segset *set);
void fold_segset_note(struct fold_segset *set, uint32_t seg);

/* The highest number in use; 0 if there is no segment. */
uint32_t fold_segset_last(const struct fold_segset *set);

/* Sums over all segments not gone. */
struct fold_segset_totals {
    uint64_t chunks;
    uint64_t raw_bytes;
    uint64_t stored_bytes;
    uint64_t file_bytes;
    uint64_t occupied_bytes; /* of those the host holds */
    uint64_t stamp;          /* a hash of which segments there are and how many records each has */
    uint32_t segments;
    uint32_t open;
};
void fold_segset_totals(const struct fold_segset *set, struct fold_segset_totals *out);

#endif
