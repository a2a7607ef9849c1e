/* SPDX-License-Identifier: MIT */
/*
 * Makes a store of many small chunks, for measuring how long a volume of that many takes to mount,
 * to check and to repair: 64 bytes a chunk, 4096 of them a segment as with 64 MiB segments and
 * chunks of 16 KiB, 1024 of them a file, 256 files a directory.
 *   fold_bench_ready STORE [THOUSANDS]      default 10000
 * mount_ready.py measures with it.
 */
#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/dentry.h"
#include "meta/inode.h"
#include "meta/recipe.h"
#include "meta/volume.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define CHUNK    64u
#define FILE_OF  1024u /* chunks */
#define DIR_OF   256u  /* files */
#define SEG_OF   4096u /* chunks */
#define SEG_SIZE (SEG_OF * 128u)

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static int add(struct fold_txn *t, fold_ino dir, const char *name, const struct fold_attr *a)
{
    fold_inode_store(t, a);
    return fold_dentry_store(t, dir, name, strlen(name), a->ino,
                             (uint8_t)((a->mode & S_IFMT) >> 12));
}

static int finish(struct fold_txn *t, int rc)
{
    fold_lsn lsn;
    if (rc == 0)
        return fold_txn_commit(t, &lsn);
    fold_txn_abort(t);
    return rc;
}

/* Stores the chunks of one file and fills its page. */
static int put_chunks(struct fold_volume *v, uint64_t file, struct fold_page *page)
{
    static uint8_t bytes[FILE_OF][CHUNK];
    static struct fold_put puts[FILE_OF];
    for (uint32_t i = 0; i < FILE_OF; i++) {
        uint64_t n = file * FILE_OF + i;
        for (uint32_t k = 0; k < CHUNK; k += 8) {
            uint64_t word = mix(n * (CHUNK / 8) + k / 8);
            memcpy(&bytes[i][k], &word, sizeof word);
        }
        puts[i] = (struct fold_put){
            .data = bytes[i], .len = CHUNK, .fp = {{mix(2 * n), mix(2 * n + 1), 0, 0}}};
    }
    int rc = fold_store_put(v->store, puts, FILE_OF);
    for (uint32_t i = 0; rc == 0 && i < FILE_OF; i++) {
        struct fold_extent e = {
            .off = (uint64_t)i * CHUNK, .len = CHUNK, .loc = puts[i].loc, .kind = FOLD_EXTENT_DATA};
        rc = fold_page_insert(page, &e);
    }
    return rc;
}

static int add_file(struct fold_volume *v, fold_ino dir, uint64_t file)
{
    char name[32];
    struct fold_page page = {0};
    int rc = put_chunks(v, file, &page);
    struct fold_txn *t = fold_txn_begin(v->catalog);
    struct fold_attr a = {.ino = fold_catalog_new_ino(v->catalog),
                          .mode = S_IFREG | 0644,
                          .nlink = 1,
                          .size = FILE_OF * CHUNK,
                          .mapped = FILE_OF * CHUNK};
    (void)snprintf(name, sizeof name, "f%llu", (unsigned long long)file);
    if (rc == 0)
        rc = add(t, dir, name, &a);
    if (rc == 0)
        rc = fold_recipe_store(t, a.ino, 0, &page);
    fold_txn_count(t, 1, 0, 0, FILE_OF * CHUNK);
    fold_page_fini(&page);
    return finish(t, rc);
}

static int add_directory(struct fold_volume *v, uint64_t number, uint64_t files, fold_ino *dir)
{
    char name[32];
    struct fold_attr root;
    int rc = fold_inode_load(v->catalog, FOLD_INO_ROOT, &root);
    if (rc < 0)
        return rc;
    root.nlink++;
    root.size++;
    struct fold_txn *t = fold_txn_begin(v->catalog);
    struct fold_attr a = {.ino = fold_catalog_new_ino(v->catalog),
                          .mode = S_IFDIR | 0755,
                          .nlink = 2,
                          .size = files,
                          .parent = FOLD_INO_ROOT};
    (void)snprintf(name, sizeof name, "d%llu", (unsigned long long)number);
    fold_inode_store(t, &root);
    rc = add(t, FOLD_INO_ROOT, name, &a);
    fold_txn_count(t, 0, 1, 0, 0);
    *dir = a.ino;
    return finish(t, rc);
}

static int fill(struct fold_volume *v, uint64_t files)
{
    int rc = 0;
    fold_ino dir = 0;
    for (uint64_t i = 0; rc == 0 && i < files; i++) {
        if (i % DIR_OF == 0)
            rc = add_directory(v, i / DIR_OF, FOLD_MIN(files - i, (uint64_t)DIR_OF), &dir);
        if (rc == 0)
            rc = add_file(v, dir, i);
    }
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        (void)fprintf(stderr, "usage: fold_bench_ready STORE [THOUSANDS]\n");
        return 2;
    }
    uint64_t files = (argc > 2 ? strtoull(argv[2], NULL, 10) : 10000) * 1000 / FILE_OF;
    struct fold_volume_params params = {
        .chunker = 1, .hash = 1, .codec = FOLD_CODEC_NONE, .chunk_size = 4096};
    struct fold_volume_options opt = {
        .store = {.segment_bytes = SEG_SIZE, .codec = FOLD_CODEC_NONE, .appenders = 1}};
    struct fold_volume *v;
    int rc = fold_volume_format(argv[1], &params);
    if (rc == 0)
        rc = fold_volume_open(argv[1], &opt, &v);
    if (rc == 0) {
        rc = fill(v, files);
        int closed = fold_volume_close(v, true);
        rc = rc < 0 ? rc : closed;
    }
    if (rc < 0)
        fold_error("%s: %s", argv[1], fold_err_text(rc));
    return rc < 0;
}
