/* SPDX-License-Identifier: MIT */
/*
 * Fingerprints of chunks. XXH3 is a kernel of the table, so that it follows the chosen level.
 * SHA-256 uses one OpenSSL context per thread, made on first use and freed when the thread ends. A
 * SHA-256 that cannot be computed aborts the process: a wrong trusted fingerprint would silently
 * merge different chunks.
 */
#include "hashing/fingerprint.h"

#include "asm/xxh3.h"
#include "meta/base/bytes.h"
#include "meta/base/log.h"

#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>

_Static_assert(FOLD_SECRET_BYTES == FOLD_XXH3_SECRET, "the kernel reads the whole secret");

static pthread_once_t sha_once = PTHREAD_ONCE_INIT;
static pthread_key_t sha_key;
static EVP_MD *sha_md;

static _Noreturn void sha_fail(const char *what)
{
    fold_error("SHA-256 is not available (%s); cannot continue", what);
    abort();
}

static void sha_ctx_free(void *ctx)
{
    EVP_MD_CTX_free(ctx);
}

static void sha_setup(void)
{
    sha_md = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (sha_md == NULL)
        sha_fail("fetch");
    if (pthread_key_create(&sha_key, sha_ctx_free) != 0)
        sha_fail("thread key");
}

static EVP_MD_CTX *sha_ctx(void)
{
    (void)pthread_once(&sha_once, sha_setup);
    EVP_MD_CTX *ctx = pthread_getspecific(sha_key);
    if (ctx == NULL) {
        ctx = EVP_MD_CTX_new();
        if (ctx == NULL || pthread_setspecific(sha_key, ctx) != 0)
            sha_fail("context");
    }
    return ctx;
}

static void sha_one(const void *data, size_t len, struct fold_fp *out)
{
    EVP_MD_CTX *ctx = sha_ctx();
    uint8_t digest[32];
    if (EVP_DigestInit_ex2(ctx, sha_md, NULL) != 1 || EVP_DigestUpdate(ctx, data, len) != 1 ||
        EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
        sha_fail("digest");
    struct fold_rd r = fold_rd_init(digest, sizeof digest);
    for (int i = 0; i < 4; i++)
        out->w[i] = fold_rd_u64(&r);
}

static void xxh3_one(const struct fold_kernels *k, const uint8_t *secret, const void *data,
                     size_t len, struct fold_fp *out)
{
    uint64_t v[2];
    k->fingerprint(data, len, secret, v);
#ifdef FOLD_FORCE_COLLISIONS /* the program of a test only: a thousand fingerprints for everything \
                              */
    v[0] &= 0x3ff;
    v[1] = v[0] * UINT64_C(0x9e3779b97f4a7c15);
#endif
    *out = (struct fold_fp){{v[0], v[1], 0, 0}};
}

void fold_hasher_init(struct fold_hasher *h, enum fold_hash_kind kind, const uint8_t *secret)
{
    assert(kind == FOLD_HASH_SHA256 || secret != NULL);
    *h = (struct fold_hasher){.kind = kind};
    if (secret != NULL)
        memcpy(h->secret, secret, FOLD_SECRET_BYTES);
}

size_t fold_hasher_width(const struct fold_hasher *h)
{
    return h->kind == FOLD_HASH_SHA256 ? 32 : 16;
}

void fold_hasher_one(const struct fold_hasher *h, const void *data, size_t len, struct fold_fp *out)
{
    if (h->kind == FOLD_HASH_SHA256)
        sha_one(data, len, out);
    else
        xxh3_one(fold_kernels(), h->secret, data, len, out);
}

void fold_hasher_batch(const struct fold_hasher *h, const struct fold_piece *pieces, size_t n,
                       struct fold_fp *out)
{
    const struct fold_kernels *k = fold_kernels();
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n)
            __builtin_prefetch(pieces[i + 1].data);
        if (h->kind == FOLD_HASH_SHA256)
            sha_one(pieces[i].data, pieces[i].len, &out[i]);
        else
            xxh3_one(k, h->secret, pieces[i].data, pieces[i].len, &out[i]);
    }
}

bool fold_hasher_trusted(const struct fold_hasher *h)
{
    return h->kind == FOLD_HASH_SHA256;
}
