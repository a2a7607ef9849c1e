/* SPDX-License-Identifier: MIT */
/*
 * The cuckoo filter over all stored fingerprints: "surely new" or "maybe seen", one cache line per
 * probe. Never says "new" for a key that was inserted and not deleted. Memory: 18 bits per key at
 * 95 % load, and growth in small steps keeps it there; it grows by itself without being given the
 * keys again. Keys are w[0] of a fingerprint mixed with w[1].
 *
 * False positives: 0.015 % in a filter created for the keys it holds. Each doubling since then
 * makes older entries vaguer by a bit: 0.03 % after one, 0.05 % after two, 0.09 % after three.
 * fold_filter_info tells how many there were; creating the filter anew from the fingerprints starts
 * afresh.
 *
 * Locking: probes run concurrently with one another and with one writer; inserts and deletes are
 * serialised inside (FOLD_RANK_FILTER).
 */
#ifndef FOLD_HASHING_FILTER_H
#define FOLD_HASHING_FILTER_H

#include "meta/types.h"

struct fold_filter;

/* An empty filter for about `keys` keys (at least the knob filter_min_keys are assumed). -ENOMEM.
 */
int fold_filter_create(uint64_t keys, struct fold_filter **out) FOLD_MUST;

/* The same without a least number, for tests and small tools: from 160 thousand keys (0.35 MB) up.
 */
int fold_filter_create_exact(uint64_t keys, struct fold_filter **out) FOLD_MUST;

void fold_filter_destroy(struct fold_filter *f);

/*
 * Probes n keys; sets bit i of maybe[i / 64] if fps[i] may be present and clears it if it surely is
 * not. Bits after the last key are cleared.
 */
void fold_filter_probe(const struct fold_filter *f, const struct fold_fp *fps, size_t n,
                       uint64_t *maybe);

/*
 * Adds a key; the same key may be added several times and must then be deleted as often. From the
 * fourth copy on a key stays for good, whatever is deleted. If memory to grow is short the key is
 * noted down and the filter answers "maybe" to everything until it could grow. -ENOMEM if even
 * noting it down failed: it then answers "maybe" for ever.
 */
int fold_filter_insert(struct fold_filter *f, const struct fold_fp *fp) FOLD_MUST;

/* Adds n keys; faster than one by one. -ENOMEM as above: all keys that can be are added. */
int fold_filter_insert_batch(struct fold_filter *f, const struct fold_fp *fps, size_t n) FOLD_MUST;

/* Removes one occurrence of a key that was inserted. Removing a key never inserted is a bug of the
 * caller; false if no matching tag was found. */
bool fold_filter_delete(struct fold_filter *f, const struct fold_fp *fp);

/*
 * Bounds the memory of lines; 0 is no bound. Beyond it the filter notes down 65536 more keys and
 * answers "maybe" to everything, then it fails insertions for good. Raising the bound in time heals
 * it.
 */
void fold_filter_set_limit(struct fold_filter *f, uint64_t bytes);

struct fold_filter_info {
    uint64_t keys; /* inserted and not deleted */
    uint64_t slots;
    uint64_t bytes;     /* in use; up to 2 MiB more are kept ready */
    uint32_t doublings; /* since it was created: each makes old entries vaguer by a bit */
    bool blind;         /* short of memory: answers "maybe" to everything */
};
void fold_filter_info(const struct fold_filter *f, struct fold_filter_info *out);

/*
 * Persistence: writes the filter to `name` in `dirfd` durably with a checksum and the caller's
 * `stamp`, which load must find again (it ties the file to one state of the index). Probes go on,
 * inserts wait. -EAGAIN: the filter is blind and not worth saving. Load: -ESTALE for another stamp,
 * -EBADMSG for damage, -ENOENT if there is none; the caller rebuilds then.
 */
int fold_filter_save(const struct fold_filter *f, int dirfd, const char *name,
                     uint64_t stamp) FOLD_MUST;
int fold_filter_load(int dirfd, const char *name, uint64_t stamp,
                     struct fold_filter **out) FOLD_MUST;

#endif
