/* SPDX-License-Identifier: MIT */
/*
 * The decision "seen before or new": fingerprint, filter, locality cache, index, byte comparison,
 * and only then either the old location or a new record. A hash alone never decides unless it is
 * cryptographic. Thread-safe.
 */
#ifndef FOLD_HASHING_DEDUP_H
#define FOLD_HASHING_DEDUP_H

#include "hashing/fingerprint.h"
#include "meta/store.h"

struct fold_dedup;

/* A chunk on its way into the store. */
struct fold_chunk {
    const uint8_t *data; /* raw bytes, owned by the caller */
    uint32_t len;
    uint8_t flags;       /* the caller's; not looked at */
    bool duplicate;      /* out: an older copy is used */
    uint64_t off;        /* the caller's: offset in the file */
    struct fold_fp fp;   /* set by fold_dedup_fingerprint */
    struct fold_loc loc; /* out */
};

struct fold_ingest_counts {
    uint64_t bytes_in;
    uint64_t zero_bytes;
    uint64_t duplicate_bytes;
    uint64_t verified_bytes;
    uint64_t filter_probes;
    uint64_t filter_negatives;
    uint64_t filter_false_positives;
    uint64_t locality_hits;
    uint64_t index_lookups;
    uint64_t collisions;
    uint64_t healed;
};

/*
 * `storefd` is where the filter was saved (not kept). If it was not, or is stale, a thread rebuilds
 * it from the index while everything counts as maybe seen. `read_only`: no filter; only
 * fingerprints and counts may be asked for (`store` may be NULL). -ENOMEM, -errno.
 */
int fold_dedup_open(struct fold_store *store, int storefd, enum fold_hash_kind kind,
                    const uint8_t *secret, bool read_only, struct fold_dedup **out) FOLD_MUST;

/* Stops the rebuilding; with `clean` saves the filter for the next mount (the store must still be
 * open). */
void fold_dedup_close(struct fold_dedup *d, bool clean, int storefd);

/* Computes piece->fp; call while the bytes are still in the CPU's cache. */
void fold_dedup_fingerprint(const struct fold_dedup *d, struct fold_chunk *piece);

/* Most pieces of one fold_dedup_store call. */
#define FOLD_DEDUP_BATCH 128

/*
 * Finds or stores n (<= FOLD_DEDUP_BATCH) fingerprinted pieces and sets loc and duplicate. On
 * failure nothing may be used: what was stored is garbage. -ENOSPC, -EIO, ...
 */
int fold_dedup_store(struct fold_dedup *d, struct fold_chunk *pieces, size_t n) FOLD_MUST;

/* A fingerprint left the index: the filter forgets it. Any thread. */
void fold_dedup_forget(struct fold_dedup *d, const struct fold_fp *fp);

/* A fingerprint that was stored before came into the index: the filter knows it from now on. Any
 * thread. */
void fold_dedup_learn(struct fold_dedup *d, const struct fold_fp *fp);

/* Adds to the counters of the ingest path what the caller alone sees. */
void fold_dedup_note(struct fold_dedup *d, uint64_t bytes_in, uint64_t zero_bytes);

void fold_dedup_counts(const struct fold_dedup *d, struct fold_ingest_counts *out);

#endif
