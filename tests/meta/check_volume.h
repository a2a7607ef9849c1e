/* SPDX-License-Identifier: MIT */
/*
 * A small volume to be damaged: root, directory `d` (inode 2) with file `f` (3), file `g` (4),
 * symbolic link `l` (5) with an attribute.
 */
#ifndef FOLD_TESTS_META_CHECK_VOLUME_H
#define FOLD_TESTS_META_CHECK_VOLUME_H

#include "meta/base/io.h"
#include "meta/base/log.h"
#include "meta/commit.h"
#include "meta/dentry.h"
#include "meta/inode.h"
#include "meta/recipe.h"
#include "meta/segfmt.h"
#include "meta/storeparts.h"
#include "meta/volume.h"
#include "meta/xattr.h"
#include "tests/meta/seeded.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define PER 8u

static char base[64];
static uint64_t features = FOLD_FEATURES_NEW; /* of the volume that `setup` makes */

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline struct fold_volume *open_volume(void)
{
    struct fold_volume_options opt = {.store = {.segment_bytes = 1u << 20}};
    struct fold_volume *v = NULL;
    assert_int_equal(fold_volume_open(base, &opt, &v), 0);
    return v;
}

static inline void commit(struct fold_txn *t)
{
    fold_lsn lsn;
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
}

static inline void add(struct fold_txn *t, fold_ino dir, const char *name, struct fold_attr a)
{
    fold_inode_store(t, &a);
    assert_int_equal(
        fold_dentry_store(t, dir, name, strlen(name), a.ino, (uint8_t)((a.mode & S_IFMT) >> 12)),
        0);
}

static inline void add_file(struct fold_volume *v, fold_ino dir, const char *name, fold_ino ino,
                            bool force)
{
    struct fold_page page = {0};
    put_chunks(v, &page, ino * 100, PER, force);
    struct fold_txn *t = fold_txn_begin(v->catalog);
    add(t, dir, name,
        (struct fold_attr){.ino = ino,
                           .mode = S_IFREG | 0644,
                           .nlink = 1,
                           .size = PER * CHUNK,
                           .mapped = PER * CHUNK});
    assert_int_equal(fold_recipe_store(t, ino, 0, &page), 0);
    fold_txn_count(t, 1, 0, 0, PER * CHUNK);
    commit(t);
    fold_page_fini(&page);
}

static inline int setup(void **state)
{
    (void)state;
    fold_log_set_level(FOLD_LOG_ERROR);
    (void)snprintf(base, sizeof base, "%s/fold-check-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(base));
    struct fold_volume_params p = {
        .chunker = 1, .hash = 1, .codec = 1, .chunk_size = CHUNK, .features = features};
    assert_int_equal(fold_volume_format(base, &p), 0);
    struct fold_volume *v = open_volume();
    for (int i = 0; i < 4; i++)
        (void)fold_catalog_new_ino(v->catalog);
    struct fold_txn *t = fold_txn_begin(v->catalog);
    add(t, 1, "d",
        (struct fold_attr){.ino = 2, .mode = S_IFDIR | 0755, .nlink = 2, .size = 1, .parent = 1});
    fold_txn_count(t, 0, 1, 0, 0);
    commit(t);
    add_file(v, 2, "f", 3, false);
    add_file(v, 1, "g", 4, false);
    t = fold_txn_begin(v->catalog);
    add(t, 1, "l",
        (struct fold_attr){
            .ino = 5, .mode = S_IFLNK | 0777, .nlink = 1, .size = 3, .flags = FOLD_INODE_XATTRS});
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

static inline int teardown(void **state)
{
    (void)state;
    (void)nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static inline void put_raw(struct fold_txn *t, enum fold_table table, uint64_t a, uint64_t b,
                           bool pair, const char *value)
{
    struct fold_key key;
    if (pair)
        fold_key_pair(&key, table, a, b);
    else
        fold_key_ino(&key, table, a);
    fold_kv_batch_put(t->batch, key.bytes, key.len, value, strlen(value));
}

#endif
