/* SPDX-License-Identifier: MIT */
/*
 * Where chunks end. Pure functions of the bytes: the same content gives the same cuts on every CPU
 * level and however it arrives. Thread-safe; nothing is allocated.
 */
#ifndef FOLD_CHUNKER_CUTTER_H
#define FOLD_CHUNKER_CUTTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fold_cut_kind {
    FOLD_CUT_CDC = 1,  /* content-defined */
    FOLD_CUT_FIXED = 2 /* multiples of the chunk size in the file */
};

#define FOLD_CHUNK_MIN_AVG (4u << 10)
#define FOLD_CHUNK_MAX_AVG (1u << 20)

/* One stretch of lengths with the same rule: a candidate of `form` is a cut if its mix is at most
 * `mix`. */
struct fold_cut_rule {
    uint32_t end; /* first length behind the stretch */
    int16_t form;
    uint64_t mix;
};

/* The law of one volume; fixed at mkfs. Fill with fold_cut_init, treat as read-only. */
struct fold_cut {
    enum fold_cut_kind kind;
    uint32_t avg; /* mean chunk length that users get, bytes, 4 KiB to 1 MiB, a power of two */
    uint32_t min; /* no content-defined cut before this length; FIXED: avg */
    uint32_t max; /* no chunk is longer; FIXED: avg */
    struct fold_cut_rule strict; /* from min on */
    struct fold_cut_rule loose;  /* from strict.end to max */
};

/* Derives the law from `avg`. Returns 0, or -EINVAL if `avg` is out of range or not a power of two.
 */
int fold_cut_init(struct fold_cut *cut, enum fold_cut_kind kind, uint32_t avg);

/*
 * Content-defined: length of the first chunk of data[0..len), which starts at a chunk start. 0 if
 * no cut is found in fewer than `max` bytes and more data is needed to decide; never more than
 * cut->max. With len >= cut->max the result is never 0; data without any cut that long is divided
 * between max / 2 and max. The caller decides what to do with an undecided tail.
 */
size_t fold_cut_next(const struct fold_cut *cut, const uint8_t *data, size_t len);

/*
 * The same for a caller who was told before that data[0..known) holds no cut (the call with len =
 * known returned 0): the bytes looked at then are not scanned again. `known` = 0 is fold_cut_next.
 */
size_t fold_cut_resume(const struct fold_cut *cut, const uint8_t *data, size_t len, size_t known);

/* Fixed: length from file offset `off` to the next multiple of the chunk size. */
static inline size_t fold_cut_fixed(const struct fold_cut *cut, uint64_t off)
{
    return cut->avg - (size_t)(off & (cut->avg - 1));
}

#endif
