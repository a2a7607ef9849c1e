/* SPDX-License-Identifier: MIT */
/*
 * Recipes: which chunks make up a file. A page covers FOLD_PAGE_BYTES of the file and lists its
 * extents in order, without overlap; what no extent covers is a hole. One catalog entry per page
 * that has extents, packed. The functions on struct fold_page are pure; load is thread-safe;
 * writers hold the inode's lock.
 */
#ifndef FOLD_META_RECIPE_H
#define FOLD_META_RECIPE_H

#include "meta/catalog.h"

#define FOLD_PAGE_BYTES (1u << 20)

struct fold_page {
    struct fold_extent *extents; /* malloc'd; `off` is the absolute file offset */
    uint32_t count;
    uint32_t cap;
};

void fold_page_fini(struct fold_page *p);

/* Index of the first extent that ends after file offset `off` (count if none). */
uint32_t fold_page_find(const struct fold_page *p, uint64_t off);

/* Sum of extent lengths. */
uint64_t fold_page_mapped(const struct fold_page *p);

/* Removes [off, off+len) from the page; extents across an edge are trimmed or split. -ENOMEM. */
int fold_page_punch(struct fold_page *p, uint64_t off, uint64_t len) FOLD_MUST;

/*
 * Inserts an extent (which replaces what it overlaps). It must lie inside one page: callers split
 * at page edges with fold_extent_slice. Neighbours that continue each other (same chunk, adjoining
 * skip; or unwritten) are merged.
 */
int fold_page_insert(struct fold_page *p, const struct fold_extent *e) FOLD_MUST;

/* The part of `e` inside [off, off+len): false if there is none. */
bool fold_extent_slice(const struct fold_extent *e, uint64_t off, uint64_t len,
                       struct fold_extent *out);

/* Packed form. Encode: malloc'd bytes the caller frees. Decode checks everything: order, bounds,
 * kinds. */
int fold_page_encode(const struct fold_page *p, uint64_t page_no, void **data,
                     size_t *len) FOLD_MUST;
int fold_page_decode(const void *data, size_t len, uint64_t page_no,
                     struct fold_page *out) FOLD_MUST;

/* The same into a page whose memory is used again; it is empty after a failure. */
int fold_page_refill(const void *data, size_t len, uint64_t page_no, struct fold_page *p) FOLD_MUST;

/* Loads a page (empty if there is none). `out` must be zeroed or fini'd. -FOLD_E_BAD_RECIPE. */
int fold_recipe_load(struct fold_catalog *c, fold_ino ino, uint64_t page_no,
                     struct fold_page *out) FOLD_MUST;

/* Stores a page; an empty page removes the entry. -ENOMEM. */
int fold_recipe_store(struct fold_txn *t, fold_ino ino, uint64_t page_no,
                      const struct fold_page *p) FOLD_MUST;

/* Removes pages [first, last] (last = UINT64_MAX for all): point deletes if few, one range delete
 * otherwise. */
void fold_recipe_drop(struct fold_txn *t, fold_ino ino, uint64_t first, uint64_t last);

/* Removes the first page, for a caller who knows that there is no other. */
void fold_recipe_drop_first(struct fold_txn *t, fold_ino ino);

/* Calls `fn` for each stored page with first <= page_no <= last, in order, from a snapshot;
 * negative stops. */
int fold_recipe_each(struct fold_catalog *c, fold_ino ino, uint64_t first, uint64_t last,
                     int (*fn)(void *arg, uint64_t page_no, const struct fold_page *p),
                     void *arg) FOLD_MUST;

/*
 * The pages of one inode one by one, in order, from the state of the catalog at open. next: 1 and
 * both set (the page's memory is used again), 0 at the end, or an error. Close it soon.
 */
struct fold_recipe_scan;
int fold_recipe_scan_open(struct fold_catalog *c, fold_ino ino,
                          struct fold_recipe_scan **out) FOLD_MUST;
int fold_recipe_scan_next(struct fold_recipe_scan *s, uint64_t *page_no,
                          struct fold_page *p) FOLD_MUST;
void fold_recipe_scan_close(struct fold_recipe_scan *s);

/* The whole volume: all recipes in inode order from one snapshot (the collector's walk). */
int fold_recipe_walk(struct fold_catalog *c,
                     int (*fn)(void *arg, fold_ino ino, uint64_t page_no,
                               const struct fold_page *p),
                     void *arg) FOLD_MUST;

/*
 * First stored page at or after `page_no`: *found set, or -ENOENT if there is none (sparse files,
 * SEEK_DATA).
 */
int fold_recipe_next(struct fold_catalog *c, fold_ino ino, uint64_t page_no,
                     uint64_t *found) FOLD_MUST;

#endif
