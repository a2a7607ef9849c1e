/* SPDX-License-Identifier: MIT */
/*
 * Gaps: runs of dead records that were punched out of a sealed segment, which gives their blocks
 * back to the host. What lies in a gap reads as zeros and is nobody's any more, whatever the
 * segment's table says. A list of gaps is kept in a file NNNNNNNN.gap of segments/, replaced
 * atomically, on stable storage before anything is punched.
 */
#ifndef FOLD_META_GAPS_H
#define FOLD_META_GAPS_H

#include "meta/segfmt.h"

#include <stdbool.h>

/* Records that start in [from, to) are gone; gaps begin and end where records do. */
struct fold_gap {
    uint32_t from, to;
};

/* malloc'd in one piece; gaps rise and do not touch. */
struct fold_gaps {
    uint64_t raw_bytes; /* of the records that are gone */
    uint32_t records;   /* how many those are */
    uint32_t count;
    struct fold_gap at[];
};

/* Without memory NULL. */
struct fold_gaps *fold_gaps_create(size_t cap);

/* Loads the list of a segment: *out is NULL if it has none, else the caller frees it.
 * -FOLD_E_BAD_SEGMENT if the file is damaged, -ENOMEM, -errno. */
int fold_gaps_load(int dirfd, uint32_t seg, struct fold_gaps **out) FOLD_MUST;

/* Replaces the list of a segment, durably. -errno; nothing has changed then. */
int fold_gaps_save(int dirfd, uint32_t seg, const struct fold_gaps *g) FOLD_MUST;

/* Removes the list of a segment whose file is gone. */
int fold_gaps_remove(int dirfd, uint32_t seg) FOLD_MUST;

/* "0000002a.gap" and back. parse: 0 if the name is not one of a list of gaps. */
void fold_gaps_name(uint32_t seg, char name[FOLD_SEG_NAME_BYTES]);
uint32_t fold_gaps_name_parse(const char *name);

/* True if a record at `off` lies in a gap. NULL: false. */
bool fold_gaps_cover(const struct fold_gaps *g, uint32_t off);

/* Bytes in gaps, and how many of them the host gets back (whole blocks). NULL: 0. */
uint32_t fold_gaps_bytes(const struct fold_gaps *g);
uint32_t fold_gaps_freed(const struct fold_gaps *g);

/* Marks the entries of a segment's table that lie in gaps: fingerprint and raw length become 0. */
void fold_gaps_hide(const struct fold_gaps *g, struct fold_seg_entry *entries, size_t count);

static inline bool fold_seg_entry_gone(const struct fold_seg_entry *e)
{
    return e->raw_len == 0;
}

/* Gives the blocks of all gaps back; punching twice does no harm. -EOPNOTSUPP if the host cannot,
 * -errno. */
int fold_gaps_punch(int fd, const struct fold_gaps *g) FOLD_MUST;

/* True if the host of that segment file can punch. Nothing changes. */
bool fold_gaps_supported(int fd, uint64_t file_bytes);

#endif
