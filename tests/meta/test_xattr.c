/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes: sizes, lists, removal, neighbours.
 */
#include "tests/meta/catalog_rig.h"

#include "meta/xattr.h"

static void store(struct rig *r, fold_ino ino, const char *name, const void *value, size_t len)
{
    struct fold_txn *t = fold_txn_begin(r->c);
    fold_xattr_store(t, ino, name, value, len);
    rig_commit(t);
}

static void values_come_back(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    char *big = malloc(FOLD_XATTR_MAX), *buf = malloc(FOLD_XATTR_MAX);
    memset(big, 'b', FOLD_XATTR_MAX);
    size_t len = 0;
    store(&r, 5, "user.big", big, FOLD_XATTR_MAX);
    store(&r, 5, "user.empty", NULL, 0);
    store(&r, 5, "user.x", "one", 3);
    store(&r, 5, "user.x", "second", 6);
    rig_reopen(&r, false);
    assert_int_equal(fold_xattr_load(r.c, 5, "user.big", buf, FOLD_XATTR_MAX, &len), 0);
    assert_int_equal(len, FOLD_XATTR_MAX);
    assert_memory_equal(buf, big, FOLD_XATTR_MAX);
    assert_int_equal(fold_xattr_load(r.c, 5, "user.empty", NULL, 0, &len), 0);
    assert_int_equal(len, 0);
    assert_int_equal(fold_xattr_load(r.c, 5, "user.x", buf, 5, &len), -ERANGE);
    assert_int_equal(len, 6);
    assert_int_equal(fold_xattr_load(r.c, 5, "user.x", buf, 6, &len), 0);
    assert_memory_equal(buf, "second", 6);
    assert_int_equal(fold_xattr_load(r.c, 5, "user.", buf, 6, &len), -ENODATA);
    assert_int_equal(fold_xattr_load(r.c, 4, "user.x", buf, 6, &len), -ENODATA);
    memset(buf, 'n', 300);
    buf[300] = '\0';
    assert_int_equal(fold_xattr_load(r.c, 5, buf, buf, 6, &len), -ENODATA);
    free(big);
    free(buf);
    rig_destroy(&r);
}

static void lists_are_exact(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    char longest[FOLD_NAME_MAX + 1], buf[600];
    memset(longest, 'l', FOLD_NAME_MAX);
    longest[FOLD_NAME_MAX] = '\0';
    size_t len = 9;
    assert_int_equal(fold_xattr_list(r.c, 5, buf, sizeof buf, &len), 0);
    assert_int_equal(len, 0);
    store(&r, 4, "user.other", "1", 1);
    store(&r, 6, "user.other", "1", 1);
    store(&r, 5, "user.b", "1", 1);
    store(&r, 5, "user.a", "1", 1);
    store(&r, 5, longest, "1", 1);
    assert_int_equal(fold_xattr_list(r.c, 5, NULL, 0, &len), -ERANGE);
    assert_int_equal(len, 14 + 256);
    assert_int_equal(fold_xattr_list(r.c, 5, buf, len - 1, &len), -ERANGE);
    assert_int_equal(fold_xattr_list(r.c, 5, buf, len, &len), 0);
    assert_string_equal(buf, longest);
    assert_string_equal(buf + 256, "user.a");
    assert_string_equal(buf + 263, "user.b");
    rig_destroy(&r);
}

static void removal_spares_neighbours(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    char buf[64];
    size_t len;
    for (fold_ino i = 4; i <= 6; i++) {
        store(&r, i, "user.a", "1", 1);
        store(&r, i, "user.b", "2", 1);
    }
    struct fold_txn *t = fold_txn_begin(r.c);
    fold_xattr_remove(t, 4, "user.a");
    assert_int_equal(fold_xattr_remove_all(t, 5), 0);
    rig_commit(t);
    assert_int_equal(fold_xattr_list(r.c, 4, buf, sizeof buf, &len), 0);
    assert_int_equal(len, 7);
    assert_int_equal(fold_xattr_list(r.c, 5, buf, sizeof buf, &len), 0);
    assert_int_equal(len, 0);
    assert_int_equal(fold_xattr_list(r.c, 6, buf, sizeof buf, &len), 0);
    assert_int_equal(len, 14);
    rig_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(lists_are_exact),
        cmocka_unit_test(removal_spares_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
