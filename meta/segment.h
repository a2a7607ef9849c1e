/* SPDX-License-Identifier: MIT */
/*
 * One segment that is not sealed yet: appending records, making them durable, sealing. Appending
 * and sealing need an owner that lets only one thread in at a time; syncing is thread-safe.
 */
#ifndef FOLD_META_SEGMENT_H
#define FOLD_META_SEGMENT_H

#include "meta/record.h"
#include "meta/segset.h"

struct fold_segment;

/* A record to append. */
struct fold_piece {
    struct fold_rec rec; /* `synced` is filled in here */
    const void *payload;
    uint32_t off; /* out: place of the record */
};

/* Most pieces one append takes. */
#define FOLD_SEGMENT_BATCH 128u

/* What a scan found in a segment that was open when the volume was last closed. Owned by the
 * caller; see segscan. */
struct fold_segment_content {
    struct fold_seg_entry *entries;
    uint32_t count;
    uint32_t data_end;
    uint32_t whole_end;
    uint64_t raw_bytes;
    uint64_t stored_bytes;
    uint32_t synced; /* so much was durable once, by what the records say; 0: nothing is known */
};

/*
 * Creates the next segment file below `dirfd` (borrowed) and adds it to the set. The caller makes
 * the directory entry durable. One reference is the caller's. -errno, also -EOVERFLOW when numbers
 * are used up.
 */
int fold_segment_create(int dirfd, struct fold_segset *set, uint8_t fp_width, uint32_t capacity,
                        struct fold_segment **out) FOLD_MUST;

/*
 * Makes a segment of a scanned file: takes over `fd` (also on failure) and content->entries (on
 * success only). Nothing of it counts as durable before the first sync.
 */
int fold_segment_adopt(int fd, struct fold_segset *set, const struct fold_seg_ident *id,
                       const struct fold_segment_content *content,
                       struct fold_segment **out) FOLD_MUST;

/*
 * Wraps a sealed segment of the set, for indexing only, with the entries of its table (as many as
 * the set says; taken over on success). NULL without memory.
 */
struct fold_segment *fold_segment_wrap(struct fold_segset *set, uint32_t seg,
                                       struct fold_seg_entry *entries);

void fold_segment_ref(struct fold_segment *s);
void fold_segment_unref(struct fold_segment *s); /* NULL is fine */

const struct fold_seg *fold_segment_info(const struct fold_segment *s);
const struct fold_seg_entry *fold_segment_entries(const struct fold_segment *s, uint32_t *count);

/*
 * Appends the leading pieces that fit, in one write; *done says how many (0: the segment is full).
 * At most FOLD_SEGMENT_BATCH. On failure nothing was appended and the segment is as before.
 */
int fold_segment_append(struct fold_segment *s, struct fold_piece *pieces, size_t n,
                        size_t *done) FOLD_MUST;

/*
 * Makes all records appended before the call durable, and the table if that was written. If records
 * were not durable yet, a failure is for good: this and all later calls return it, since the host
 * may have dropped the bytes it could not write. Thread-safe.
 */
int fold_segment_sync(struct fold_segment *s) FOLD_MUST;

/* Bytes known to be durable, and the error that makes the rest untrustworthy (0 if none).
 * Thread-safe. */
uint32_t fold_segment_synced(const struct fold_segment *s);
int fold_segment_failed(const struct fold_segment *s);

/*
 * Bytes from the start that are safe from a power cut: synced here, or kept in the journal as well
 * (fold_segment_logged). Thread-safe.
 */
uint32_t fold_segment_safe(const struct fold_segment *s);

/* Reads back bytes appended before. The journal has all bytes below `end` from now on. Thread-safe.
 */
int fold_segment_read(struct fold_segment *s, uint32_t off, void *buf, uint32_t len) FOLD_MUST;
void fold_segment_logged(struct fold_segment *s, uint32_t end);

/* Starts writing what was appended to the disk, without waiting. Thread-safe. */
void fold_segment_push(struct fold_segment *s);

/*
 * Writes the table of what was appended; nothing is appended any more. The sync that follows makes
 * it durable as well: so sealing need not sync once more for it.
 */
int fold_segment_table(struct fold_segment *s) FOLD_MUST;

/*
 * Writes the table, unless that was done, syncs, writes the footer durably and marks the segment
 * sealed in the set. May be tried again after a failure that is not fold_segment_failed.
 */
int fold_segment_seal(struct fold_segment *s) FOLD_MUST;

/* Bytes that an open segment of that capacity sets aside on the host beyond its end. */
static inline uint32_t fold_segment_ahead(uint32_t capacity)
{
    return FOLD_MIN(8u << 20, capacity / 4);
}

#endif
