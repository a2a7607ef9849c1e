/* SPDX-License-Identifier: MIT */
/*
 * A power cut took bytes from a segment that the journal has: reading finds them without changing
 * the store, mounting puts them back.
 */
#include "tests/meta/check_rig.h"

struct snap {
    char path[200];
    uint8_t *bytes;
    size_t len;
};

/* The one unsealed segment: the newest. */
static void take(struct snap *s)
{
    char newest[32] = "";
    (void)snprintf(s->path, sizeof s->path, "%s/segments", base);
    DIR *d = opendir(s->path);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (fold_seg_name_parse(e->d_name) != 0 && strcmp(e->d_name, newest) > 0)
            (void)snprintf(newest, sizeof newest, "%.30s", e->d_name);
    closedir(d);
    (void)snprintf(s->path, sizeof s->path, "%s/segments/%s", base, newest);
    void *data;
    assert_int_equal(fold_io_slurp(AT_FDCWD, s->path, 64u << 20, &data, &s->len), 0);
    s->bytes = data;
}

static bool same(const struct snap *s)
{
    void *data;
    size_t len;
    assert_int_equal(fold_io_slurp(AT_FDCWD, s->path, 64u << 20, &data, &len), 0);
    bool equal = len == s->len && memcmp(data, s->bytes, len) == 0;
    free(data);
    return equal;
}

/* Stores one small file and syncs it. */
static void synced_file(struct fold_volume *v, const char *name, uint64_t seed)
{
    static uint8_t bytes[CHUNK];
    struct fold_page page = {0};
    fill(bytes, seed);
    struct fold_put put = {.data = bytes, .len = 1000, .fp = fp_of(seed)};
    assert_int_equal(fold_store_put(v->store, &put, 1), 0);
    struct fold_extent e = {.len = 1000, .loc = put.loc, .kind = FOLD_EXTENT_DATA};
    assert_int_equal(fold_page_insert(&page, &e), 0);
    fold_ino ino = fold_catalog_new_ino(v->catalog);
    struct fold_attr root;
    assert_int_equal(fold_inode_load(v->catalog, 1, &root), 0);
    root.size++;
    struct fold_txn *t = fold_txn_begin(v->catalog);
    fold_inode_store(t, &root);
    add(t, 1, name,
        (struct fold_attr){
            .ino = ino, .mode = S_IFREG | 0644, .nlink = 1, .size = 1000, .mapped = 1000});
    assert_int_equal(fold_recipe_store(t, ino, 0, &page), 0);
    fold_txn_count(t, 1, 0, 0, 1000);
    commit(t);
    fold_page_fini(&page);
    assert_int_equal(fold_catalog_sync(v->catalog, fold_catalog_lsn(v->catalog)), 0);
}

/* Two synced files, of the second of which the segment has nothing. */
static void cut_power(struct snap *s)
{
    struct fold_volume *v = open_volume();
    synced_file(v, "first", 900);
    take(s);
    synced_file(v, "second", 901);
    assert_false(same(s));
    assert_int_equal(fold_volume_close(v, false), 0);
    int fd = open(s->path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, s->bytes, s->len), (ssize_t)s->len);
    close(fd);
}

static void expect_second(struct fold_volume *v)
{
    static uint8_t want[CHUNK], got[CHUNK];
    struct fold_dentry d;
    struct fold_page page;
    struct fold_view view;
    fill(want, 901);
    assert_int_equal(fold_dentry_load(v->catalog, 1, "second", 6, &d), 0);
    assert_int_equal(fold_recipe_load(v->catalog, d.ino, 0, &page), 0);
    assert_int_equal(page.count, 1);
    assert_int_equal(fold_store_view(v->store, page.extents[0].loc, &view), 0);
    assert_int_equal(fold_store_decode(v->store, &view, got), 0);
    assert_memory_equal(want, got, 1000);
    fold_store_unview(v->store, &view);
    fold_page_fini(&page);
}

static void reading_sees_what_the_journal_has(void **state)
{
    (void)state;
    static const struct fold_volume_options ro = {.read_only = true};
    struct snap s;
    struct fold_volume *v;
    cut_power(&s);
    for (int turn = 0; turn < 2; turn++) {
        assert_int_equal(fold_volume_open(base, &ro, &v), 0);
        expect_second(v);
        assert_int_equal(fold_volume_close(v, false), 0);
        assert_true(same(&s));
    }
    expect_clean(true);
    assert_true(same(&s));
    v = open_volume();
    expect_second(v);
    assert_int_equal(fold_volume_close(v, true), 0);
    assert_false(same(&s));
    expect_clean(true);
    free(s.bytes);
}

