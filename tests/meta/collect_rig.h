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
#include "tests/meta/seeded.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PER_INO 40u
#define INODES  60u

static char base[64];

static inline struct fold_volume *open_volume(void)
{
    struct fold_volume_options opt = {.store = {.segment_bytes = 2u << 20, .fp_width = 16}};
    struct fold_volume *v = NULL;
    assert_int_equal(fold_volume_open(base, &opt, &v), 0);
    return v;
}

static inline void write_file(struct fold_volume *v, fold_ino ino, uint32_t first_seed)
{
    struct fold_page page = {0};
    put_chunks(v, &page, first_seed, PER_INO, false);
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
    for (fold_ino ino = 2; ino < 2 + INODES; ino++) {
        struct fold_page page = {0};
        assert_int_equal(fold_recipe_load(v->catalog, ino, 0, &page), 0);
        assert_int_equal(page.count, kept(ino) ? PER_INO : 0);
        for (uint32_t i = 0; i < page.count; i++)
            check_chunk(v, page.extents[i].loc, ino * PER_INO + i);
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

/* A process that collects dies at step `stop`. */
static inline void collect_and_die(bool full, unsigned stop)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct fold_volume *v = open_volume();
        struct fold_collect_result r;
        _exit(collect(v, full, &stop, &r) == 0 ? 1 : 2); /* not reached */
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 77);
}

static inline bool find_chunk(struct fold_volume *v, uint64_t seed, struct fold_loc *loc)
{
    struct fold_fp fp = fp_of(seed);
    const struct fold_fp *fps[] = {&fp};
    enum fold_hit hit;
    assert_int_equal(fold_store_find(v->store, fps, 1, true, loc, &hit), 0);
    return hit != FOLD_HIT_NONE;
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
