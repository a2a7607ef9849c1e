/* SPDX-License-Identifier: MIT */
/*
 * The key-value skin: reading, writing, iterating, table files, flushing, and what is lost without
 * a flush.
 */
#include "tests/meta/catalog_rig.h"

#include <dirent.h>
#include <sched.h>
#include <sys/mount.h>

struct place {
    char path[64];
    int fd;
    struct fold_kv *kv;
};

static const struct fold_kv_options options = {.create = true,
                                               .filter = FOLD_KV_FILTER_RIBBON,
                                               .filter_bits = 10,
                                               .lz4 = true,
                                               .partitioned = true};

static void setup(struct place *p)
{
    rig_temp(p->path);
    p->fd = open(p->path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(fold_kv_open(p->fd, "db", &options, &p->kv), 0);
}

static void reopen(struct place *p, bool read_only)
{
    fold_kv_close(p->kv);
    struct fold_kv_options opt = options;
    opt.create = false;
    opt.read_only = read_only;
    assert_int_equal(fold_kv_open(p->fd, "db", &opt, &p->kv), 0);
}

static void teardown(struct place *p)
{
    fold_kv_close(p->kv);
    close(p->fd);
    rig_remove_tree(p->path);
}

static void put(struct place *p, const char *key, const char *val)
{
    struct fold_kv_batch *b = fold_kv_batch_create();
    fold_kv_batch_put(b, key, strlen(key), val, strlen(val));
    assert_int_equal(fold_kv_write(p->kv, b), 0);
    fold_kv_batch_destroy(b);
}

static void expect(struct place *p, const char *key, const char *val)
{
    struct fold_kv_value v;
    int rc = fold_kv_get(p->kv, key, strlen(key), &v);
    if (val == NULL) {
        assert_int_equal(rc, -ENOENT);
        return;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(v.len, strlen(val));
    assert_memory_equal(v.data, val, v.len);
    fold_kv_value_fini(&v);
}

static void batches_apply_in_order(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    put(&p, "k3", "old");
    struct fold_kv_batch *b = fold_kv_batch_create();
    fold_kv_batch_put(b, "k1", 2, "a", 1);
    fold_kv_batch_put(b, "k2", 2, "b", 1);
    fold_kv_batch_delete(b, "k1", 2);
    fold_kv_batch_delete_range(b, "k3", 2, "k9", 2);
    fold_kv_batch_put(b, "k4", 2, "", 0);
    assert_int_equal(fold_kv_batch_count(b), 5);
    assert_int_equal(fold_kv_write(p.kv, b), 0);
    fold_kv_batch_clear(b);
    assert_int_equal(fold_kv_batch_count(b), 0);
    fold_kv_batch_destroy(b);
    expect(&p, "k1", NULL);
    expect(&p, "k2", "b");
    expect(&p, "k3", NULL);
    expect(&p, "k4", "");
    teardown(&p);
}

static void only_flushed_data_stays(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    put(&p, "a", "1");
    assert_int_equal(fold_kv_flush(p.kv, false), 0);
    put(&p, "b", "2");
    assert_int_equal(fold_kv_flush_wait(p.kv), 0);
    assert_true(fold_kv_live_bytes(p.kv) > 0);
    expect(&p, "b", "2");
    reopen(&p, false);
    expect(&p, "a", "1");
    expect(&p, "b", NULL);
    put(&p, "c", "3");
    assert_int_equal(fold_kv_flush(p.kv, true), 0);
    reopen(&p, true);
    expect(&p, "c", "3");
    teardown(&p);
}

static void iterators_keep_to_bounds_and_snapshot(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    char key[16];
    for (int i = 0; i < 50; i++) {
        (void)snprintf(key, sizeof key, "k%02d", i);
        put(&p, key, key);
    }
    struct fold_kv_iter *it;
    struct fold_kv_entry e;
    assert_int_equal(fold_kv_iter_open(p.kv, "k10", 3, "k20", 3, true, &it), 0);
    put(&p, "k15x", "late");
    for (int i = 10; i < 20; i++) {
        (void)snprintf(key, sizeof key, "k%02d", i);
        assert_int_equal(fold_kv_iter_next(it, &e), 1);
        assert_int_equal(e.key_len, 3);
        assert_memory_equal(e.key, key, 3);
    }
    assert_int_equal(fold_kv_iter_next(it, &e), 0);
    assert_int_equal(fold_kv_iter_next(it, &e), 0);
    assert_int_equal(fold_kv_iter_seek(it, "k15", 3, &e), 1);
    assert_memory_equal(e.val, "k15", 3);
    assert_int_equal(fold_kv_iter_next(it, &e), 1);
    assert_memory_equal(e.val, "k16", 3);
    fold_kv_iter_close(it);
    assert_int_equal(fold_kv_iter_open(p.kv, NULL, 0, NULL, 0, false, &it), 0);
    int n = 0;
    while (fold_kv_iter_next(it, &e) > 0)
        n++;
    assert_int_equal(n, 51);
    fold_kv_iter_close(it);
    teardown(&p);
}

static void table_files_hide_what_is_older(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    put(&p, "a", "old");
    put(&p, "b", "old");
    put(&p, "c", "old");
    static const char *const names[] = {"one.sst", "two.sst"};
    struct fold_kv_sst *s;
    uint64_t bytes = 0;
    assert_int_equal(fold_kv_sst_create(p.kv, p.fd, names[0], &s), 0);
    assert_int_equal(fold_kv_sst_put(s, "a", 1, "new", 3), 0);
    assert_int_equal(fold_kv_sst_delete(s, "b", 1), 0);
    assert_true(fold_kv_sst_put(s, "a", 1, "again", 5) < 0);
    assert_int_equal(fold_kv_sst_finish(s, &bytes), 0);
    assert_true(bytes > 0);
    fold_kv_sst_destroy(s);
    assert_int_equal(fold_kv_sst_create(p.kv, p.fd, names[1], &s), 0);
    assert_int_equal(fold_kv_sst_put(s, "d", 1, "more", 4), 0);
    assert_int_equal(fold_kv_sst_finish(s, &bytes), 0);
    fold_kv_sst_destroy(s);
    assert_int_equal(fold_kv_ingest(p.kv, p.fd, names, 2), 0);
    (void)unlinkat(p.fd, names[0], 0);
    (void)unlinkat(p.fd, names[1], 0);
    for (int i = 0; i < 2; i++) {
        expect(&p, "a", "new");
        expect(&p, "b", NULL);
        expect(&p, "c", "old");
        expect(&p, "d", "more");
        if (i == 0)
            reopen(&p, false);
    }
    struct fold_kv_merge *m;
    assert_int_equal(fold_kv_merge_start(p.kv, &m), 0);
    assert_int_equal(fold_kv_merge_wait(m, NULL, NULL), 0);
    expect(&p, "a", "new");
    expect(&p, "b", NULL);
    teardown(&p);
}

static void values_outlive_later_writes(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    put(&p, "a", "first");
    struct fold_kv_value v;
    assert_int_equal(fold_kv_get(p.kv, "a", 1, &v), 0);
    put(&p, "a", "other");
    assert_int_equal(fold_kv_flush(p.kv, true), 0);
    assert_memory_equal(v.data, "first", 5);
    fold_kv_value_fini(&v);
    fold_kv_value_fini(&v);
    teardown(&p);
}

static void checkpoints_are_databases(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    put(&p, "a", "1");
    assert_int_equal(fold_kv_flush(p.kv, true), 0);
    assert_int_equal(fold_kv_checkpoint(p.kv, p.fd, "copy"), 0);
    put(&p, "a", "2");
    struct place q = {.fd = p.fd};
    struct fold_kv_options opt = {.read_only = true};
    assert_int_equal(fold_kv_open(p.fd, "copy", &opt, &q.kv), 0);
    expect(&q, "a", "1");
    fold_kv_close(q.kv);
    teardown(&p);
}

static void opening_says_what_is_wrong(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    struct fold_kv *kv = NULL;
    struct fold_kv_options opt = {0};
    assert_true(fold_kv_open(p.fd, "absent", &opt, &kv) < 0);
    assert_null(kv);
    put(&p, "a", "1");
    assert_int_equal(fold_kv_flush(p.kv, true), 0);
    fold_kv_close(p.kv);
    p.kv = NULL;
    char name[64] = "db/";
    int fd = openat(p.fd, "db/CURRENT", O_RDONLY);
    assert_true(read(fd, name + 3, sizeof name - 4) > 9);
    close(fd);
    *strchr(name, '\n') = '\0';
    fd = openat(p.fd, name, O_WRONLY);
    assert_int_equal(pwrite(fd, "junk", 4, 10), 4);
    close(fd);
    assert_true(fold_kv_open(p.fd, "db", &opt, &kv) < 0);
    teardown(&p);
}

static int refuse(void *arg, enum fold_kv_op op)
{
    return op == *(enum fold_kv_op *)arg ? -ENOSPC : 0;
}

static void every_operation_can_be_made_to_fail(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    struct fold_kv_value v;
    struct fold_kv_iter *it;
    struct fold_kv_sst *s;
    struct fold_kv *kv;
    struct fold_kv_batch *b = fold_kv_batch_create();
    static const char *const names[] = {"x.sst"};
    for (enum fold_kv_op op = 0; op < FOLD_KV_OPS; op++) {
        fold_kv_set_fault(refuse, &op);
        int rc = op == FOLD_KV_OPEN     ? fold_kv_open(p.fd, "other", &options, &kv)
                 : op == FOLD_KV_GET    ? fold_kv_get(p.kv, "a", 1, &v)
                 : op == FOLD_KV_WRITE  ? fold_kv_write(p.kv, b)
                 : op == FOLD_KV_FLUSH  ? fold_kv_flush(p.kv, true)
                 : op == FOLD_KV_ITER   ? fold_kv_iter_open(p.kv, NULL, 0, NULL, 0, false, &it)
                 : op == FOLD_KV_SST    ? fold_kv_sst_create(p.kv, p.fd, "x.sst", &s)
                 : op == FOLD_KV_INGEST ? fold_kv_ingest(p.kv, p.fd, names, 1)
                                        : fold_kv_checkpoint(p.kv, p.fd, "c");
        assert_int_equal(rc, -ENOSPC);
    }
    fold_kv_set_fault(NULL, NULL);
    fold_kv_batch_destroy(b);
    teardown(&p);
}

/* Puts 2000 fresh keys, 2 MB that do not compress, and has them written to disk. */
static int write_two_megabytes(struct place *p)
{
    static uint8_t value[1024];
    static uint64_t dice = 88172645463325252u;
    static unsigned next;
    struct fold_kv_batch *b = fold_kv_batch_create();
    for (int i = 0; i < 2000; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%07u", next++ * 7919u % 1000003u);
        for (size_t k = 0; k < sizeof value; k += 8)
            memcpy(value + k, &(uint64_t){rig_random(&dice)}, 8);
        fold_kv_batch_put(b, key, 7, value, sizeof value);
    }
    int rc = fold_kv_write(p->kv, b);
    fold_kv_batch_destroy(b);
    if (rc == 0)
        rc = fold_kv_flush(p->kv, false);
    return rc == 0 ? fold_kv_flush_wait(p->kv) : rc;
}

/* Merging in the background ran out of space once: flushes that reach the disk are no failures. */
static void a_failed_merge_is_got_over(void **state)
{
    (void)state;
    struct place p;
    rig_temp(p.path);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_SLAVE, NULL) != 0 ||
        mount("tmpfs", p.path, "tmpfs", 0, "size=24m") != 0) {
        rig_remove_tree(p.path);
        skip(); /* only the superuser can make a small filesystem */
    }
    p.fd = open(p.path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(fold_kv_open(p.fd, "db", &options, &p.kv), 0);
    int ballast = openat(p.fd, "ballast", O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < 4; i++) {
        if (i == 3) /* the fourth file starts a merge, for which there is no room */
            assert_int_equal(fallocate(ballast, 0, 0, 12 << 20), 0);
        assert_int_equal(write_two_megabytes(&p), 0);
    }
    for (int i = 0; i < 1000 && fold_kv_property(p.kv, "rocksdb.background-errors") == 0; i++)
        (void)usleep(10000);
    assert_true(fold_kv_property(p.kv, "rocksdb.background-errors") > 0);
    assert_int_equal(ftruncate(ballast, 0), 0);
    assert_int_equal(write_two_megabytes(&p), 0);
    close(ballast);
    fold_kv_close(p.kv);
    close(p.fd);
    assert_int_equal(umount2(p.path, MNT_DETACH), 0);
    rig_remove_tree(p.path);
}

static unsigned table_files(const struct place *p)
{
    char path[128];
    unsigned n = 0;
    (void)snprintf(path, sizeof path, "%s/db", p->path);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        n += strstr(e->d_name, ".sst") != NULL;
    closedir(d);
    return n;
}

static bool at_once(void *arg)
{
    (void)arg;
    return true;
}

/* What is given up is done by the next one. */
static void a_merge_can_be_given_up(void **state)
{
    (void)state;
    static char value[64 << 10];
    char key[16];
    struct place p;
    struct fold_kv_options opt = options;
    opt.no_compaction = true;
    rig_temp(p.path);
    p.fd = open(p.path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(fold_kv_open(p.fd, "db", &opt, &p.kv), 0);
    uint64_t x = 1;
    for (int i = 0; i < 800; i++) {
        for (size_t k = 0; k + 8 <= sizeof value; k += 8) {
            x = x * UINT64_C(6364136223846793005) + 1;
            memcpy(value + k, &x, 8);
        }
        struct fold_kv_batch *b = fold_kv_batch_create();
        (void)snprintf(key, sizeof key, "%08x", (unsigned)i * 2654435761u);
        fold_kv_batch_put(b, key, 8, value, sizeof value);
        assert_int_equal(fold_kv_write(p.kv, b), 0);
        fold_kv_batch_destroy(b);
        if (i % 200 == 199)
            assert_int_equal(fold_kv_flush(p.kv, true), 0);
    }
    struct fold_kv_merge *m;
    assert_int_equal(fold_kv_merge_start(p.kv, &m), 0);
    assert_int_equal(fold_kv_merge_wait(m, at_once, NULL), -ECANCELED);
    assert_true(table_files(&p) >= 4);
    assert_int_equal(fold_kv_merge_start(p.kv, &m), 0);
    assert_int_equal(fold_kv_merge_wait(m, NULL, NULL), 0);
    for (int i = 0; i < 2000 && table_files(&p) > 2; i++)
        (void)usleep(5000);
    assert_true(table_files(&p) <= 2);
    teardown(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_apply_in_order),
        cmocka_unit_test(only_flushed_data_stays),
        cmocka_unit_test(iterators_keep_to_bounds_and_snapshot),
        cmocka_unit_test(table_files_hide_what_is_older),
        cmocka_unit_test(values_outlive_later_writes),
        cmocka_unit_test(checkpoints_are_databases),
        cmocka_unit_test(opening_says_what_is_wrong),
        cmocka_unit_test(every_operation_can_be_made_to_fail),
        cmocka_unit_test(a_failed_merge_is_got_over),
        cmocka_unit_test(a_merge_can_be_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