static void repair_puts_it_back_first(void **state)
{
    (void)state;
    struct snap s;
    cut_power(&s);
    struct fold_check_result r = check(true, true);
    show(&r);
    assert_int_equal(r.errors, 0);
    fold_check_free(&r);
    struct fold_volume *v = open_volume();
    expect_second(v);
    assert_int_equal(fold_volume_close(v, true), 0);
    free(s.bytes);
}

static bool is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    bool empty = true;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        empty = empty && e->d_name[0] == '.';
    closedir(d);
    return empty;
}

/* Whatever a program that cleans up temporary directories takes away, nothing of it is ours. */
static void nothing_is_left_in_the_temporary_directory(void **state)
{
    (void)state;
    static const struct fold_volume_options ro = {.read_only = true};
    char tmp[] = "/tmp/foldfs-overlay-XXXXXX";
    struct snap s;
    struct fold_volume *v;
    cut_power(&s);
    assert_non_null(mkdtemp(tmp));
    assert_int_equal(setenv("TMPDIR", tmp, 1), 0);
    assert_int_equal(fold_volume_open(base, &ro, &v), 0);
    assert_true(is_empty(tmp));
    expect_second(v);
    assert_int_equal(fold_volume_close(v, false), 0);
    assert_true(same(&s));
    assert_int_equal(unsetenv("TMPDIR"), 0);
    assert_int_equal(rmdir(tmp), 0);
    v = open_volume();
    assert_int_equal(fold_volume_close(v, true), 0);
    free(s.bytes);
}

/* Nowhere to put a copy: refused, rather than shown without what was acknowledged. */
static void without_a_place_it_is_refused(void **state)
{
    (void)state;
    static const struct fold_volume_options ro = {.read_only = true};
    struct snap s;
    struct fold_volume *v;
    cut_power(&s);
    assert_int_equal(setenv("TMPDIR", "/nonexistent", 1), 0);
    fold_log_set_level((enum fold_log_level) - 1);
    assert_int_equal(fold_volume_open(base, &ro, &v), -ENOENT);
    assert_int_equal(unsetenv("TMPDIR"), 0);
    assert_int_equal(fold_volume_open(base, &ro, &v), 0);
    expect_second(v);
    assert_int_equal(fold_volume_close(v, false), 0);
    free(s.bytes);
}

/* Appends a record of three sectors to the MANIFEST of a database, of which sector `lost` is
 * missing. Returns its path. */
static void append_torn(const char *db, int lost, struct snap *s)
{
    char dir[100], name[32] = "";
    uint8_t record[1500];
    (void)snprintf(dir, sizeof dir, "%s/%s", base, db);
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (strncmp(e->d_name, "MANIFEST-", 9) == 0)
            (void)snprintf(name, sizeof name, "%.30s", e->d_name);
    closedir(d);
    (void)snprintf(s->path, sizeof s->path, "%s/%s", dir, name);
    int fd = open(s->path, O_RDWR);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    memset(record, 0x5a, sizeof record);
    record[4] = (sizeof record - 7) & 0xff;
    record[5] = (sizeof record - 7) >> 8;
    record[6] = 1;
    size_t first = 512 - (size_t)st.st_size % 512;
    size_t from = lost == 0 ? 0 : first + (size_t)(lost - 1) * 512;
    size_t to = FOLD_MIN(first + (size_t)lost * 512, sizeof record);
    memset(record + from, 0, to - from);
    assert_int_equal(pwrite(fd, record, sizeof record, st.st_size), sizeof record);
    close(fd);
    void *data;
    assert_int_equal(fold_io_slurp(AT_FDCWD, s->path, 64u << 20, &data, &s->len), 0);
    s->bytes = data;
}

/* The volume can be read, with its index, and checked; nothing changes. */
static void reading_takes_no_offence_at_a_torn_manifest(void **state)
{
    static const struct fold_volume_options ro = {.read_only = true};
    static const char *const dbs[] = {"catalog", "index"};
    for (size_t i = 0; i < 2 * 3; i++) {
        struct snap cut, torn;
        cut_power(&cut);
        append_torn(dbs[i % 2], (int)i / 2, &torn);
        struct fold_volume *v;
        assert_int_equal(fold_volume_open(base, &ro, &v), 0);
        assert_non_null(v->store->index);
        expect_second(v);
        assert_int_equal(fold_volume_close(v, false), 0);
        expect_clean(true);
        assert_true(same(&torn));
        v = open_volume();
        expect_second(v);
        assert_int_equal(fold_volume_close(v, true), 0);
        expect_clean(true);
        free(cut.bytes);
        free(torn.bytes);
        teardown(state);
        setup(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reading_sees_what_the_journal_has, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_left_in_the_temporary_directory, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(repair_puts_it_back_first, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_place_it_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(reading_takes_no_offence_at_a_torn_manifest, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
