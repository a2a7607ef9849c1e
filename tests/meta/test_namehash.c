/* SPDX-License-Identifier: MIT */
/*
 * The hash of names: the published values of SipHash-2-4, and buckets that must never change.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "meta/namehash.h"

#include <stdio.h>

static uint64_t bucket(const struct fold_namehash *h, fold_ino dir, const char *name, size_t len)
{
    uint64_t number = 0;
    assert_int_equal(fold_namehash_bucket(h, dir, name, len, &number), 0);
    return number;
}

/* Key 00 01 .. 0f, messages 00 01 .. (n-1): the first bytes of the values printed in the paper and
 * its reference program. The directory is the first eight bytes of the message. */
static void published_values(void **state)
{
    (void)state;
    uint8_t key[FOLD_NAME_KEY_BYTES];
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    const char *text = "\x08\x09\x0a\x0b\x0c\x0d\x0e";
    struct fold_namehash h;
    assert_int_equal(fold_namehash_init_keyed(&h, key), 0);
    assert_int_equal(bucket(&h, UINT64_C(0x0706050403020100), text, 7), 0xa129ca);
    assert_int_equal(bucket(&h, UINT64_C(0x0706050403020100), text, 1), 0x9e0082);
    assert_int_equal(h.bits + h.slot_bits, 31);
    fold_namehash_fini(&h);
}

/* What stores were written with. */
static void golden_buckets(void **state)
{
    (void)state;
    uint8_t secret[192], key[FOLD_NAME_KEY_BYTES];
    for (unsigned i = 0; i < sizeof secret; i++)
        secret[i] = (uint8_t)(i * 7 + 3);
    struct fold_namehash h;
    assert_int_equal(fold_namehash_key(secret, sizeof secret, key), 0);
    assert_int_equal(fold_namehash_init_keyed(&h, key), 0);
    assert_int_equal(bucket(&h, 1, "name", 4), 0xd07933);
    assert_int_equal(bucket(&h, 2, "name", 4), 0x734c8f);
    assert_int_equal(bucket(&h, 1, "another name", 12), 0xb46e98);
    fold_namehash_fini(&h);
    fold_namehash_init_seeded(&h, 12345);
    assert_int_equal(bucket(&h, 1, "name", 4), UINT64_C(0x2d473d09680eb));
    assert_int_equal(bucket(&h, 2, "name", 4), UINT64_C(0x2d473d09680eb));
    fold_namehash_fini(&h);
}

/* Any part of the secret changes the key, any part of the key, the directory or the name changes
 * the bucket. */
static void everything_counts(void **state)
{
    (void)state;
    uint8_t secret[192] = {0}, key[FOLD_NAME_KEY_BYTES], other[FOLD_NAME_KEY_BYTES];
    assert_int_equal(fold_namehash_key(secret, sizeof secret, key), 0);
    for (unsigned i = 0; i < sizeof secret; i += 13) {
        secret[i] ^= 1;
        assert_int_equal(fold_namehash_key(secret, sizeof secret, other), 0);
        assert_memory_not_equal(key, other, sizeof key);
        secret[i] ^= 1;
    }
    struct fold_namehash a, b;
    assert_int_equal(fold_namehash_init_keyed(&a, key), 0);
    key[15] ^= 0x80;
    assert_int_equal(fold_namehash_init_keyed(&b, key), 0);
    assert_int_not_equal(bucket(&a, 1, "name", 4), bucket(&b, 1, "name", 4));
    assert_int_not_equal(bucket(&a, 1, "name", 4), bucket(&a, 2, "name", 4));
    assert_int_not_equal(bucket(&a, 1, "name", 4), bucket(&a, 1, "nam", 3));
    fold_namehash_fini(&a);
    fold_namehash_fini(&b);
    fold_namehash_fini(&b);
}

static uint64_t none(const char *name, size_t len)
{
    (void)name;
    (void)len;
    return 0;
}

static void the_first_offsets_are_free(void **state)
{
    (void)state;
    struct fold_namehash h;
    fold_namehash_init_seeded(&h, 1);
    fold_namehash_set_hook(none);
    assert_int_equal(bucket(&h, 1, "name", 4), 1);
    fold_namehash_set_hook(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),
        cmocka_unit_test(golden_buckets),
        cmocka_unit_test(everything_counts),
        cmocka_unit_test(the_first_offsets_are_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
