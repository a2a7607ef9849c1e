/* SPDX-License-Identifier: MIT */
/*
 * Batches taken apart: whatever a batch was made of is read back in order, its stored form is the
 * one documented, and bytes that are no batch are refused without a look beyond their end.
 */
#include "meta/batch.h"
#include "meta/base/err.h"
#include "tests/meta/catalog_rig.h"

#define BYTES_MAX 400u

static const char large[300] = "a length of two bytes";

/* Reads in a block of just that size, so that the sanitizer sees a look beyond it. The number of
 * changes, or the error. */
static int count_of(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, data, len);
    struct fold_batch b;
    struct fold_batch_change c;
    int n = 0;
    int rc = fold_batch_open(&b, copy, len);
    while (rc == 0 && (rc = fold_batch_next(&b, &c)) > 0) {
        assert_true(c.key >= copy && c.key_len <= (size_t)(copy + len - c.key));
        if (c.kind == FOLD_BATCH_DELETE)
            assert_true(c.val == NULL && c.val_len == 0);
        else
            assert_true(c.val >= c.key && c.val_len <= (size_t)(copy + len - c.val));
        n++;
        rc = 0;
    }
    free(copy);
    return rc < 0 ? rc : n;
}

static void expect(struct fold_batch *b, enum fold_batch_kind kind, const char *key,
                   const char *val, size_t val_len)
{
    struct fold_batch_change c;
    assert_int_equal(fold_batch_next(b, &c), 1);
    assert_int_equal(c.kind, kind);
    assert_int_equal(c.key_len, strlen(key));
    assert_memory_equal(c.key, key, c.key_len);
    assert_int_equal(c.val_len, val_len);
    if (kind == FOLD_BATCH_DELETE)
        assert_null(c.val);
    else
        assert_memory_equal(c.val, val, val_len);
}

static struct fold_kv_batch *make(void)
{
    struct fold_kv_batch *b = fold_kv_batch_create();
    fold_kv_batch_put(b, "key", 3, "value", 5);
    fold_kv_batch_delete(b, "gone", 4);
    fold_kv_batch_put(b, "empty", 5, "", 0);
    fold_kv_batch_delete_range(b, "from", 4, "to", 2);
    fold_kv_batch_put(b, "", 0, large, sizeof large);
    return b;
}

static void as_it_was_made(void **state)
{
    (void)state;
    struct fold_kv_batch *made = make();
    struct fold_batch b;
    struct fold_batch_change c;
    size_t len;
    const void *data = fold_kv_batch_data(made, &len);
    assert_int_equal(fold_batch_open(&b, data, len), 0);
    assert_int_equal(b.left, fold_kv_batch_count(made));
    expect(&b, FOLD_BATCH_PUT, "key", "value", 5);
    expect(&b, FOLD_BATCH_DELETE, "gone", NULL, 0);
    expect(&b, FOLD_BATCH_PUT, "empty", "", 0);
    expect(&b, FOLD_BATCH_DELETE_RANGE, "from", "to", 2);
    expect(&b, FOLD_BATCH_PUT, "", large, sizeof large);
    assert_int_equal(fold_batch_next(&b, &c), 0);
    assert_int_equal(fold_batch_next(&b, &c), 0);
    fold_kv_batch_clear(made);
    data = fold_kv_batch_data(made, &len);
    assert_int_equal(count_of(data, len), 0);
    fold_kv_batch_destroy(made);
}

/* The bytes of docs/FORMAT-catalog.md, which are in journals. */
static void stored_form(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0, 0,   0, 0,   0,   0, 0, 0,   3,    0, 0,   0, 1,
                                    1, 'k', 2, 'v', 'w', 0, 1, 'd', 0x0f, 1, 'f', 1, 't'};
    struct fold_kv_batch *made = fold_kv_batch_create();
    fold_kv_batch_put(made, "k", 1, "vw", 2);
    fold_kv_batch_delete(made, "d", 1);
    fold_kv_batch_delete_range(made, "f", 1, "t", 1);
    size_t len;
    const void *data = fold_kv_batch_data(made, &len);
    assert_int_equal(len, sizeof bytes);
    assert_memory_equal(data, bytes, sizeof bytes);
    fold_kv_batch_destroy(made);
    assert_int_equal(count_of(bytes, sizeof bytes), 3);
}

