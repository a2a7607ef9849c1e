/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the collector share: a volume of files of forty chunks each, of which some are
 * deleted, and what it takes to see whether the rest is whole.
 */
#ifndef FOLD_TESTS_META_COLLECT_RIG_H
#define FOLD_TESTS_META_COLLECT_RIG_H

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

static char base[64];

static inline void fill(uint8_t *p, uint32_t seed)
{
    uint64_t x = seed * 0x9E3779B97F4A7C15ull + 1;
    for (uint32_t i = 0; i < CHUNK; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(p + i, &x, 8);
    }
}

static inline struct fold_fp fp_of(uint32_t seed)
{
    return (struct fold_fp){{seed * 0xD6E8FEB86659FD93ull + 7, seed + 1000, 0, 0}};
}

static inline struct fold_volume *open_volume(void)
{
    struct fold_volume_options opt = {.store = {.segment_bytes = 2u << 20, .fp_width = 16}};
    struct fold_volume *v = NULL;
    assert_int_equal(fold_volume_open(base, &opt, &v), 0);
    return v;
}

static inline void write_file(struct fold_volume *v, fold_ino ino, uint32_t first_seed)
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

static inline void remove_file(struct fold_volume *v, fold_ino ino)
{
    struct fold_txn *t = fold_txn_begin(v->catalog);
    fold_inode_remove(t, ino);
    fold_recipe_drop(t, ino, 0, UINT64_MAX);
    fold_lsn lsn;
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
}

/* Which files stay. */
static bool (*kept)(fold_ino ino);

static inline void check_kept(struct fold_volume *v)
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

static inline int die_at(void *arg, unsigned step)
{
    if (step == *(const unsigned *)arg)
        _exit(77);
    return 0;
}

static inline int collect(struct fold_volume *v, bool full, unsigned *stop_at,
                          struct fold_collect_result *r)
{
    struct fold_gate *gate;
    assert_int_equal(fold_gate_create(&gate), 0);
    struct fold_collect_options opt = {
        .full = full, .arg = stop_at, .step = stop_at != NULL ? die_at : NULL};
    int rc = fold_collect_run(v->store, v->catalog, gate, &opt, r);
    fold_gate_destroy(gate);
    return rc;
}

static inline uint64_t host_bytes(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/segments", base);
    DIR *d = opendir(path);
    assert_non_null(d);
    uint64_t sum = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            sum += (uint64_t)st.st_blocks * 512;
    }
    closedir(d);
    return sum;
}

static inline void prepare(void)
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

static inline void clean_up(void)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s", base);
    assert_int_equal(system(command), 0);
}

#endif
