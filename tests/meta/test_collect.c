/* SPDX-License-Identifier: MIT */
/*
 * The collector ended after each of its steps, as by the death of the process: the volume opens
 * again and every chunk that a recipe names is there with its bytes; the next collection finishes
 * the work. ctest-labels: crash
 */
#include "meta/base/gate.h"
#include "meta/collect.h"
#include "meta/inode.h"
#include "meta/recipe.h"
#include "meta/volume.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define CHUNK   16384u
#define PER_INO 40u
#define INODES  60u
#define STEPS   6u

static char base[64];

static void fill(uint8_t *p, uint32_t seed)
{
    uint64_t x = seed * 0x9E3779B97F4A7C15ull + 1;
    for (uint32_t i = 0; i < CHUNK; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(p + i, &x, 8);
    }
}

static struct fold_fp fp_of(uint32_t seed)
{
    return (struct fold_fp){{seed * 0xD6E8FEB86659FD93ull + 7, seed + 1000, 0, 0}};
}

static struct fold_volume *open_volume(void)
{
    struct fold_volume_options opt = {.store = {.segment_bytes = 2u << 20, .fp_width = 16}};
    struct fold_volume *v = NULL;
    assert_int_equal(fold_volume_open(base, &opt, &v), 0);
    return v;
}

static void write_file(struct fold_volume *v, fold_ino ino, uint32_t first_seed)
{
    static uint8_t bytes[CHUNK];
    struct fold_page page = {0};
    for (uint32_t i = 0; i < PER_INO; i++) {
        fill(bytes, first_seed + i);
        struct fold_put put = {.data = bytes, .len = CHUNK, .fp = fp_of(first_seed + i)};
        assert_int_equal(fold_store_put(v->store, &put, 1), 0);
        struct fold_extent e = {
            .off = (uint64_t)i * CHUNK, .len = CHUNK, .loc = put.loc, .kind = FOLD_EXTENT_DATA};
        assert_int_equal(fold_page_insert(&page, &e), 0);
    }
    struct fold_txn *t = fold_txn_begin(v->catalog);
    struct fold_attr attr = {
        .ino = ino, .mode = S_IFREG | 0600, .nlink = 1, .size = PER_INO * CHUNK};
    fold_inode_store(t, &attr);
    assert_int_equal(fold_recipe_store(t, ino, 0, &page), 0);
    fold_lsn lsn;
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
    fold_page_fini(&page);
}

static void remove_file(struct fold_volume *v, fold_ino ino)
{
    struct fold_txn *t = fold_txn_begin(v->catalog);
    fold_inode_remove(t, ino);
    fold_recipe_drop(t, ino, 0, UINT64_MAX);
    fold_lsn lsn;
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
}

static bool kept(fold_ino ino)
{
    return ino % 3 == 0;
}

static void check_kept(struct fold_volume *v)
{
    static uint8_t want[CHUNK], got[CHUNK];
    for (fold_ino ino = 2; ino < 2 + INODES; ino++) {
        struct fold_page page = {0};
        assert_int_equal(fold_recipe_load(v->catalog, ino, 0, &page), 0);
        assert_int_equal(page.count, kept(ino) ? PER_INO : 0);
        for (uint32_t i = 0; i < page.count; i++) {
            struct fold_view view;
            assert_int_equal(fold_store_view(v->store, page.extents[i].loc, &view), 0);
            assert_int_equal(view.raw_len, CHUNK);
            assert_int_equal(fold_store_decode(v->store, &view, got), 0);
            fold_store_unview(v->store, &view);
            fill(want, (uint32_t)ino * PER_INO + i);
            assert_memory_equal(got, want, CHUNK);
        }
        fold_page_fini(&page);
    }
}

static int die_at(void *arg, unsigned step)
{
    if (step == *(const unsigned *)arg)
        _exit(77);
    return 0;
}

static int collect(struct fold_volume *v, unsigned *stop_at, struct fold_collect_result *r)
{
    struct fold_gate *gate;
    assert_int_equal(fold_gate_create(&gate), 0);
    struct fold_collect_options opt = {
        .full = true, .arg = stop_at, .step = stop_at != NULL ? die_at : NULL};
    int rc = fold_collect_run(v->store, v->catalog, gate, &opt, r);
    fold_gate_destroy(gate);
    return rc;
}

static uint64_t host_bytes(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/segments", base);
    DIR *d = opendir(path);
    assert_non_null(d);
    uint64_t sum = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            sum += (uint64_t)st.st_size;
    }
    closedir(d);
    return sum;
}

static void prepare(void)
{
    char command[160];
    snprintf(base, sizeof base, "/var/tmp/fold-collect-%d", (int)getpid());
    snprintf(command, sizeof command, "rm -rf %s", base);
    assert_int_equal(system(command), 0);
    struct fold_volume_params p = {
        .chunker = 1, .hash = 1, .codec = FOLD_CODEC_NONE, .chunk_size = CHUNK};
    assert_int_equal(fold_volume_format(base, &p), 0);
    struct fold_volume *v = open_volume();
    for (fold_ino ino = 2; ino < 2 + INODES; ino++)
        write_file(v, ino, (uint32_t)ino * PER_INO);
    for (fold_ino ino = 2; ino < 2 + INODES; ino++)
        if (!kept(ino))
            remove_file(v, ino);
    assert_int_equal(fold_volume_close(v, true), 0);
}

static void clean_up(void)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s", base);
    assert_int_equal(system(command), 0);
}

