/* SPDX-License-Identifier: MIT */
/*
 * A sound volume is found clean; each kind of inconsistency in the catalog, planted one at a time,
 * is found under its name, changes nothing on disk without repair, and is gone after repair.
 */
#include "tests/meta/check_rig.h"

static void test_clean(void **state)
{
    (void)state;
    expect_clean(false);
    expect_clean(true);
    struct fold_check_result r = check(true, true);
    assert_int_equal(r.errors, 0);
    assert_int_equal(r.inodes, 5);
    assert_int_equal(r.entries, 4);
    assert_int_equal(r.extents, 2 * PER);
    assert_int_equal(r.chunks, 2 * PER);
    fold_check_free(&r);
    struct fold_check_options opt = {.rebuild_index = true};
    assert_int_equal(fold_check_run(base, &opt, &r), 0);
    assert_int_equal(r.errors, 0);
    fold_check_free(&r);
    expect_clean(false);
}

/* Applies a change to the catalog behind everybody's back. */
static void plant(void (*change)(struct fold_txn *t, struct fold_catalog *c))
{
    struct fold_volume *v = open_volume();
    struct fold_txn *t = fold_txn_begin(v->catalog);
    change(t, v->catalog);
    commit(t);
    assert_int_equal(fold_volume_close(v, true), 0);
}

static struct fold_attr attr_of(struct fold_catalog *c, fold_ino ino)
{
    struct fold_attr a;
    assert_int_equal(fold_inode_load(c, ino, &a), 0);
    return a;
}

static void wrong_nlink(struct fold_txn *t, struct fold_catalog *c)
{
    struct fold_attr a = attr_of(c, 4);
    a.nlink = 7;
    fold_inode_store(t, &a);
}

static void wrong_entries(struct fold_txn *t, struct fold_catalog *c)
{
    struct fold_attr a = attr_of(c, 2);
    a.size = 9;
    fold_inode_store(t, &a);
}

static void wrong_parent(struct fold_txn *t, struct fold_catalog *c)
{
    struct fold_attr a = attr_of(c, 2);
    a.parent = 2;
    fold_inode_store(t, &a);
}

static void wrong_mapped(struct fold_txn *t, struct fold_catalog *c)
{
    struct fold_attr a = attr_of(c, 3);
    a.mapped += 512;
    fold_inode_store(t, &a);
    fold_txn_count(t, 0, 0, 0, 512);
}

static void no_xattr_flag(struct fold_txn *t, struct fold_catalog *c)
{
    struct fold_attr a = attr_of(c, 5);
    a.flags = 0;
    fold_inode_store(t, &a);
}

static void dangling(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    assert_int_equal(fold_dentry_store(t, 2, "ghost", 5, 77, DT_REG), 0);
}

static void wrong_type(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    assert_int_equal(fold_dentry_store(t, 2, "f", 1, 3, DT_FIFO), 0);
}

static void second_name(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    assert_int_equal(fold_dentry_store(t, 2, "again", 5, 2, DT_DIR), 0);
}

static void unreachable(struct fold_txn *t, struct fold_catalog *c)
{
    struct fold_attr a = attr_of(c, 1);
    a.size--;
    fold_inode_store(t, &a);
    assert_int_equal(fold_dentry_remove(t, 1, "g", 1), 0);
}

static void ring(struct fold_txn *t, struct fold_catalog *c)
{
    struct fold_attr a = attr_of(c, 1), d = attr_of(c, 2);
    a.size--;
    a.nlink--;
    d.size++;
    d.nlink++;
    d.parent = 2;
    fold_inode_store(t, &a);
    fold_inode_store(t, &d);
    assert_int_equal(fold_dentry_remove(t, 1, "d", 1), 0);
    assert_int_equal(fold_dentry_store(t, 2, "self", 4, 2, DT_DIR), 0);
}

static uint64_t bucket_of(struct fold_catalog *c, fold_ino dir, const char *name)
{
    uint64_t number;
    assert_int_equal(fold_dentry_bucket_of(c, dir, name, strlen(name), &number), 0);
    return number;
}

static void bad_bucket(struct fold_txn *t, struct fold_catalog *c)
{
    put_raw(t, FOLD_TABLE_DENTRY, 2, bucket_of(c, 2, "f"), true, "\xff\xff");
}

static void misplaced(struct fold_txn *t, struct fold_catalog *c)
{
    struct fold_key key;
    struct fold_kv_value val;
    fold_key_pair(&key, FOLD_TABLE_DENTRY, 2, bucket_of(c, 2, "f"));
    assert_int_equal(fold_kv_get(c->kv, key.bytes, key.len, &val), 0);
    fold_kv_batch_delete(t->batch, key.bytes, key.len);
    fold_key_pair(&key, FOLD_TABLE_DENTRY, 2, 12345);
    fold_kv_batch_put(t->batch, key.bytes, key.len, val.data, val.len);
    fold_kv_value_fini(&val);
}

static void stray_entries(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    assert_int_equal(fold_dentry_store(t, 4, "x", 1, 3, DT_REG), 0);
}

static void bad_inode(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    put_raw(t, FOLD_TABLE_INODE, 3, 0, false, "garbage");
}

static void bad_root(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    put_raw(t, FOLD_TABLE_INODE, 1, 0, false, "garbage");
}