static void cut_or_continued(void **state)
{
    (void)state;
    uint8_t bytes[BYTES_MAX + 1] = {0};
    struct fold_kv_batch *made = make();
    size_t len;
    const void *data = fold_kv_batch_data(made, &len);
    assert_true(len <= BYTES_MAX);
    memcpy(bytes, data, len);
    assert_int_equal(count_of(bytes, len), 5);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(count_of(bytes, cut), -FOLD_E_BAD_JOURNAL);
    assert_int_equal(count_of(bytes, len + 1), -FOLD_E_BAD_JOURNAL);
    for (int wrong = 0; wrong < 256; wrong++) { /* how many there are */
        bytes[8] = (uint8_t)wrong;
        assert_int_equal(count_of(bytes, len), wrong == 5 ? 5 : -FOLD_E_BAD_JOURNAL);
    }
    bytes[8] = 5;
    bytes[11] = 0x80;
    assert_int_equal(count_of(bytes, len), -FOLD_E_BAD_JOURNAL);
    fold_kv_batch_destroy(made);
}

#define HEAD 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0

static void no_batch(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        uint8_t bytes[28];
    } bad[] = {
        {17, {HEAD, 2, 1, 'k', 1, 'v'}},               /* an unknown tag */
        {18, {HEAD, 5, 0, 1, 'k', 1, 'v'}},            /* one with a column family */
        {15, {HEAD, 0x80, 1, 'k'}},                    /* a tag that is none */
        {17, {HEAD, 1, 200, 'k', 1, 'v'}},             /* a key whose length does not end */
        {17, {HEAD, 1, 9, 'k', 1, 'v'}},               /* a key beyond the end */
        {17, {HEAD, 1, 1, 'k', 9, 'v'}},               /* a value beyond the end */
        {17, {HEAD, 1, 3, 'k', 'e', 'y'}},             /* no value */
        {17, {HEAD, 0x0f, 3, 'k', 'e', 'y'}},          /* a range without end */
        {19, {HEAD, 1, 0x81, 0x80, 0x80, 0x80, 0x10}}, /* a length of more than 32 bits, */
        {28,
         {HEAD, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}}, /* the largest */
        {28, {HEAD, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}}, /* and none */
    };
    for (size_t i = 0; i < FOLD_ARRAY_LEN(bad); i++)
        assert_int_equal(count_of(bad[i].bytes, bad[i].len), -FOLD_E_BAD_JOURNAL);
    struct fold_batch b;
    static const uint8_t none[12];
    assert_int_equal(fold_batch_open(&b, none, (size_t)UINT32_MAX + 1), -FOLD_E_BAD_JOURNAL);
    assert_int_equal(fold_batch_open(&b, none, sizeof none), 0);
}

/* Bytes with an error here and there are a batch or not, but never more than they are. */
static void changed_at_random(void **state)
{
    (void)state;
    uint8_t bytes[BYTES_MAX];
    struct fold_kv_batch *made = make();
    uint64_t seed = 99;
    size_t len, refused = 0;
    const void *data = fold_kv_batch_data(made, &len);
    for (int i = 0; i < 20000; i++) {
        memcpy(bytes, data, len);
        for (uint64_t n = 1 + rig_random(&seed) % 3; n > 0; n--)
            bytes[8 + rig_random(&seed) % 40] = (uint8_t)rig_random(&seed);
        int n = count_of(bytes, len);
        assert_true(n == -FOLD_E_BAD_JOURNAL || n >= 0);
        refused += n < 0;
    }
    assert_true(refused > 1000 && refused < 20000);
    fold_kv_batch_destroy(made);
}

static void order_of_byte_strings(void **state)
{
    (void)state;
    assert_int_equal(fold_bytes_compare("abc", 3, "abc", 3), 0);
    assert_int_equal(fold_bytes_compare("", 0, "", 0), 0);
    assert_true(fold_bytes_compare("ab", 2, "abc", 3) < 0);
    assert_true(fold_bytes_compare("ab\0", 3, "ab", 2) > 0);
    assert_true(fold_bytes_compare("b", 1, "abc", 3) > 0);
    assert_true(fold_bytes_compare("a\x80", 2, "a\x7f", 2) > 0); /* bytes have no sign */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_it_was_made),    cmocka_unit_test(stored_form),
        cmocka_unit_test(cut_or_continued),  cmocka_unit_test(no_batch),
        cmocka_unit_test(changed_at_random), cmocka_unit_test(order_of_byte_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
