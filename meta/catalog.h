/* SPDX-License-Identifier: MIT */
/*
 * The catalog: RocksDB tables of inodes, dentries, recipes, xattrs, symlinks, orphans and counters,
 * made crash-safe by our own journal. RocksDB's WAL is off. A commit appends the write batch to the
 * journal (page cache: survives the death of the process), then applies it to RocksDB's memtable. A
 * checkpoint makes data and journal durable, then flushes the memtable and retires old journal
 * files; RocksDB's on-disk state is therefore always a prefix of the commits whose data is durable.
 * Opening replays the journal in order and stops at the first commit that is torn, or whose data
 * (deps) did not survive: the volume comes back as an exact prefix of what was committed.
 */
#ifndef FOLD_META_CATALOG_H
#define FOLD_META_CATALOG_H

#include "meta/namehash.h"
#include "meta/store.h"
#include "meta/types.h"

/* Its database's directory in the store. */
#define FOLD_CATALOG_DIR "catalog"

struct fold_catalog;
struct fold_txn;

struct fold_catalog_options {
    uint64_t cache_bytes;   /* block cache; 0 = 64 MiB */
    uint64_t journal_bytes; /* journal size that triggers a checkpoint; 0 = 32 MiB */
    bool read_only;         /* replays into memory only: nothing on disk changes */
    /* Names are hashed with this key (fold_namehash_key), not with the catalog's own seed; fixed
     * for the life of a store. */
    bool keyed_names;
    uint8_t name_key[FOLD_NAME_KEY_BYTES];
};

/* Totals that change with commits; persisted in the same batch. */
struct fold_counters {
    uint64_t next_ino;
    uint64_t files; /* regular files; directories (the root included) and others follow */
    uint64_t directories;
    uint64_t others;
    uint64_t logical_bytes; /* sum of `mapped` over all files that have a name or are open */
};

/* Creates catalog/ and journal/ with the root directory (mode 0755, owned by the caller's uid/gid).
 */
int fold_catalog_format(int storefd) FOLD_MUST;

/* Opens and replays; `store` answers for the data commits depend on and stays in use until close.
 */
int fold_catalog_open(int storefd, const struct fold_catalog_options *opt, struct fold_store *store,
                      struct fold_catalog **out) FOLD_MUST;

/* With `clean`: checkpoint, then close. Otherwise closes without making anything durable (as a
 * crash would). */
int fold_catalog_close(struct fold_catalog *c, bool clean);

/* A change set. Not thread-safe; puts cannot fail (out of memory aborts the process, as RocksDB
 * does). */
struct fold_txn *fold_txn_begin(struct fold_catalog *c);

/* Adds to the totals (signed). */
void fold_txn_count(struct fold_txn *t, int64_t files, int64_t directories, int64_t others,
                    int64_t logical_bytes);

/*
 * Commits atomically and frees `t` in every case. Visible to readers on return; survives the
 * process; durable after fold_catalog_sync(lsn). -ENOSPC, -EIO, -FOLD_E_SICK: nothing was changed.
 */
int fold_txn_commit(struct fold_txn *t, fold_lsn *lsn) FOLD_MUST;
void fold_txn_abort(struct fold_txn *t);

/* Makes all commits up to `lsn` durable with the data they need (fold_store_sync included). Calls
 * share the work. */
int fold_catalog_sync(struct fold_catalog *c, fold_lsn lsn) FOLD_MUST;

/* Position of the newest commit, and of the newest durable one. */
fold_lsn fold_catalog_lsn(const struct fold_catalog *c);
fold_lsn fold_catalog_durable(const struct fold_catalog *c);

/* Forces a checkpoint now (also done by a background thread of the catalog when the journal has
 * grown). */
int fold_catalog_checkpoint(struct fold_catalog *c) FOLD_MUST;

/*
 * Gives the space of deleted entries back: checkpoint, then a full compaction of the database.
 * Blocks for long, unless `cancelled` (may be NULL) says true: then the compaction is given up,
 * with -ECANCELED. Other calls go on meanwhile.
 */
int fold_catalog_shrink(struct fold_catalog *c, bool (*cancelled)(void *arg), void *arg) FOLD_MUST;

/* Hands out a fresh inode number (persisted with the next commit). */
fold_ino fold_catalog_new_ino(struct fold_catalog *c);

void fold_catalog_counters(const struct fold_catalog *c, struct fold_counters *out);

/* Bytes of journal that the next checkpoint moves into the database. */
uint64_t fold_catalog_pending(const struct fold_catalog *c);

/* Bytes the catalog and its journal occupy on the host. */
uint64_t fold_catalog_bytes(const struct fold_catalog *c);

/* Bytes the host must have for the catalog to be written anew as a whole, which is how it gives
 * back the space of what was deleted. */
uint64_t fold_catalog_merge_room(const struct fold_catalog *c);

#endif
