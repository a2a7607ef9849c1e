/* SPDX-License-Identifier: MIT */
/*
 * A sound volume is found clean; each kind of damage, planted one at a time, is found under its name, changes nothing on disk
 * without repair, and is gone after repair, or stays told where bytes are lost.
 */
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/log.h"
#include "meta/check.h"
#include "meta/commit.h"
#include "meta/dentry.h"
#include "meta/inode.h"
#include "meta/recipe.h"
#include "meta/segfmt.h"
#include "meta/storeparts.h"
#include "meta/volume.h"
#include "meta/xattr.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define CHUNK 16384u
#define PER   8u

static char base[64];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void fill(uint8_t *p, uint64_t seed)
{
    uint64_t x = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    for (uint32_t i = 0; i < CHUNK; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(p + i, &x, 8);
    }
}

static struct fold_fp fp_of(uint64_t seed)
{
    return (struct fold_fp){{seed * UINT64_C(0xD6E8FEB86659FD93) + 7, seed + 1000, 0, 0}};
}

static struct fold_volume *open_volume(void)
{
    struct fold_volume_options opt = {.store = {.segment_bytes = 1u << 20}};
    struct fold_volume *v = NULL;
    assert_int_equal(fold_volume_open(base, &opt, &v), 0);
    return v;
}

static void commit(struct fold_txn *t)
{
    fold_lsn lsn;
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
}

static void add(struct fold_txn *t, fold_ino dir, const char *name, struct fold_attr a)
{
    fold_inode_store(t, &a);
    assert_int_equal(fold_dentry_store(t, dir, name, strlen(name), a.ino, (uint8_t)((a.mode & S_IFMT) >> 12)), 0);
}

static void add_file(struct fold_volume *v, fold_ino dir, const char *name, fold_ino ino, bool force)
{
    static uint8_t bytes[CHUNK];
    struct fold_page page = {0};
    for (uint32_t i = 0; i < PER; i++) {
        fill(bytes, ino * 100 + i);
        struct fold_put put = {.data = bytes, .len = CHUNK, .fp = fp_of(ino * 100 + i), .force = force};
        assert_int_equal(fold_store_put(v->store, &put, 1), 0);
        struct fold_extent e = {.off = (uint64_t)i * CHUNK, .len = CHUNK, .loc = put.loc, .kind = FOLD_EXTENT_DATA};
        assert_int_equal(fold_page_insert(&page, &e), 0);
    }
    struct fold_txn *t = fold_txn_begin(v->catalog);
    add(t, dir, name,
        (struct fold_attr){
            .ino = ino, .mode = S_IFREG | 0644, .nlink = 1, .size = PER * CHUNK, .mapped = PER * CHUNK});
    assert_int_equal(fold_recipe_store(t, ino, 0, &page), 0);
    fold_txn_count(t, 1, 0, 0, PER * CHUNK);
    commit(t);
    fold_page_fini(&page);
}

/* Root: directory `d` (2) with file `f` (3), file `g` (4), link `l` (5) with an attribute. */
static int setup(void **state)
{
    (void)state;
    fold_log_set_level(FOLD_LOG_ERROR);
    (void)snprintf(base, sizeof base, "%s/fold-check-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(base));
    struct fold_volume_params p = {.chunker = 1, .hash = 1, .codec = 1, .chunk_size = CHUNK};
    assert_int_equal(fold_volume_format(base, &p), 0);
    struct fold_volume *v = open_volume();
    for (int i = 0; i < 4; i++)
        (void)fold_catalog_new_ino(v->catalog);
    struct fold_txn *t = fold_txn_begin(v->catalog);
    add(t, 1, "d", (struct fold_attr){.ino = 2, .mode = S_IFDIR | 0755, .nlink = 2, .size = 1, .parent = 1});
    fold_txn_count(t, 0, 1, 0, 0);
    commit(t);
    add_file(v, 2, "f", 3, false);
    add_file(v, 1, "g", 4, false);
    t = fold_txn_begin(v->catalog);
    add(t, 1, "l", (struct fold_attr){.ino = 5, .mode = S_IFLNK | 0777, .nlink = 1, .size = 3, .flags = FOLD_INODE_XATTRS});
    fold_symlink_store(t, 5, "d/f");
    fold_xattr_store(t, 5, "user.a", "b", 1);
    fold_txn_count(t, 0, 0, 1, 0);
    struct fold_attr root;
    assert_int_equal(fold_inode_load(v->catalog, 1, &root), 0);
    root.nlink = 3;
    root.size = 3;
    fold_inode_store(t, &root);
    commit(t);
    assert_int_equal(fold_volume_close(v, true), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static struct fold_check_result check(bool repair, bool data)
{
    struct fold_check_options opt = {.repair = repair, .data = data};
    struct fold_check_result r;
    assert_int_equal(fold_check_run(base, &opt, &r), 0);
    return r;
}

static bool has(const struct fold_check_result *r, const char *code)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->problems[i].code, code) == 0)
            return true;
    return false;
}

