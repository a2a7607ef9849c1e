/* SPDX-License-Identifier: MIT */
/*
 * Fingerprints: known digests, batches equal to single calls, contexts of many threads, secrets
 * that matter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "asm/kernels.h"
#include "hashing/fingerprint.h"

#include <openssl/sha.h>
#include <pthread.h>
#include <xxhash.h>

#define PIECES  40
#define THREADS 6

static uint8_t data[1 << 17];
static uint8_t secret[FOLD_SECRET_BYTES];

static int fill(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 131 >> 3);
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (uint8_t)(i * 89 + 1);
    return 0;
}

static void sha256_known(void **state)
{
    (void)state;
    struct fold_hasher h;
    fold_hasher_init(&h, FOLD_HASH_SHA256, NULL);
    assert_int_equal(fold_hasher_width(&h), 32);
    assert_true(fold_hasher_trusted(&h));
    struct fold_fp fp;
    fold_hasher_one(&h, "abc", 3, &fp);
    /* ba7816bf 8f01cfea 414140de 5dae2223 b00361a3 96177a9c b410ff61 f20015ad */
    assert_true(fp.w[0] == 0xeacf018fbf1678bau);
    assert_true(fp.w[1] == 0x2322ae5dde404141u);
    assert_true(fp.w[2] == 0x9c7a1796a36103b0u);
    assert_true(fp.w[3] == 0xad1500f261ff10b4u);
    for (size_t len = 0; len < 300; len++) {
        uint8_t want[32];
        SHA256(data + len, len, want);
        fold_hasher_one(&h, data + len, len, &fp);
        for (size_t i = 0; i < 32; i++)
            assert_int_equal(fp.w[i / 8] >> (i % 8 * 8) & 0xff, want[i]);
    }
}

static void xxh3_is_the_library_s(void **state)
{
    (void)state;
    struct fold_hasher h;
    fold_hasher_init(&h, FOLD_HASH_XXH3, secret);
    assert_int_equal(fold_hasher_width(&h), 16);
    assert_false(fold_hasher_trusted(&h));
    for (size_t len = 0; len < 70000; len += 1 + len / 50) {
        struct fold_fp fp;
        XXH128_hash_t want = XXH3_128bits_withSecret(data + len % 61, len, secret, sizeof secret);
        fold_hasher_one(&h, data + len % 61, len, &fp);
        assert_true(fp.w[0] == want.low64 && fp.w[1] == want.high64);
        assert_true(fp.w[2] == 0 && fp.w[3] == 0);
    }
}

/* Each byte of the secret counts. */
static void secret_matters(void **state)
{
    (void)state;
    struct fold_hasher h;
    struct fold_fp a;
    fold_hasher_init(&h, FOLD_HASH_XXH3, secret);
    fold_hasher_one(&h, data, 16384, &a);
    for (size_t i = 0; i < FOLD_SECRET_BYTES; i++) {
        struct fold_fp b;
        uint8_t other[FOLD_SECRET_BYTES];
        memcpy(other, secret, sizeof other);
        other[i] ^= 0x10;
        fold_hasher_init(&h, FOLD_HASH_XXH3, other);
        fold_hasher_one(&h, data, 16384, &b);
        assert_false(fold_fp_equal(&a, &b));
    }
}

static void check_batch(enum fold_hash_kind kind)
{
    struct fold_hasher h;
    struct fold_piece pieces[PIECES];
    struct fold_fp got[PIECES];
    fold_hasher_init(&h, kind, secret);
    for (size_t i = 0; i < PIECES; i++)
        pieces[i] = (struct fold_piece){data + i * 37, i * i * 41};
    for (size_t n = 0; n <= PIECES; n++) {
        memset(got, 0xee, sizeof got);
        fold_hasher_batch(&h, pieces, n, got);
        for (size_t i = 0; i < PIECES; i++) {
            struct fold_fp want;
            memset(&want, 0xee, sizeof want);
            if (i < n)
                fold_hasher_one(&h, pieces[i].data, pieces[i].len, &want);
            assert_true(fold_fp_equal(&got[i], &want));
        }
    }
}

static void batch_is_one_by_one(void **state)
{
    (void)state;
    check_batch(FOLD_HASH_XXH3);
    check_batch(FOLD_HASH_SHA256);
}

static void *hash_much(void *arg)
{
    const struct fold_fp *want = arg;
    struct fold_hasher h;
    fold_hasher_init(&h, FOLD_HASH_SHA256, NULL);
    for (int i = 0; i < 200; i++) {
        struct fold_fp fp;
        fold_hasher_one(&h, data, 5000, &fp);
        if (!fold_fp_equal(&fp, want))
            return arg;
    }
    return NULL;
}

static void contexts_of_threads(void **state)
{
    (void)state;
    struct fold_hasher h;
    struct fold_fp want;
    pthread_t threads[THREADS];
    fold_hasher_init(&h, FOLD_HASH_SHA256, NULL);
    fold_hasher_one(&h, data, 5000, &want);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_much, &want), 0);
    for (int i = 0; i < THREADS; i++) {
        void *bad = NULL;
        assert_int_equal(pthread_join(threads[i], &bad), 0);
        assert_null(bad);
    }
}

/* The product's way reaches the kernel of the table. */
static void kernel_is_called(void **state)
{
    (void)state;
    struct fold_kernel_count before[FOLD_KERNELS];
    struct fold_kernel_count after[FOLD_KERNELS];
    struct fold_hasher h;
    struct fold_fp fp;
    fold_hasher_init(&h, FOLD_HASH_XXH3, secret);
    fold_kernels_counts(before);
    fold_hasher_one(&h, data, 4096, &fp);
    fold_kernels_counts(after);
    assert_int_equal(after[FOLD_KERNEL_FINGERPRINT].calls,
                     before[FOLD_KERNEL_FINGERPRINT].calls + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_known),        cmocka_unit_test(xxh3_is_the_library_s),
        cmocka_unit_test(secret_matters),      cmocka_unit_test(batch_is_one_by_one),
        cmocka_unit_test(contexts_of_threads), cmocka_unit_test(kernel_is_called),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
