/* SPDX-License-Identifier: MIT */
/*
 * A field: the lines of one region of the filter, and how entries are placed in them. An entry stands in its home line
 * or, if that is full, in its other line; entries with a high `off` are the first to move, so that one threshold per line
 * tells a probe whether it must look further. Up to FOLD_FIELD_COPIES equal entries are kept; from then on they stay for
 * good, because what was merged can no longer be told apart. Changes are visible to probes at once; the caller brackets
 * them. Used by one writer at a time.
 */
#ifndef FOLD_HASHING_FILTER_FIELD_H
#define FOLD_HASHING_FILTER_FIELD_H

#include "asm/probe.h"
#include "meta/base/attr.h"

#define FOLD_FIELD_COPIES 4

struct fold_field {
    uint64_t *frame[FOLD_PROBE_MAX_FRAMES];
    uint32_t lines; /* FOLD_PROBE_MIN_LINES .. FOLD_PROBE_MAX_LINES, a multiple of FOLD_PROBE_FRAME_LINES */
    uint32_t dice;  /* state of the generator that picks whom to displace */
};

static inline uint32_t fold_field_frames(const struct fold_field *f)
{
    return f->lines / FOLD_PROBE_FRAME_LINES;
}

static inline uint64_t *fold_field_line(const struct fold_field *f, uint32_t line)
{
    return f->frame[line / FOLD_PROBE_FRAME_LINES] +
           (size_t)(line % FOLD_PROBE_FRAME_LINES) * FOLD_PROBE_WORDS;
}

static inline uint64_t fold_field_slots(const struct fold_field *f)
{
    return (uint64_t)f->lines * FOLD_PROBE_SLOTS;
}

/* Position of the entry that stands with `off` and `low` in home line `home`: fold_probe_home turned round. */
uint32_t fold_field_position(const struct fold_field *f, uint32_t home, uint32_t off, uint32_t low);

/* Number of copies of the entry for position x that stand in its lines, at most FOLD_FIELD_COPIES. */
uint32_t fold_field_copies(const struct fold_field *f, uint32_t x);

/*
 * Places one more entry. -ENOSPC if no room could be made: then another entry may have been displaced; *x is the position
 * that has no place now.
 */
int fold_field_place(struct fold_field *f, uint32_t *x) FOLD_MUST;

/* Removes one copy of the entry for x; there must be one. */
void fold_field_remove(struct fold_field *f, uint32_t x);

/* Writes the positions of all entries to `out` (room for all slots); returns their number. */
size_t fold_field_collect(const struct fold_field *f, uint32_t *out);

/*
 * Fills a field of undefined contents with n positions. `scratch` has room for n. -ENOSPC if they do not fit; the
 * contents are undefined then.
 */
int fold_field_fill(struct fold_field *f, const uint32_t *xs, size_t n, uint32_t *scratch) FOLD_MUST;

/* Checks a line of a field that comes from a file: each entry must be one that could stand there. */
bool fold_field_line_valid(const struct fold_field *f, uint32_t line);

#endif