static void expect_clean(bool data)
{
    struct fold_check_result r = check(false, data);
    for (size_t i = 0; i < r.count; i++)
        if (r.problems[i].severity != FOLD_SEVERITY_NOTE)
            print_error("%s: %s: %s\n", r.problems[i].code, r.problems[i].object, r.problems[i].message);
    assert_int_equal(r.errors, 0);
    fold_check_free(&r);
}

/* The damage is found, found again after a check without repair, repaired, and gone. */
static void expect_repaired(const char *code)
{
    for (int repair = 0; repair <= 1; repair++) {
        struct fold_check_result r = check(false, true);
        if (!has(&r, code))
            for (size_t i = 0; i < r.count; i++)
                print_error("%s instead: %s: %s\n", r.problems[i].code, r.problems[i].object, r.problems[i].message);
        assert_true(has(&r, code));
        assert_true(r.errors > 0);
        fold_check_free(&r);
    }
    struct fold_check_result r = check(true, true);
    for (size_t i = 0; i < r.count; i++)
        if (!r.problems[i].repaired && r.problems[i].severity != FOLD_SEVERITY_NOTE)
            print_error("left: %s: %s: %s\n", r.problems[i].code, r.problems[i].object, r.problems[i].message);
    assert_true(has(&r, code));
    assert_int_equal(r.errors, r.repaired);
    fold_check_free(&r);
    expect_clean(true);
}

/* Found, and still there after repair: bytes are lost. */
static void expect_left(const char *code)
{
    struct fold_check_result r = check(true, true);
    assert_true(has(&r, code));
    assert_true(r.repaired < r.errors);
    fold_check_free(&r);
    r = check(false, true);
    assert_true(has(&r, code));
    fold_check_free(&r);
}

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

static void put_raw(struct fold_txn *t, enum fold_table table, uint64_t a, uint64_t b, bool pair, const char *value)
{
    struct fold_key key;
    if (pair)
        fold_key_pair(&key, table, a, b);
    else
        fold_key_ino(&key, table, a);
    fold_kv_batch_put(t->batch, key.bytes, key.len, value, strlen(value));
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

static void bad_bucket(struct fold_txn *t, struct fold_catalog *c)
{
    put_raw(t, FOLD_TABLE_DENTRY, 2, fold_dentry_hash_of(c, "f", 1), true, "\xff\xff");
}

static void misplaced(struct fold_txn *t, struct fold_catalog *c)
{
    struct fold_key key;
    struct fold_kv_value val;
    fold_key_pair(&key, FOLD_TABLE_DENTRY, 2, fold_dentry_hash_of(c, "f", 1));
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
    fold_txn_count(t, 1, 0, 0, 0);
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
    {"inode.nlink", wrong_nlink},        {"directory.entries", wrong_entries}, {"directory.parent", wrong_parent},
    {"inode.mapped", wrong_mapped},      {"inode.xattrs", no_xattr_flag},      {"dentry.dangling", dangling},
    {"dentry.type", wrong_type},         {"dentry.second", second_name},       {"inode.unreachable", unreachable},
    {"tree.ring", ring},                 {"dentry.damaged", bad_bucket},       {"dentry.misplaced", misplaced},
    {"dentry.stray", stray_entries},     {"inode.damaged", bad_inode},         {"inode.damaged", bad_root},
    {"tree.root", no_root},              {"dentry.dangling", lost_inode},      {"recipe.stray", lost_inode},
    {"xattr.stray", stray_xattr},        {"symlink.stray", stray_symlink},     {"orphan.stray", stray_orphan},
    {"orphan.named", named_orphan},      {"inode.leaked", leaked},             {"totals.counts", wrong_totals},
    {"catalog.key", bad_key},
};

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

static void scribble(const char *name, off_t at, size_t len)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", base, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    for (size_t i = 0; i < len; i++) {
        uint8_t b;
        off_t off = (at < 0 ? st.st_size + at : at) + (off_t)i;
        assert_int_equal(pread(fd, &b, 1, off), 1);
        b ^= 0x40;
        assert_int_equal(pwrite(fd, &b, 1, off), 1);
    }
    close(fd);
}

static void test_superblock(void **state)
{
    (void)state;
    scribble("volume", 40, 1);
    expect_repaired("superblock.copy");
    scribble("volume.bak", 40, 1);
    expect_repaired("superblock.copy");
}

static void test_segment(void **state)
{
    scribble("segments/00000001.seg", 20, 1);
    expect_repaired("segment.header");
    scribble("segments/00000001.seg", -70, 1); /* the last line of the table */
    expect_repaired("segment.table");
    scribble("segments/00000001.seg", -30, 1);
    expect_repaired("segment.footer");
    teardown(state);
    setup(state);
}

static fold_ino damaged_file(const struct fold_check_result *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->problems[i].code, "file.damaged") == 0)
            return (fold_ino)strtoull(r->problems[i].object + strlen("inode "), NULL, 10);
    return 0;
}

