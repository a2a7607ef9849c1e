/* SPDX-License-Identifier: MIT */
/*
 * Replaying batches gives what applying one after the other gives, whatever they change, and
 * refuses what is no batch.
 */
#include "meta/replay.h"
#include "meta/base/err.h"
#include "tests/meta/catalog_rig.h"

#include <fcntl.h>
#include <stdio.h>

static uint64_t state_of_chance = 88172645463325252u;

static uint32_t chance(uint32_t n)
{
    return (uint32_t)((rig_random(&state_of_chance) >> 20) % n);
}

/* Keys of different lengths, some of them the beginning of others, with zero bytes. */
static size_t any_key(uint8_t key[16])
{
    size_t len = 1 + chance(12);
    for (size_t i = 0; i < len; i++)
        key[i] = (uint8_t)(chance(4) == 0 ? chance(3) : 0);
    return len;
}

static void change(struct fold_kv_batch *b)
{
    uint8_t key[16], end[16], val[40];
    size_t len = any_key(key), end_len;
    switch (chance(10)) {
    case 0:
    case 1:
        fold_kv_batch_delete(b, key, len);
        break;
    case 2:
        end_len = any_key(end);
        if (memcmp(key, end, FOLD_MIN(len, end_len)) < 0)
            fold_kv_batch_delete_range(b, key, len, end, end_len);
        break;
    default:
        for (size_t i = 0; i < sizeof val; i++)
            val[i] = (uint8_t)chance(256);
        fold_kv_batch_put(b, key, len, val, chance(2) ? chance(sizeof val) : 0);
    }
}

static void expect_equal(struct fold_kv *a, struct fold_kv *b)
{
    struct fold_kv_iter *x, *y;
    struct fold_kv_entry e, f;
    assert_int_equal(fold_kv_iter_open(a, NULL, 0, NULL, 0, false, &x), 0);
    assert_int_equal(fold_kv_iter_open(b, NULL, 0, NULL, 0, false, &y), 0);
    for (;;) {
        int more = fold_kv_iter_next(x, &e);
        assert_int_equal(fold_kv_iter_next(y, &f), more);
        if (more == 0)
            break;
        assert_int_equal(more, 1);
        assert_int_equal(e.key_len, f.key_len);
        assert_memory_equal(e.key, f.key, e.key_len);
        assert_int_equal(e.val_len, f.val_len);
        assert_memory_equal(e.val, f.val, e.val_len);
    }
    fold_kv_iter_close(x);
    fold_kv_iter_close(y);
}

static void the_same_as_one_by_one(void **state)
{
    (void)state;
    static const struct fold_kv_options options = {.create = true};
    for (int round = 0; round < 12; round++) {
        char path[64];
        struct fold_kv *kv[2];
        rig_temp(path);
        int fd = open(path, O_RDONLY | O_DIRECTORY);
        assert_int_equal(fold_kv_open(fd, "a", &options, &kv[0]), 0);
        assert_int_equal(fold_kv_open(fd, "b", &options, &kv[1]), 0);
        struct fold_replay *r = fold_replay_create(kv[1]);
        assert_non_null(r);
        for (int i = 0; i < 300 * round; i++) {
            struct fold_kv_batch *b = fold_kv_batch_create();
            for (uint32_t n = chance(6); n > 0; n--)
                change(b);
            size_t len;
            const void *data = fold_kv_batch_data(b, &len);
            assert_int_equal(fold_replay_add(r, data, len), 0);
            assert_int_equal(fold_kv_write(kv[0], b), 0);
            fold_kv_batch_destroy(b);
            if (chance(400) == 0)
                assert_int_equal(fold_replay_finish(r), 0);
        }
        assert_int_equal(fold_replay_finish(r), 0);
        fold_replay_destroy(r);
        expect_equal(kv[0], kv[1]);
        fold_kv_close(kv[0]);
        fold_kv_close(kv[1]);
        close(fd);
        rig_remove_tree(path);
    }
}

static void what_is_no_batch_is_refused(void **state)
{
    (void)state;
    static const uint8_t bad[][20] = {
        {0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 1, 'k', 1, 'v'},   /* an unknown tag */
        {0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 200, 'k', 1, 'v'}, /* a key beyond the end */
        {0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 'k', 9, 'v'},   /* a value beyond the end */
        {0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 3, 'k', 'e', 'y'}, /* no value */
    };
    static const uint8_t none[12] = {0};
    struct fold_replay *r = fold_replay_create(NULL);
    for (size_t i = 0; i < FOLD_ARRAY_LEN(bad); i++)
        assert_int_equal(fold_replay_add(r, bad[i], 17), -FOLD_E_BAD_JOURNAL);
    assert_int_equal(fold_replay_add(r, bad[0], 11), -FOLD_E_BAD_JOURNAL);
    assert_int_equal(fold_replay_add(r, none, 12), 0); /* without changes */
    fold_replay_destroy(r);
    fold_replay_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_as_one_by_one),
        cmocka_unit_test(what_is_no_batch_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
