/* SPDX-License-Identifier: MIT */
/*
 * What files take, against a plain count over a model: files made of chunks drawn from a small
 * pool, in a tree with directories, several names and holes, measured in one round and in many.
 */
#include "meta/dentry.h"
#include "meta/inode.h"
#include "meta/recipe.h"
#include "meta/usage.h"
#include "meta/volume.h"
#include "tests/support/random.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#define POOL     300u
#define FILES    60u
#define PER_FILE 50u
#define LEN      4096u
#define FIRST    1000u /* inode number of the first file */
#define DIRS     100u  /* of the first of the two directories */

struct model {
    char path[64];
    struct fold_volume *v;
    struct fold_loc loc[POOL];
    uint32_t bytes[POOL];            /* of the record */
    uint32_t chunk[FILES][PER_FILE]; /* POOL: a hole */
};

static struct model m;

static uint64_t next_random(void)
{
    static uint64_t x = 88172645463325252u;
    return rig_random(&x);
}

static void open_volume(void)
{
    struct fold_volume_options opt = {
        .store = {.segment_bytes = 256u << 10, .fp_width = 16, .appenders = 1}};
    assert_int_equal(fold_volume_open(m.path, &opt, &m.v), 0);
}

static void make_chunks(void)
{
    uint8_t raw[LEN];
    for (uint32_t i = 0; i < POOL; i++) {
        for (size_t k = 0; k < LEN; k++)
            raw[k] = (uint8_t)next_random();
        uint32_t len = LEN - i;
        struct fold_put put = {.data = raw, .len = len, .fp = {{i + 1, i * 77 + 5, 0, 0}}};
        assert_int_equal(fold_store_put(m.v->store, &put, 1), 0);
        m.loc[i] = put.loc;
        m.bytes[i] = (48 + len + 15) & ~15u; /* nothing here compresses */
    }
}

static void make_file(struct fold_txn *t, uint32_t n)
{
    struct fold_page page = {0};
    struct fold_attr attr = {.ino = FIRST + n, .mode = S_IFREG | 0600, .nlink = 1};
    for (uint32_t i = 0; i < PER_FILE; i++) {
        uint32_t c = (uint32_t)(next_random() % (POOL + POOL / 8));
        /* Half of the pool belongs to the first files only. */
        c = FOLD_MIN(n >= FILES / 2 ? c / 2 : c, POOL);
        m.chunk[n][i] = c;
        if (c == POOL)
            continue;
        struct fold_extent e = {
            .off = (uint64_t)i * LEN, .len = LEN - c, .loc = m.loc[c], .kind = FOLD_EXTENT_DATA};
        assert_int_equal(fold_page_insert(&page, &e), 0);
    }
    attr.size = PER_FILE * LEN;
    attr.mapped = fold_page_mapped(&page);
    fold_inode_store(t, &attr);
    assert_int_equal(fold_recipe_store(t, attr.ino, 0, &page), 0);
    fold_page_fini(&page);
}

/* The first half in one directory, the rest in the other; every tenth has a name in both. */
static void make_tree(void)
{
    for (uint32_t d = 0; d < 2; d++) {
        struct fold_txn *t = fold_txn_begin(m.v->catalog);
        struct fold_attr dir = {.ino = DIRS + d, .mode = S_IFDIR | 0700, .nlink = 2};
        char name[16];
        fold_lsn lsn;
        fold_inode_store(t, &dir);
        snprintf(name, sizeof name, "d%u", (unsigned)d);
        assert_int_equal(fold_dentry_store(t, FOLD_INO_ROOT, name, strlen(name), dir.ino, DT_DIR),
                         0);
        for (uint32_t n = 0; n < FILES; n++) {
            bool here = n / (FILES / 2) == d;
            if (here)
                make_file(t, n);
            snprintf(name, sizeof name, "f%u", (unsigned)n);
            if (here || n % 10 == 0)
                assert_int_equal(
                    fold_dentry_store(t, dir.ino, name, strlen(name), FIRST + n, DT_REG), 0);
            snprintf(name, sizeof name, "again%u", (unsigned)n);
            if (here && n % 3 == 0)
                assert_int_equal(
                    fold_dentry_store(t, dir.ino, name, strlen(name), FIRST + n, DT_REG), 0);
        }
        assert_int_equal(fold_txn_commit(t, &lsn), 0);
    }
}

