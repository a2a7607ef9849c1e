/* SPDX-License-Identifier: MIT */
/*
 * Where the name of a directory entry is kept: the number of its bucket. Stores with the feature
 * `dirhash2` hash directory and name with SipHash under a key derived from the volume's secret:
 * users see bucket numbers as directory offsets, and can learn nothing from them about the buckets
 * of other names. Older stores hash the name with a seed. Fixed after init; any thread may hash.
 */
#ifndef FOLD_META_NAMEHASH_H
#define FOLD_META_NAMEHASH_H

#include "meta/types.h"

enum fold_name_form {
    FOLD_NAMES_SEEDED, /* buckets of 52 bits, 2048 slots */
    FOLD_NAMES_KEYED   /* buckets of 24 bits, 128 slots, and more behind full ones */
};

#define FOLD_NAME_KEY_BYTES 16

struct fold_namehash {
    enum fold_name_form form;
    unsigned bits;      /* of a bucket's number at the first level */
    unsigned slot_bits; /* of a slot */
    uint64_t seed;      /* SEEDED */
    void *keyed;        /* KEYED: the hash with its key, copied for each name */
};

/* The key of a volume's names. `len` at least 2 * FOLD_NAME_KEY_BYTES. -ENOMEM; -EOPNOTSUPP: the
 * cryptographic library has no SipHash. */
int fold_namehash_key(const uint8_t *secret, size_t len,
                      uint8_t key[FOLD_NAME_KEY_BYTES]) FOLD_MUST;

void fold_namehash_init_seeded(struct fold_namehash *h, uint64_t seed);
int fold_namehash_init_keyed(struct fold_namehash *h,
                             const uint8_t key[FOLD_NAME_KEY_BYTES]) FOLD_MUST;
void fold_namehash_fini(struct fold_namehash *h); /* of zeros: nothing to do */

/* The bucket of `name` at the first level, not 0. -ENOMEM. */
int fold_namehash_bucket(const struct fold_namehash *h, fold_ino dir, const char *name, size_t len,
                         uint64_t *out) FOLD_MUST;

/* Test seam: replaces the hash of names (its top bits count). NULL restores it. */
typedef uint64_t (*fold_namehash_hook)(const char *name, size_t len);
void fold_namehash_set_hook(fold_namehash_hook hook);

#endif
