/* SPDX-License-Identifier: MIT */
/*
 * Databases whose CURRENT, MANIFEST or table files a power cut or a bad disk has taken: what can be
 * opened as it is, and what a repair brings back.
 */
#include "meta/manifest.h"
#include "meta/base/io.h"
#include "tests/meta/catalog_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static const struct fold_kv_options options = {.create = true, .lz4 = true};

struct place {
    char path[64];
    int fd; /* holds db/ */
    int db;
};

static struct fold_kv *open_db(struct place *p)
{
    struct fold_kv *kv = NULL;
    assert_int_equal(fold_kv_open(p->fd, "db", &options, &kv), 0);
    return kv;
}

static void put(struct fold_kv *kv, const char *key, const char *val)
{
    struct fold_kv_batch *b = fold_kv_batch_create();
    fold_kv_batch_put(b, key, strlen(key), val, strlen(val));
    assert_int_equal(fold_kv_write(kv, b), 0);
    fold_kv_batch_destroy(b);
    assert_int_equal(fold_kv_flush(kv, true), 0);
}

static bool has(struct fold_kv *kv, const char *key)
{
    struct fold_kv_value v;
    int rc = fold_kv_get(kv, key, strlen(key), &v);
    if (rc == 0)
        fold_kv_value_fini(&v);
    return rc == 0;
}

/* A database with two tables, closed. */
static void setup(struct place *p)
{
    rig_temp(p->path);
    p->fd = open(p->path, O_RDONLY | O_DIRECTORY);
    struct fold_kv *kv = open_db(p);
    put(kv, "a", "1");
    put(kv, "b", "2");
    fold_kv_close(kv);
    p->db = openat(p->fd, "db", O_RDONLY | O_DIRECTORY);
    assert_true(p->db >= 0);
}

static void teardown(struct place *p)
{
    close(p->db);
    close(p->fd);
    rig_remove_tree(p->path);
}

static void write_file(struct place *p, const char *name, const char *text, size_t len)
{
    int fd = openat(p->db, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, text, len), (ssize_t)len);
    close(fd);
}

/* First file of the database with that beginning and end. */
static void find(struct place *p, const char *start, const char *end, char name[64])
{
    int fd = dup(p->db);
    DIR *d = fdopendir(fd);
    rewinddir(d);
    name[0] = '\0';
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t n = strlen(e->d_name), m = strlen(end);
        if (strncmp(e->d_name, start, strlen(start)) == 0 && n >= m &&
            strcmp(e->d_name + n - m, end) == 0)
            (void)snprintf(name, 64, "%.60s", e->d_name);
    }
    closedir(d);
    assert_true(name[0] != '\0');
}

static void expect_whole(struct place *p)
{
    struct fold_kv *kv = open_db(p);
    assert_true(has(kv, "a"));
    assert_true(has(kv, "b"));
    put(kv, "c", "3");
    fold_kv_close(kv);
    kv = open_db(p);
    assert_true(has(kv, "c"));
    fold_kv_close(kv);
}

