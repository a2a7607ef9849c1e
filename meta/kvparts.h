/* SPDX-License-Identifier: MIT */
/* What the files behind meta/kv.h share. */
#ifndef FOLD_META_KVPARTS_H
#define FOLD_META_KVPARTS_H

#include "meta/kv.h"

#include <rocksdb/c.h>

#define FOLD_KV_PATH_BYTES 4096

struct fold_kv {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write;
    char *path;
    int dirfd;       /* our own duplicate, kept because `path` goes through it; -1 if none */
    uint64_t errors; /* background errors before the flush at hand: the database counts for ever */
};

/* Asks the test hook; a negative answer is the result of the operation. */
int fold_kv_ask(enum fold_kv_op op) FOLD_MUST;

/* Turns RocksDB's message into a code, logs (without `what` not) and frees it. */
int fold_kv_raise(const char *what, char *message) FOLD_MUST;

/* Path by which RocksDB reaches `name` in the directory, or `name` itself if that is < 0.
 * -ENAMETOOLONG. */
int fold_kv_path(int dirfd, const char *name, char path[FOLD_KV_PATH_BYTES]) FOLD_MUST;

#endif