static void no_root(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    fold_inode_remove(t, 1);
}

static void lost_inode(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    fold_inode_remove(t, 4);
}

static void stray_xattr(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    fold_xattr_store(t, 88, "user.q", "v", 1);
}

static void stray_symlink(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    fold_symlink_store(t, 3, "nowhere");
}

static void stray_orphan(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    fold_orphan_add(t, 99);
}

static void named_orphan(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    fold_orphan_add(t, 4);
}

static void leaked(struct fold_txn *t, struct fold_catalog *c)
{
    struct fold_attr a = {.ino = fold_catalog_new_ino(c), .mode = S_IFREG | 0600, .nlink = 0};
    fold_inode_store(t, &a);
}

static void wrong_totals(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    fold_txn_count(t, 5, -1, 2, 4096);
}

static void bad_key(struct fold_txn *t, struct fold_catalog *c)
{
    (void)c;
    fold_kv_batch_put(t->batch, "Ixyz", 4, "", 0);
}

static const struct {
    const char *code;
    void (*change)(struct fold_txn *t, struct fold_catalog *c);
} plants[] = {
    {"inode.nlink", wrong_nlink},       {"directory.entries", wrong_entries},
    {"directory.parent", wrong_parent}, {"inode.mapped", wrong_mapped},
    {"inode.xattrs", no_xattr_flag},    {"dentry.dangling", dangling},
    {"dentry.type", wrong_type},        {"dentry.second", second_name},
    {"inode.unreachable", unreachable}, {"tree.ring", ring},
    {"dentry.damaged", bad_bucket},     {"dentry.misplaced", misplaced},
    {"dentry.stray", stray_entries},    {"inode.damaged", bad_inode},
    {"inode.damaged", bad_root},        {"tree.root", no_root},
    {"dentry.dangling", lost_inode},    {"recipe.stray", lost_inode},
    {"xattr.stray", stray_xattr},       {"symlink.stray", stray_symlink},
    {"orphan.stray", stray_orphan},     {"orphan.named", named_orphan},
    {"inode.leaked", leaked},           {"totals.counts", wrong_totals},
    {"catalog.key", bad_key},
};

static uint64_t one_hash(const char *name, size_t len)
{
    (void)name;
    (void)len;
    return UINT64_C(5) << 40;
}

#define LINKS 300 /* of three levels */

/* Hard links of a file, all of one hash. */
static void many_links(struct fold_txn *t, struct fold_catalog *c)
{
    struct fold_attr a = attr_of(c, 3), dir = attr_of(c, 2);
    for (unsigned i = 0; i < LINKS; i++) {
        char name[16];
        int len = snprintf(name, sizeof name, "link%u", i);
        assert_int_equal(fold_dentry_store(t, 2, name, (size_t)len, 3, DT_REG), 0);
    }
    a.nlink += LINKS;
    dir.size += LINKS;
    fold_inode_store(t, &a);
    fold_inode_store(t, &dir);
}

/* The first bucket no longer says that there are more. */
static void lost_levels(struct fold_txn *t, struct fold_catalog *c)
{
    struct fold_key key;
    struct fold_kv_value val;
    fold_key_pair(&key, FOLD_TABLE_DENTRY, 2, bucket_of(c, 2, "f"));
    assert_int_equal(fold_kv_get(c->kv, key.bytes, key.len, &val), 0);
    uint8_t *copy = malloc(val.len);
    assert_non_null(copy);
    memcpy(copy, val.data, val.len);
    assert_int_equal(copy[0], 1);
    copy[0] = 0;
    fold_kv_batch_put(t->batch, key.bytes, key.len, copy, val.len);
    free(copy);
    fold_kv_value_fini(&val);
}

static void test_levels(void **state)
{
    fold_namehash_set_hook(one_hash);
    setup(state);
    plant(many_links);
    expect_clean(true);
    plant(lost_levels);
    expect_repaired("dentry.misplaced");
    struct fold_volume *v = open_volume();
    for (unsigned i = 0; i < LINKS; i++) {
        char name[16];
        struct fold_dentry d;
        int len = snprintf(name, sizeof name, "link%u", i);
        assert_int_equal(fold_dentry_load(v->catalog, 2, name, (size_t)len, &d), 0);
        assert_int_equal(d.ino, 3);
    }
    assert_int_equal(fold_volume_close(v, true), 0);
    teardown(state);
    fold_namehash_set_hook(NULL);
}

static void test_catalog(void **state)
{
    for (size_t i = 0; i < FOLD_ARRAY_LEN(plants); i++) {
        print_message("    %s\n", plants[i].code);
        plant(plants[i].change);
        expect_repaired(plants[i].code);
        teardown(state);
        setup(state);
    }
}

/* From now on volumes are such as were made before names were hashed with a key, or new ones. */
static int setup_seeded(void **state)
{
    features = 0;
    return setup(state);
}

static int setup_new(void **state)
{
    (void)state;
    features = FOLD_FEATURES_NEW;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_clean, setup, teardown),
        cmocka_unit_test_setup_teardown(test_catalog, setup, teardown),
        cmocka_unit_test_setup_teardown(test_catalog, setup_seeded, teardown),
        cmocka_unit_test_setup_teardown(test_levels, setup_new, NULL),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