static void current_may_be_ahead_of_the_names(void **state)
{
    (void)state;
    static const char *const bad[] = {"MANIFEST-999999\n",
                                      "MANIFEST-",
                                      "\n",
                                      "MANIFEST-000004.old\n",
                                      "MANIFEST-99999999999999999999999\n",
                                      "junk",
                                      ""};
    for (size_t i = 0; i <= FOLD_ARRAY_LEN(bad); i++) {
        struct place p;
        setup(&p);
        if (i < FOLD_ARRAY_LEN(bad))
            write_file(&p, "CURRENT", bad[i], strlen(bad[i]));
        else
            assert_int_equal(unlinkat(p.db, "CURRENT", 0), 0);
        /* Beginnings of manifests that never were in use. */
        write_file(&p, "MANIFEST-000900", "", 0);
        write_file(&p, "MANIFEST-000901", "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
        write_file(&p, "MANIFEST-000902", "torn off", 8);
        write_file(&p, "MANIFEST-0x9999", "no manifest", 11);
        expect_whole(&p);
        teardown(&p);
    }
}

/* Appends a record of which the disk has the first sector only, or one that is damaged. */
static void append_bad(struct place *p, bool torn)
{
    uint8_t record[607];
    char name[64];
    struct stat st;
    find(p, "MANIFEST-", "", name);
    int fd = openat(p->db, name, O_RDWR);
    assert_int_equal(fstat(fd, &st), 0);
    memset(record, 0x5a, sizeof record);
    record[4] = 600 & 0xff; /* length, then type */
    record[5] = 600 >> 8;
    record[6] = 1;
    size_t kept = 512 - (size_t)st.st_size % 512;
    if (torn)
        memset(record + kept, 0, sizeof record - kept);
    assert_int_equal(pwrite(fd, record, sizeof record, st.st_size), sizeof record);
    close(fd);
}

static void a_torn_last_record_is_no_damage(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    append_bad(&p, true);
    expect_whole(&p);
    append_bad(&p, false);
    struct fold_kv *kv = NULL;
    assert_true(fold_kv_open(p.fd, "db", &options, &kv) < 0);
    teardown(&p);
}

struct bytes {
    uint8_t *at;
    size_t len;
};

static struct bytes read_manifest(struct place *p, char name[64])
{
    void *data;
    struct bytes b = {0};
    find(p, "MANIFEST-", "", name);
    assert_int_equal(fold_io_slurp(p->db, name, 1u << 20, &data, &b.len), 0);
    b.at = data;
    return b;
}

/* A third table, of which the names of its first and last key fill a record of over two sectors;
 * the record begins `shift` bytes later than with 0. */
static size_t third_table(struct place *p, size_t shift)
{
    char key[1400] = "b";
    char name[64];
    memset(key + 1, 'x', shift);
    static const struct fold_kv_options still = {.lz4 = true, .no_compaction = true};
    struct fold_kv *kv = NULL;
    assert_int_equal(fold_kv_open(p->fd, "db", &still, &kv), 0);
    put(kv, key, "2");
    struct bytes b = read_manifest(p, name);
    free(b.at);
    memset(key, 'c', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    put(kv, key, "3");
    fold_kv_close(kv);
    return b.len;
}

/* The MANIFEST with the sectors of [from, to) missing, which begin in `from`'s. The database opens,
 * with all but the third table. */
static void expect_mended(struct place *p, const char *name, const struct bytes *whole, size_t from,
                          size_t to)
{
    uint8_t *torn = malloc(whole->len);
    memcpy(torn, whole->at, whole->len);
    memset(torn + from, 0, to - from);
    write_file(p, name, (const char *)torn, whole->len);
    int look = fold_manifest_look(p->fd, "db");
    struct bytes after = read_manifest(p, (char[64]){0});
    assert_memory_equal(after.at, torn, whole->len);
    free(after.at);
    free(torn);
    assert_int_equal(look, 1);
    assert_int_equal(fold_manifest_mend(p->fd, "db"), 0);
    assert_int_equal(fold_manifest_look(p->fd, "db"), 0);
    static const struct fold_kv_options reading = {.read_only = true};
    struct fold_kv *kv = NULL;
    assert_int_equal(fold_kv_open(p->fd, "db", &reading, &kv), 0);
    assert_true(has(kv, "a"));
    assert_true(has(kv, "b"));
    fold_kv_close(kv);
}

/* All runs of sectors that may be missing of a record, wherever in a sector it begins. */
static void any_part_of_the_last_record_may_be_missing(void **state)
{
    (void)state;
    size_t start = 0;
    for (size_t shift = 0; shift < 512; shift += shift == 0 || (start + 12) % 512 < 16 ? 1 : 5) {
        struct place p;
        char name[64];
        setup(&p);
        start = third_table(&p, shift);
        struct bytes whole = read_manifest(&p, name);
        assert_true(whole.len - start > 1024);
        for (size_t from = start; from < whole.len; from = (from / 512 + 1) * 512)
            for (size_t to = (from / 512 + 1) * 512; to < whole.len + 512; to += 512)
                expect_mended(&p, name, &whole, from, FOLD_MIN(to, whole.len));
        free(whole.at);
        teardown(&p);
    }
}

/* A sector that is missing further in front is damage: what follows it was acknowledged. */
static void what_follows_is_not_cut_off(void **state)
{
    (void)state;
    struct place p;
    char name[64];
    setup(&p);
    size_t start = third_table(&p, 0);
    struct fold_kv *kv = open_db(&p); /* makes a new one, from the beginning */
    put(kv, "d", "4");
    fold_kv_close(kv);
    struct bytes b = read_manifest(&p, name);
    assert_true(start > 0 && b.len > 1024);
    memset(b.at + 512, 0, 512);
    write_file(&p, name, (char *)b.at, b.len);
    assert_int_equal(fold_manifest_look(p.fd, "db"), 0);
    free(b.at);
    teardown(&p);
}

static void what_is_good_is_left_alone(void **state)
{
    (void)state;
    struct place p;
    struct stat before, after;
    setup(&p);
    assert_int_equal(fstatat(p.db, "CURRENT", &before, 0), 0);
    assert_int_equal(fold_manifest_mend(p.fd, "db"), 0);
    assert_int_equal(fold_manifest_mend(-1, p.path), 0); /* no database at all */
    assert_int_equal(fold_manifest_mend(p.fd, "absent"), 0);
    assert_int_equal(fstatat(p.db, "CURRENT", &after, 0), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    teardown(&p);
}

static int refuse(void *arg, enum fold_io_op op, int fd, const char *name)
{
    (void)fd;
    (void)name;
    return op == *(enum fold_io_op *)arg ? -EIO : 0;
}

static void errors_of_the_host_are_told(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    assert_int_equal(unlinkat(p.db, "CURRENT", 0), 0);
    static const enum fold_io_op ops[] = {FOLD_IO_OPEN, FOLD_IO_WRITE, FOLD_IO_SYNC, FOLD_IO_RENAME,
                                          FOLD_IO_LIST};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(ops); i++) {
        enum fold_io_op op = ops[i];
        fold_io_set_fault(refuse, &op);
        int rc = fold_manifest_mend(p.fd, "db");
        fold_io_set_fault(NULL, NULL);
        assert_int_equal(rc, -EIO);
        (void)unlinkat(p.db, "CURRENT", 0);
    }
    expect_whole(&p);
    teardown(&p);
}

static void repair_brings_back_what_is_left(void **state)
{
    (void)state;
    for (int damage = 0; damage < 4; damage++) {
        struct place p;
        char name[64];
        setup(&p);
        find(&p, damage == 3 ? "" : "MANIFEST-", damage == 3 ? ".sst" : "", name);
        int fd = openat(p.db, name, O_RDWR);
        if (damage == 0)
            assert_int_equal(pwrite(fd, "flip", 4, 20), 4);
        else if (damage == 1)
            assert_int_equal(ftruncate(fd, 40), 0);
        else if (damage == 2)
            assert_int_equal(ftruncate(fd, 0), 0);
        else
            assert_int_equal(unlinkat(p.db, name, 0), 0);
        close(fd);
        struct fold_kv *kv = NULL;
        assert_true(fold_kv_open(p.fd, "db", &options, &kv) < 0);
        assert_int_equal(fold_kv_repair(p.fd, "db", &options), 0);
        kv = open_db(&p);
        assert_int_equal(has(kv, "a") + has(kv, "b"), damage == 3 ? 1 : 2);
        put(kv, "c", "3");
        fold_kv_close(kv);
        kv = open_db(&p);
        assert_true(has(kv, "c"));
        fold_kv_close(kv);
        teardown(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(current_may_be_ahead_of_the_names),
        cmocka_unit_test(a_torn_last_record_is_no_damage),
        cmocka_unit_test(any_part_of_the_last_record_may_be_missing),
        cmocka_unit_test(what_follows_is_not_cut_off),
        cmocka_unit_test(what_is_good_is_left_alone),
        cmocka_unit_test(errors_of_the_host_are_told),
        cmocka_unit_test(repair_brings_back_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