static void test_chunk(void **state)
{
    scribble("segments/00000001.seg", 4096 + 100, 1); /* a byte of the first chunk of file 3 */
    struct fold_check_result r = check(false, false);
    assert_int_equal(r.errors, 0); /* payloads are not read */
    fold_check_free(&r);
    r = check(false, true);
    assert_true(has(&r, "chunk.damaged"));
    assert_int_equal(damaged_file(&r), 3);
    fold_check_free(&r);
    expect_left("file.damaged");

    /* A second copy of the content (as two writers at one moment leave it) heals it. */
    struct fold_volume *v = open_volume();
    add_file(v, 2, "copy", 6, false);
    uint8_t bytes[CHUNK];
    fill(bytes, 300);
    struct fold_fp fp = fp_of(300);
    struct fold_page page = {0};
    assert_int_equal(fold_recipe_load(v->catalog, 3, 0, &page), 0);
    assert_int_equal(fold_store_heal(v->store, page.extents[0].loc, bytes, CHUNK, &fp), 0);
    fold_page_fini(&page);
    assert_int_equal(fold_volume_close(v, true), 0);
    r = check(true, true);
    assert_false(has(&r, "file.damaged"));
    assert_false(has(&r, "chunk.damaged"));
    assert_true(has(&r, "directory.entries")); /* the test did not count what it added */
    fold_check_free(&r);
    expect_clean(true);
    teardown(state);
    setup(state);
}

/* A damaged record whose content was stored a second time under the same fingerprint. */
static void test_twin(void **state)
{
    struct fold_volume *v = open_volume();
    uint8_t bytes[CHUNK];
    fill(bytes, 300);
    struct fold_put put = {.data = bytes, .len = CHUNK, .fp = fp_of(300), .force = true};
    assert_int_equal(fold_store_put(v->store, &put, 1), 0);
    assert_int_equal(fold_volume_close(v, true), 0);
    struct fold_check_options opt = {.rebuild_index = true};
    struct fold_check_result r;
    assert_int_equal(fold_check_run(base, &opt, &r), 0);
    fold_check_free(&r);
    scribble("segments/00000001.seg", 4096 + 100, 1);
    expect_repaired("chunk.damaged");
    teardown(state);
    setup(state);
}

static void drop_index_entry(struct fold_volume *v, uint64_t seed)
{
    struct fold_fp fp = fp_of(seed);
    struct fold_index_entry e = {.w = {fp.w[0], fp.w[1]}};
    struct fold_index_load load = {.entries = &e, .count = 1};
    assert_int_equal(fold_index_apply(v->store->index, &load), 0);
}

static void test_index(void **state)
{
    (void)state;
    struct fold_volume *v = open_volume();
    drop_index_entry(v, 300);
    assert_int_equal(fold_volume_close(v, true), 0);
    expect_repaired("index.missing");

    v = open_volume();
    struct fold_index_entry e = {.w = {1, 2}, .loc = {1, 8192 + 16}};
    struct fold_index_load load = {.entries = &e, .count = 1};
    assert_int_equal(fold_index_apply(v->store->index, &load), 0);
    assert_int_equal(fold_volume_close(v, true), 0);
    expect_repaired("index.dangling");
}

static void test_missing_segment(void **state)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/segments/00000001.seg", base);
    assert_int_equal(unlink(path), 0);
    struct fold_check_result r = check(false, false);
    assert_true(has(&r, "segment.missing"));
    fold_check_free(&r);
    expect_left("file.damaged");
    teardown(state);
    setup(state);
}

static void test_recipe(void **state)
{
    struct fold_volume *v = open_volume();
    struct fold_txn *t = fold_txn_begin(v->catalog);
    put_raw(t, FOLD_TABLE_RECIPE, 3, 0, true, "\x01\x7f??");
    commit(t);
    assert_int_equal(fold_volume_close(v, true), 0);
    expect_left("file.damaged");
    teardown(state);
    setup(state);

    /* In bounds of the page, but not of the chunk. */
    v = open_volume();
    struct fold_page page = {0};
    assert_int_equal(fold_recipe_load(v->catalog, 3, 0, &page), 0);
    page.extents[PER - 1].skip = 16;
    t = fold_txn_begin(v->catalog);
    assert_int_equal(fold_recipe_store(t, 3, 0, &page), 0);
    commit(t);
    fold_page_fini(&page);
    assert_int_equal(fold_volume_close(v, true), 0);
    expect_left("file.damaged");
}

static void test_in_use(void **state)
{
    (void)state;
    struct fold_volume *v = open_volume();
    struct fold_check_options opt = {0};
    struct fold_check_result r;
    assert_int_equal(fold_check_run(base, &opt, &r), -FOLD_E_LOCKED);
    fold_check_free(&r);
    assert_int_equal(fold_volume_close(v, true), 0);
    assert_int_equal(fold_check_run("/nonexistent", &opt, &r), -ENOENT);
    fold_check_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_clean, setup, teardown),
        cmocka_unit_test_setup_teardown(test_catalog, setup, teardown),
        cmocka_unit_test_setup_teardown(test_superblock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_twin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recipe, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_use, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