static int setup(void **state)
{
    (void)state;
    snprintf(m.path, sizeof m.path, "%s/fold-usage-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(m.path));
    struct fold_volume_params p = {
        .chunker = 1, .hash = 1, .codec = FOLD_CODEC_NONE, .chunk_size = LEN};
    assert_int_equal(fold_volume_format(m.path, &p), 0);
    open_volume();
    make_chunks();
    make_tree();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[96];
    assert_int_equal(fold_volume_close(m.v, true), 0);
    snprintf(command, sizeof command, "rm -rf %s", m.path);
    return system(command);
}

/* The plain count for the files of `set`. */
static struct fold_usage expect(const bool set[FILES])
{
    struct fold_usage u = {0};
    for (uint32_t n = 0; n < FILES; n++) {
        u.files += set[n];
        u.size += set[n] ? PER_FILE * LEN : 0;
    }
    for (uint32_t c = 0; c < POOL; c++) {
        uint64_t in = 0, out = 0;
        for (uint32_t n = 0; n < FILES; n++)
            for (uint32_t i = 0; i < PER_FILE; i++)
                *(set[n] ? &in : &out) += m.chunk[n][i] == c;
        u.logical += in * (LEN - c);
        u.chunks += in > 0;
        u.raw += in > 0 ? LEN - c : 0;
        u.stored += in > 0 ? m.bytes[c] : 0;
        u.unique += in > 0 && out == 0 ? m.bytes[c] : 0;
    }
    return u;
}

static void assert_usage(const struct fold_usage *got, const bool set[FILES])
{
    struct fold_usage want = expect(set);
    assert_int_equal(got->files, want.files);
    assert_int_equal(got->size, want.size);
    assert_int_equal(got->logical, want.logical);
    assert_int_equal(got->chunks, want.chunks);
    assert_int_equal(got->raw, want.raw);
    assert_int_equal(got->stored, want.stored);
    assert_int_equal(got->unique, want.unique);
    assert_true(got->fragments > 0 && got->fragments <= want.files * PER_FILE);
}

static void measure_all(size_t table_chunks)
{
    const fold_ino from[] = {DIRS, DIRS + 1, FIRST + 7, 0, FIRST + FILES - 1, FIRST + 7};
    enum { N = FOLD_ARRAY_LEN(from) };
    struct fold_usage rows[N], total;
    struct fold_usage_options opt = {.table_chunks = table_chunks};
    assert_int_equal(fold_usage_measure(m.v->store, m.v->catalog, from, N, &opt, rows, &total), 0);
    bool set[FILES] = {false};
    for (uint32_t n = 0; n < FILES; n++)
        set[n] = n < FILES / 2 || n % 10 == 0;
    assert_usage(&rows[0], set);
    for (uint32_t n = 0; n < FILES; n++)
        set[n] = n >= FILES / 2 || n % 10 == 0;
    assert_usage(&rows[1], set);
    memset(set, 0, sizeof set);
    set[7] = true;
    assert_usage(&rows[2], set);
    assert_usage(&rows[5], set);
    set[7] = false;
    set[FILES - 1] = true;
    assert_usage(&rows[4], set);
    assert_int_equal(rows[3].files + rows[3].logical + rows[3].stored, 0);
    memset(set, 1, sizeof set);
    assert_usage(&total, set);
    assert_int_equal(total.unique, total.stored);
}

static void one_round(void **state)
{
    (void)state;
    measure_all(0);
}

static void many_rounds(void **state)
{
    (void)state;
    measure_all(7);
    measure_all(100);
}

static void sealed_segments(void **state)
{
    (void)state;
    assert_int_equal(fold_volume_close(m.v, true), 0);
    open_volume();
    measure_all(0);
}

static void the_root_is_everything(void **state)
{
    (void)state;
    const fold_ino root = FOLD_INO_ROOT;
    struct fold_usage row, total;
    struct fold_usage_options opt = {0};
    bool all[FILES];
    memset(all, 1, sizeof all);
    assert_int_equal(fold_usage_measure(m.v->store, m.v->catalog, &root, 1, &opt, &row, &total), 0);
    assert_usage(&row, all);
    opt.here_only = true;
    assert_int_equal(fold_usage_measure(m.v->store, m.v->catalog, &root, 1, &opt, &row, &total), 0);
    assert_int_equal(row.stored, expect(all).stored);
    assert_int_equal(row.unique, 0);
}

static bool yes(void *arg)
{
    (void)arg;
    return true;
}

static void errors(void **state)
{
    (void)state;
    const fold_ino missing = 4242, root = FOLD_INO_ROOT;
    struct fold_usage row, total;
    struct fold_usage_options opt = {0};
    assert_int_equal(fold_usage_measure(m.v->store, m.v->catalog, &missing, 1, &opt, &row, &total),
                     -ENOENT);
    opt.cancelled = yes;
    assert_int_equal(fold_usage_measure(m.v->store, m.v->catalog, &root, 1, &opt, &row, &total),
                     -ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_round),       cmocka_unit_test(many_rounds),
        cmocka_unit_test(sealed_segments), cmocka_unit_test(the_root_is_everything),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
