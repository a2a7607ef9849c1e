/* SPDX-License-Identifier: MIT */
/*
 * Fingerprints of chunks: XXH3-128 under the volume's random secret (fast, a hint that must be
 * verified by bytes) or SHA-256 (cryptographic, trusted as it is). Thread-safe after init.
 *
 * Words: XXH3's low half is w[0], its high half w[1]; SHA-256's digest is w[0..3] read as
 * little-endian words, so that storing the words little-endian stores the digest in its usual byte
 * order.
 */
#ifndef FOLD_HASHING_FINGERPRINT_H
#define FOLD_HASHING_FINGERPRINT_H

#include "meta/types.h"

enum fold_hash_kind { FOLD_HASH_XXH3 = 1, FOLD_HASH_SHA256 = 2 };

#define FOLD_SECRET_BYTES 192

struct fold_hasher {
    enum fold_hash_kind kind;
    uint8_t
        secret[FOLD_SECRET_BYTES]; /* XXH3 only; fixed at mkfs from the system's random source */
};

/* Copies FOLD_SECRET_BYTES of secret. `secret` may be NULL for SHA-256, which has none. */
void fold_hasher_init(struct fold_hasher *h, enum fold_hash_kind kind, const uint8_t *secret);

/* Bytes of a fingerprint that matter: 16 or 32. */
size_t fold_hasher_width(const struct fold_hasher *h);

/* Fingerprint of data[0..len). */
void fold_hasher_one(const struct fold_hasher *h, const void *data, size_t len,
                     struct fold_fp *out);

/* One input of a batch: data[0..len). */
struct fold_piece {
    const void *data;
    size_t len;
};

/* Fingerprints of n pieces: out[i] as fold_hasher_one of pieces[i]; the head of the next piece is
 * prefetched. */
void fold_hasher_batch(const struct fold_hasher *h, const struct fold_piece *pieces, size_t n,
                       struct fold_fp *out);

/* True if equal fingerprints prove equal bytes (SHA-256). */
bool fold_hasher_trusted(const struct fold_hasher *h);

#endif
