/* SPDX-License-Identifier: MIT */
/*
 * A field: the lines of one region of the filter, and how entries are placed in them. An entry
 * stands in its home line or, if that is full, in its other line; entries with a high `off` are the
 * first to move, so that one threshold per line tells a probe whether it must look further. Up to
 * FOLD_FIELD_COPIES equal entries are kept; from then on they stay for good, because what was
 * merged can no longer be told apart. Changes are visible to probes at once; the caller brackets
 * them. Used by one writer at a time.
 */
#ifndef FOLD_HASHING_FILTER_FIELD_H
#define FOLD_HASHING_FILTER_FIELD_H

#include "asm/probe.h"
#include "meta/base/attr.h"

#define FOLD_FIELD_COPIES 4

/* Entries of one home line that fold_field_fill sorts at once; practically no line has more. */
#define FOLD_FIELD_BIN 64

struct fold_field {
    uint64_t *frame[FOLD_PROBE_MAX_FRAMES];
    uint32_t lines;   /* FOLD_PROBE_MIN_LINES .. FOLD_PROBE_MAX_LINES, a multiple of
                         FOLD_PROBE_FRAME_LINES */
    uint32_t dice;    /* state of the generator that picks whom to displace */
    uint64_t inverse; /* 2^64 / lines, rounded up */
};

/* A field without frames. */
static inline struct fold_field fold_field_of(uint32_t lines)
{
    return (struct fold_field){.lines = lines, .dice = lines, .inverse = UINT64_MAX / lines + 1};
}

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

/* Position of the entry that stands with `off` and `low` in home line `home`: fold_probe_home
 * turned round. */
static inline uint32_t fold_field_position(const struct fold_field *f, uint32_t home, uint32_t off,
                                           uint32_t low)
{
    uint64_t z = ((uint64_t)home << 20) + (((uint64_t)off << 20) + 191) / 192;
    /* Divided by `lines`, rounded up; exact because z < 2^34 and lines < 2^14. */
    uint64_t y = (uint64_t)((unsigned __int128)(z + f->lines - 1) * f->inverse >> 64);
    return (uint32_t)y << 10 | low;
}

/* Number of copies of the entry for position x that stand in its lines, at most FOLD_FIELD_COPIES.
 */
uint32_t fold_field_copies(const struct fold_field *f, uint32_t x);

/*
 * Places one more entry. -ENOSPC if no room could be made: then another entry may have been
 * displaced; *x is the position that has no place now.
 */
int fold_field_place(struct fold_field *f, uint32_t *x) FOLD_MUST;

/* Removes one copy of the entry for x; there must be one. */
void fold_field_remove(struct fold_field *f, uint32_t x);

/* Writes the positions of all entries to `out` (room for all slots); returns their number. */
size_t fold_field_collect(const struct fold_field *f, uint32_t *out);

/* Words of scratch memory that fold_field_fill needs. */
static inline size_t fold_field_scratch(const struct fold_field *f)
{
    return (size_t)f->lines * (FOLD_FIELD_BIN + 1);
}

/*
 * Fills a field of undefined contents with n positions. -ENOSPC if they do not fit; the contents
 * are undefined then.
 */
int fold_field_fill(struct fold_field *f, const uint32_t *xs, size_t n,
                    uint32_t *scratch) FOLD_MUST;

/* Checks a line of a field that comes from a file: each entry must be one that could stand there.
 */
bool fold_field_line_valid(const struct fold_field *f, uint32_t line);

#endif
