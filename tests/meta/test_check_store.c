/* SPDX-License-Identifier: MIT */
/*
 * Damage to the files of a store, planted one at a time: found under its name, and gone after
 * repair; or told for as long as bytes are lost.
 */
#include "tests/meta/check_rig.h"

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
    assert_int_equal(fold_store_heal(v->store, page.extents[0].loc, bytes, CHUNK - 16, &fp),
                     -EEXIST);
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

/* Bytes without a header: written in a segment before its creation was synced. */
static void test_unbegun_segment(void **state)
{
    (void)state;
    char name[FOLD_SEG_NAME_BYTES], path[200];
    fold_seg_name(77, name);
    (void)snprintf(path, sizeof path, "%s/segments/%s", base, name);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(pwrite(fd, "left over", 9, 100000), 9);
    close(fd);
    struct fold_check_result r = check(false, true);
    assert_true(has(&r, "segment.empty"));
    assert_int_equal(r.errors, 0);
    fold_check_free(&r);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(fold_volume_close(open_volume(), true), 0);
    assert_int_equal(access(path, F_OK), -1);
    expect_clean(true);
}

/* Another file in a segment that a crash leaves open; with `synced`, some of its records say that
 * those before them were durable. */
static void leave_open_segment(bool synced)
{
    struct fold_volume *v = open_volume();
    struct fold_attr root;
    for (fold_ino ino = 6; ino <= 7; ino++) {
        assert_int_equal(fold_catalog_new_ino(v->catalog), ino);
        add_file(v, 1, ino == 6 ? "h" : "i", ino, false);
        assert_int_equal(fold_inode_load(v->catalog, 1, &root), 0);
        root.size++;
        struct fold_txn *t = fold_txn_begin(v->catalog);
        fold_inode_store(t, &root);
        commit(t);
        if (synced)
            assert_int_equal(fold_store_sync(v->store), 0);
    }
    assert_int_equal(fold_volume_close(v, false), 0);
}

/* Writes `len` bytes of `what` to segment 2; at -1: to its end. */
static void overwrite(off_t at, uint8_t what, size_t len)
{
    char path[200];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/segments/00000002.seg", base);
    int fd = open(path, O_RDWR);
    assert_int_equal(fstat(fd, &st), 0);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(pwrite(fd, &what, 1, (at < 0 ? st.st_size : at) + (off_t)i), 1);
    close(fd);
}

/* A note, no error; so it is mounted; nothing to note after that. */
static void expect_ordinary(void)
{
    struct fold_check_result r = check(false, true);
    show(&r);
    assert_int_equal(r.errors, 0);
    assert_true(has(&r, "segment.torn"));
    fold_check_free(&r);
    assert_int_equal(fold_volume_close(open_volume(), true), 0);
    r = check(false, true);
    show(&r);
    assert_int_equal(r.count, 0);
    fold_check_free(&r);
}

static void test_cut_seal(void **state)
{
    leave_open_segment(true);
    overwrite(-1, 0x5a, 700); /* a table of which some sectors are there */
    overwrite(-1, 0, 512);
    overwrite(-1, 0x5a, 212);
    expect_ordinary();
    teardown(state);
    setup(state);
}

static void test_torn_header(void **state)
{
    for (off_t copy = 0; copy <= 2048; copy += 2048) {
        leave_open_segment(false);
        overwrite(copy, 0, 512);
        expect_ordinary();
        teardown(state);
        setup(state);
    }
    /* Of a header that was synced nothing is torn; and torn bytes are not wrong ones. */
    for (int synced = 0; synced <= 1; synced++) {
        leave_open_segment(synced);
        overwrite(2048, synced ? 0 : 0x5a, 512);
        expect_repaired("segment.header");
        teardown(state);
        setup(state);
    }
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
        cmocka_unit_test_setup_teardown(test_superblock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_twin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unbegun_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_seal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_header, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recipe, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_use, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
