/* SPDX-License-Identifier: MIT */
/*
 * SipHash-2-4 is the library's. A context that has its key is kept and copied for each name, which
 * takes 0.14 us with the hash; setting up a key takes no less, and contexts cannot be shared by
 * threads.
 */
#include "meta/namehash.h"

#include "meta/base/bytes.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"

#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <xxhash.h>

#define SEEDED_BITS      52
#define SEEDED_SLOT_BITS 11
/* Together 31, so that offsets of directories fit into the off_t of programs of 32 bits. */
#define KEYED_BITS      24
#define KEYED_SLOT_BITS 7

static fold_namehash_hook hook; /* fixed while threads run */

void fold_namehash_set_hook(fold_namehash_hook replacement)
{
    hook = replacement;
}

/* A SipHash context with a key, for results of `size` bytes. */
static int make_context(const uint8_t key[FOLD_NAME_KEY_BYTES], size_t size, EVP_MAC_CTX **out)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_SIPHASH, NULL);
    if (mac == NULL) {
        fold_error("the cryptographic library offers no SipHash, which this store's names need");
        return -EOPNOTSUPP;
    }
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                 OSSL_PARAM_construct_end()};
    if (ctx == NULL || EVP_MAC_init(ctx, key, FOLD_NAME_KEY_BYTES, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        return -ENOMEM;
    }
    *out = ctx;
    return 0;
}

int fold_namehash_key(const uint8_t *secret, size_t len, uint8_t key[FOLD_NAME_KEY_BYTES])
{
    EVP_MAC_CTX *ctx;
    size_t got = 0;
    assert(len >= 2 * FOLD_NAME_KEY_BYTES);
    int rc = make_context(secret, FOLD_NAME_KEY_BYTES, &ctx);
    if (rc < 0)
        return rc;
    bool done = EVP_MAC_update(ctx, secret + FOLD_NAME_KEY_BYTES, len - FOLD_NAME_KEY_BYTES) == 1 &&
                EVP_MAC_final(ctx, key, &got, FOLD_NAME_KEY_BYTES) == 1 &&
                got == FOLD_NAME_KEY_BYTES;
    EVP_MAC_CTX_free(ctx);
    return done ? 0 : -ENOMEM;
}

void fold_namehash_init_seeded(struct fold_namehash *h, uint64_t seed)
{
    *h = (struct fold_namehash){.form = FOLD_NAMES_SEEDED,
                                .bits = SEEDED_BITS,
                                .slot_bits = SEEDED_SLOT_BITS,
                                .seed = seed};
}

int fold_namehash_init_keyed(struct fold_namehash *h, const uint8_t key[FOLD_NAME_KEY_BYTES])
{
    EVP_MAC_CTX *ctx;
    int rc = make_context(key, sizeof(uint64_t), &ctx);
    if (rc == 0)
        *h = (struct fold_namehash){.form = FOLD_NAMES_KEYED,
                                    .bits = KEYED_BITS,
                                    .slot_bits = KEYED_SLOT_BITS,
                                    .keyed = ctx};
    return rc;
}

void fold_namehash_fini(struct fold_namehash *h)
{
    EVP_MAC_CTX_free(h->keyed);
    h->keyed = NULL;
}

static int keyed_hash(const struct fold_namehash *h, fold_ino dir, const char *name, size_t len,
                      uint64_t *out)
{
    uint8_t number[8], result[8];
    size_t got = 0;
    struct fold_wr w = fold_wr_init(number, sizeof number);
    fold_wr_u64(&w, dir);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(h->keyed);
    if (ctx == NULL)
        return -ENOMEM;
    bool done = EVP_MAC_update(ctx, number, sizeof number) == 1 &&
                EVP_MAC_update(ctx, (const unsigned char *)name, len) == 1 &&
                EVP_MAC_final(ctx, result, &got, sizeof result) == 1 && got == sizeof result;
    EVP_MAC_CTX_free(ctx);
    if (!done)
        return -ENOMEM;
    struct fold_rd r = fold_rd_init(result, sizeof result);
    *out = fold_rd_u64(&r);
    return 0;
}

int fold_namehash_bucket(const struct fold_namehash *h, fold_ino dir, const char *name, size_t len,
                         uint64_t *out)
{
    uint64_t hash = 0;
    int rc = 0;
    if (hook != NULL)
        hash = hook(name, len);
    else if (h->form == FOLD_NAMES_KEYED)
        rc = keyed_hash(h, dir, name, len, &hash);
    else
        hash = XXH3_64bits_withSeed(name, len, h->seed);
    if (rc < 0)
        return rc;
    hash >>= 64 - h->bits;
    if (h->form == FOLD_NAMES_KEYED)
        hash &= ~(uint64_t)0 << (KEYED_BITS - fold_knobs.name_hash_bits);
    *out = hash != 0 ? hash : 1; /* cookies 0, 1 and 2 belong to the start, "." and ".." */
    return 0;
}