static void death_at_each_step(void **state)
{
    (void)state;
    for (unsigned stop = 1; stop <= STEPS; stop++) {
        prepare();
        uint64_t before = host_bytes();
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct fold_volume *v = open_volume();
            struct fold_collect_result r;
            _exit(collect(v, &stop, &r) == 0 ? 1 : 2); /* not reached: it dies at the step */
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 77);
        struct fold_volume *v = open_volume();
        check_kept(v);
        struct fold_collect_result r;
        assert_int_equal(collect(v, NULL, &r), 0);
        check_kept(v);
        assert_int_equal(fold_volume_close(v, true), 0);
        assert_true(host_bytes() < before / 2);
        v = open_volume();
        check_kept(v);
        assert_int_equal(fold_volume_close(v, true), 0);
        clean_up();
    }
}

static void what_goes_is_not_found_what_stays_is(void **state)
{
    (void)state;
    prepare();
    struct fold_volume *v = open_volume();
    struct fold_gate *gate;
    assert_int_equal(fold_gate_create(&gate), 0);
    struct fold_collect_result r;
    struct fold_collect_options opt = {.full = true};
    struct fold_fp fp = fp_of(2 * PER_INO);
    const struct fold_fp *fps[] = {&fp};
    struct fold_loc loc;
    enum fold_hit hit;
    assert_int_equal(fold_store_find(v->store, fps, 1, true, &loc, &hit), 0);
    assert_int_not_equal(hit, FOLD_HIT_NONE);
    /* Without a recipe it goes; afterwards it is not found any more. */
    assert_int_equal(fold_collect_run(v->store, v->catalog, gate, &opt, &r), 0);
    assert_int_equal(fold_store_find(v->store, fps, 1, true, &loc, &hit), 0);
    assert_int_equal(hit, FOLD_HIT_NONE);
    /* What is kept is found, at its new place. */
    fp = fp_of(3 * PER_INO);
    assert_int_equal(fold_store_find(v->store, fps, 1, true, &loc, &hit), 0);
    assert_int_not_equal(hit, FOLD_HIT_NONE);
    fold_gate_destroy(gate);
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
}

/* A writer that finds a dead chunk after the marking and names it in a recipe before the files go.
 */
struct revive {
    struct fold_volume *v;
    struct fold_gate *gate;
    bool found;
};

static int revive_at(void *arg, unsigned step)
{
    struct revive *w = arg;
    if (step != 2)
        return 0;
    unsigned token = fold_gate_enter(w->gate);
    struct fold_page page = {0};
    for (uint32_t i = 0; i < PER_INO; i++) {
        struct fold_fp fp = fp_of(2 * PER_INO + i);
        const struct fold_fp *fps[] = {&fp};
        struct fold_loc loc;
        enum fold_hit hit;
        assert_int_equal(fold_store_find(w->v->store, fps, 1, true, &loc, &hit), 0);
        w->found = hit != FOLD_HIT_NONE;
        struct fold_extent e = {
            .off = (uint64_t)i * CHUNK, .len = CHUNK, .loc = loc, .kind = FOLD_EXTENT_DATA};
        assert_int_equal(fold_page_insert(&page, &e), 0);
    }
    struct fold_txn *t = fold_txn_begin(w->v->catalog);
    assert_int_equal(fold_recipe_store(t, 500, 0, &page), 0);
    fold_lsn lsn;
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
    fold_page_fini(&page);
    fold_gate_leave(w->gate, token);
    return 0;
}

static void a_writer_revives_a_dead_chunk(void **state)
{
    (void)state;
    prepare();
    struct revive w = {.v = open_volume()};
    assert_int_equal(fold_gate_create(&w.gate), 0);
    struct fold_collect_options opt = {.full = true, .arg = &w, .step = revive_at};
    struct fold_collect_result r;
    assert_int_equal(fold_collect_run(w.v->store, w.v->catalog, w.gate, &opt, &r), 0);
    assert_true(w.found);
    struct fold_page page = {0};
    static uint8_t want[CHUNK], got[CHUNK];
    assert_int_equal(fold_recipe_load(w.v->catalog, 500, 0, &page), 0);
    for (uint32_t i = 0; i < page.count; i++) {
        struct fold_view view;
        assert_int_equal(fold_store_view(w.v->store, page.extents[i].loc, &view), 0);
        assert_int_equal(fold_store_decode(w.v->store, &view, got), 0);
        fold_store_unview(w.v->store, &view);
        fill(want, 2 * PER_INO + i);
        assert_memory_equal(got, want, CHUNK);
    }
    fold_page_fini(&page);
    check_kept(w.v);
    fold_gate_destroy(w.gate);
    assert_int_equal(fold_volume_close(w.v, true), 0);
    clean_up();
}

static void numbers_never_come_back(void **state)
{
    (void)state;
    prepare();
    struct fold_volume *v = open_volume();
    for (fold_ino ino = 2; ino < 2 + INODES; ino++)
        if (kept(ino))
            remove_file(v, ino);
    struct fold_collect_result r;
    assert_int_equal(collect(v, NULL, &r), 0);
    assert_true(r.segments_removed > 10);
    assert_int_equal(fold_volume_close(v, true), 0);
    v = open_volume();
    uint8_t bytes[CHUNK];
    fill(bytes, 1);
    struct fold_put put = {.data = bytes, .len = CHUNK, .fp = fp_of(1)};
    assert_int_equal(fold_store_put(v->store, &put, 1), 0);
    assert_true(put.loc.seg > r.segments_removed);
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(death_at_each_step),
        cmocka_unit_test(what_goes_is_not_found_what_stays_is),
        cmocka_unit_test(a_writer_revives_a_dead_chunk),
        cmocka_unit_test(numbers_never_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
