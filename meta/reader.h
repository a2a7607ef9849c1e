/* SPDX-License-Identifier: MIT */
/*
 * From a location to bytes: resolves forwarding, pins the mapping, checks headers and payloads,
 * decodes, compares. Nothing that fails a check is ever handed out. Thread-safe.
 */
#ifndef FOLD_META_READER_H
#define FOLD_META_READER_H

#include "meta/forward.h"
#include "meta/segmap.h"
#include "meta/store.h"

struct fold_reader;

/* The three are borrowed. -ENOMEM. */
int fold_reader_create(struct fold_segset *set, struct fold_segmap *map,
                       struct fold_forward *forward, enum fold_verify verify,
                       struct fold_reader **out) FOLD_MUST;
void fold_reader_destroy(struct fold_reader *r);

/* As the functions of meta/store.h with the same names. */
int fold_reader_view(struct fold_reader *r, struct fold_loc loc, struct fold_view *out) FOLD_MUST;
void fold_reader_unview(struct fold_reader *r, struct fold_view *v);
void fold_reader_view_dup(struct fold_reader *r, const struct fold_view *v, struct fold_view *out);
int fold_reader_decode(struct fold_reader *r, const struct fold_view *v, void *dst) FOLD_MUST;
int fold_reader_compare(struct fold_reader *r, struct fold_loc loc, const void *data, uint32_t len,
                        bool *equal) FOLD_MUST;
void fold_reader_compare_batch(struct fold_reader *r, struct fold_match *m, size_t n);
void fold_reader_prefetch(struct fold_reader *r, struct fold_loc loc, uint32_t bytes);

/* The fingerprint in the header of the record at `loc`, payload not looked at. Errors as view. */
int fold_reader_fp(struct fold_reader *r, struct fold_loc loc, struct fold_fp *out) FOLD_MUST;

/* Raw length of the chunk and bytes its record occupies, from the header. Errors as view. */
int fold_reader_sizes(struct fold_reader *r, struct fold_loc loc, uint32_t *raw_len,
                      uint32_t *record_bytes) FOLD_MUST;

/* The fingerprint list of a sealed segment, with what lies in gaps marked as gone; the caller frees
 * it. -FOLD_E_BAD_SEGMENT, -EIO, ... */
int fold_reader_table(struct fold_reader *r, uint32_t seg, struct fold_seg_entry **out,
                      uint32_t *count) FOLD_MUST;

/* The file for which the calling thread reads from now on (0: none). If a chunk turns out damaged,
 * the log names it. */
void fold_reader_for(fold_ino ino);

/* What was verified before counts no more: the disk was seen to give other bytes. */
void fold_reader_distrust(struct fold_reader *r);

/* The chunk was found damaged: counts it, once mostly, and believes no more that it was verified.
 */
void fold_reader_count(struct fold_reader *r, struct fold_loc loc);

/* Chunks found damaged so far (repeated finds of one chunk count once, mostly). */
uint64_t fold_reader_damaged(const struct fold_reader *r);

#endif
