/* SPDX-License-Identifier: MIT */
/*
 * The cuckoo filter over all stored fingerprints: "surely new" or "maybe seen", one cache line per probe.
 * Never says "new" for a key that was inserted and not deleted. Memory: at most 18 bits per key at 95 % load; it grows
 * by itself without being given the keys again. Keys are w[0] of a fingerprint mixed with w[1].
 * Locking: probes run concurrently with one another and with one writer; inserts and deletes are serialised inside.
 */
#ifndef FOLD_HASHING_FILTER_H
#define FOLD_HASHING_FILTER_H

#include "meta/types.h"

struct fold_filter;

/* An empty filter for about `keys` keys (at least 4096 are assumed). -ENOMEM. */
int fold_filter_create(uint64_t keys, struct fold_filter **out) FOLD_MUST;
void fold_filter_destroy(struct fold_filter *f);

/* Probes n keys; sets bit i of maybe[i / 64] if fps[i] may be present and clears it if it surely is not. */
void fold_filter_probe(const struct fold_filter *f, const struct fold_fp *fps, size_t n, uint64_t *maybe);

/* Adds a key; the same key may be added several times and must then be deleted as often. -ENOMEM if growth fails:
 * the filter then answers "maybe" to everything until it can grow. */
int fold_filter_insert(struct fold_filter *f, const struct fold_fp *fp) FOLD_MUST;

/* Removes one occurrence of a key that was inserted. Removing a key never inserted is a bug of the caller; false if
 * no matching tag was found. */
bool fold_filter_delete(struct fold_filter *f, const struct fold_fp *fp);

struct fold_filter_info {
    uint64_t keys;
    uint64_t slots;
    uint64_t bytes;
};
void fold_filter_info(const struct fold_filter *f, struct fold_filter_info *out);

/*
 * Persistence: writes the filter to `name` in `dirfd` durably with a checksum and the caller's `stamp`, which load
 * must find again (it ties the file to one state of the index). Load: -ESTALE for another stamp, -EBADMSG for
 * damage, -ENOENT if there is none; the caller rebuilds then.
 */
int fold_filter_save(const struct fold_filter *f, int dirfd, const char *name, uint64_t stamp) FOLD_MUST;
int fold_filter_load(int dirfd, const char *name, uint64_t stamp, struct fold_filter **out) FOLD_MUST;

#endif
