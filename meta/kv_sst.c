/* SPDX-License-Identifier: MIT */
/* Table files made beside a database and taken in as a whole, and copies of one made of links. */
#include "meta/kvparts.h"

#include <errno.h>
#include <stdio.h>

struct fold_kv_sst {
    rocksdb_sstfilewriter_t *rep;
    rocksdb_envoptions_t *env;
};

int fold_kv_sst_create(struct fold_kv *kv, int dirfd, const char *name, struct fold_kv_sst **out)
{
    char path[FOLD_KV_PATH_BYTES];
    int rc = fold_kv_ask(FOLD_KV_SST);
    if (rc == 0)
        rc = fold_kv_path(dirfd, name, path);
    if (rc < 0)
        return rc;
    struct fold_kv_sst *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -ENOMEM;
    s->env = rocksdb_envoptions_create();
    s->rep = rocksdb_sstfilewriter_create(s->env, kv->options);
    char *message = NULL;
    rocksdb_sstfilewriter_open(s->rep, path, &message);
    if (message != NULL) {
        fold_kv_sst_destroy(s);
        return fold_kv_raise("table file", message);
    }
    *out = s;
    return 0;
}

int fold_kv_sst_put(struct fold_kv_sst *s, const void *key, size_t key_len, const void *val,
                    size_t val_len)
{
    int rc = fold_kv_ask(FOLD_KV_SST);
    if (rc < 0)
        return rc;
    char *message = NULL;
    rocksdb_sstfilewriter_put(s->rep, key, key_len, val, val_len, &message);
    return message != NULL ? fold_kv_raise("table file", message) : 0;
}

int fold_kv_sst_delete(struct fold_kv_sst *s, const void *key, size_t key_len)
{
    int rc = fold_kv_ask(FOLD_KV_SST);
    if (rc < 0)
        return rc;
    char *message = NULL;
    rocksdb_sstfilewriter_delete(s->rep, key, key_len, &message);
    return message != NULL ? fold_kv_raise("table file", message) : 0;
}

int fold_kv_sst_finish(struct fold_kv_sst *s, uint64_t *bytes)
{
    int rc = fold_kv_ask(FOLD_KV_SST);
    if (rc < 0)
        return rc;
    char *message = NULL;
    rocksdb_sstfilewriter_finish(s->rep, &message);
    if (message != NULL)
        return fold_kv_raise("table file", message);
    rocksdb_sstfilewriter_file_size(s->rep, bytes);
    return 0;
}

void fold_kv_sst_destroy(struct fold_kv_sst *s)
{
    if (s == NULL)
        return;
    rocksdb_sstfilewriter_destroy(s->rep);
    rocksdb_envoptions_destroy(s->env);
    free(s);
}

int fold_kv_ingest(struct fold_kv *kv, int dirfd, const char *const *names, size_t n)
{
    int rc = fold_kv_ask(FOLD_KV_INGEST);
    if (rc < 0 || n == 0)
        return rc;
    char **paths = calloc(n, sizeof *paths);
    if (paths == NULL)
        return -ENOMEM;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char path[FOLD_KV_PATH_BYTES];
        rc = fold_kv_path(dirfd, names[i], path);
        if (rc == 0 && (paths[i] = strdup(path)) == NULL)
            rc = -ENOMEM;
    }
    if (rc == 0) {
        rocksdb_ingestexternalfileoptions_t *o = rocksdb_ingestexternalfileoptions_create();
        rocksdb_ingestexternalfileoptions_set_move_files(o, 1);
        char *message = NULL;
        rocksdb_ingest_external_file(kv->db, (const char *const *)paths, n, o, &message);
        rocksdb_ingestexternalfileoptions_destroy(o);
        if (message != NULL)
            rc = fold_kv_raise("ingest", message);
    }
    for (size_t i = 0; i < n; i++)
        free(paths[i]);
    free(paths);
    return rc;
}

int fold_kv_checkpoint(struct fold_kv *kv, int dirfd, const char *name)
{
    char path[FOLD_KV_PATH_BYTES];
    int rc = fold_kv_ask(FOLD_KV_CHECKPOINT);
    if (rc == 0)
        rc = fold_kv_path(dirfd, name, path);
    if (rc < 0)
        return rc;
    char *message = NULL;
    rocksdb_checkpoint_t *cp = rocksdb_checkpoint_object_create(kv->db, &message);
    if (message == NULL) {
        /* A log size that is never reached: the memtable is not flushed. */
        rocksdb_checkpoint_create(cp, path, UINT64_MAX, &message);
        rocksdb_checkpoint_object_destroy(cp);
    }
    return message != NULL ? fold_kv_raise("checkpoint", message) : 0;
}
