/* SPDX-License-Identifier: MIT */
/*
 * The key-value database below the catalog and the fingerprint index. Keys are byte strings in
 * memcmp order. There is no write-ahead log: what is written lives in memory until fold_kv_flush,
 * and is lost by a crash before that. Databases and files are named relative to a directory
 * descriptor. All calls on one database are thread-safe; a batch, an iterator or an SST writer
 * belongs to one thread at a time. Errors: -ENOSPC, -FOLD_E_BAD_CATALOG (stored bytes are damaged),
 * -FOLD_E_CATALOG_IO; logged where they are raised.
 */
#ifndef FOLD_META_KV_H
#define FOLD_META_KV_H

#include "meta/base/attr.h"

#include <stdbool.h>

struct fold_kv;
struct fold_kv_batch;
struct fold_kv_iter;
struct fold_kv_sst;

enum fold_kv_filter { FOLD_KV_FILTER_NONE, FOLD_KV_FILTER_BLOOM, FOLD_KV_FILTER_RIBBON };

struct fold_kv_options {
    uint64_t cache_bytes; /* block cache, filters and index blocks included; 0 = 8 MiB */
    uint64_t
        write_buffer_bytes; /* memtable size that makes the database flush by itself; 0 = 64 MiB */
    uint32_t write_buffers; /* memtables that may exist before writers are stalled; 0 = 2 */
    uint32_t memory_filter_bytes; /* filter over the keys of a memtable, for many lookups in vain; 0
                                     = none */
    bool one_writer;              /* batches come from one thread at a time */
    uint32_t block_bytes;         /* 0 = 16 KiB */
    uint32_t max_open_files;      /* 0 = 256 */
    enum fold_kv_filter filter;
    double
        filter_bits;  /* per key; for ribbon the bits a bloom filter of equal strength would take */
    bool partitioned; /* split filters and indexes into blocks that are cached one by one */
    bool lz4;         /* compress blocks */
    bool create;      /* make the database if missing */
    bool read_only;   /* nothing on disk changes */
    bool no_compaction; /* never merge files in the background */
    bool keep_open; /* all table files are opened now and never again, whatever max_open_files */
};

/* Opens database directory `name` below `dirfd` (-1: `name` is a path). `dirfd` is not kept. */
int fold_kv_open(int dirfd, const char *name, const struct fold_kv_options *opt,
                 struct fold_kv **out) FOLD_MUST;

/*
 * Makes a database that cannot be opened one that can, from the table files that are there; what
 * was in others is lost, and what was deleted may be back. Files that cannot be used are moved to
 * its folder `lost`. The database must not be open.
 */
int fold_kv_repair(int dirfd, const char *name, const struct fold_kv_options *opt) FOLD_MUST;

/* Closes without flushing. All iterators, values and SST writers must be gone. NULL is fine. */
void fold_kv_close(struct fold_kv *kv);

/* A value pinned in memory. */
struct fold_kv_value {
    const uint8_t *data;
    size_t len;
    void *pin;
};

/* -ENOENT if the key is absent. The value stays valid until fini, whatever is written meanwhile. */
int fold_kv_get(struct fold_kv *kv, const void *key, size_t key_len,
                struct fold_kv_value *out) FOLD_MUST;
void fold_kv_value_fini(struct fold_kv_value *v);

/* A batch of changes, applied atomically and in order. Running out of memory aborts the process. */
struct fold_kv_batch *fold_kv_batch_create(void);
void fold_kv_batch_destroy(struct fold_kv_batch *b);
void fold_kv_batch_clear(struct fold_kv_batch *b);
void fold_kv_batch_put(struct fold_kv_batch *b, const void *key, size_t key_len, const void *val,
                       size_t val_len);
void fold_kv_batch_delete(struct fold_kv_batch *b, const void *key, size_t key_len);

/* Deletes all keys in [from, to). */
void fold_kv_batch_delete_range(struct fold_kv_batch *b, const void *from, size_t from_len,
                                const void *to, size_t to_len);
uint32_t fold_kv_batch_count(const struct fold_kv_batch *b);

/* The batch as bytes, valid until the batch changes. */
const void *fold_kv_batch_data(struct fold_kv_batch *b, size_t *len);

/* Applies the batch to memory. Visible to readers on return. The batch stays the caller's. */
int fold_kv_write(struct fold_kv *kv, struct fold_kv_batch *b) FOLD_MUST;

/*
 * Starts writing everything applied so far to disk, on which it is durable once fold_kv_flush_wait
 * returned 0 (or at once with `wait`). Changes applied after return are not part of it. One caller
 * at a time. What a failed flush did not write is part of the next one.
 */
int fold_kv_flush(struct fold_kv *kv, bool wait) FOLD_MUST;
int fold_kv_flush_wait(struct fold_kv *kv) FOLD_MUST;

/*
 * Merges everything down to the last level. Begins with a flush, as fold_kv_flush: what was applied
 * before the call is in it. start returns when what is applied from then on is no part of that
 * flush; the rest goes on in a thread, which wait joins (a must) and which blocks for long, unless
 * `cancelled` (may be NULL) says true: then it stops soon, and wait returns -ECANCELED. Errors of
 * the merging are in the database's own log: nothing is lost by them. One at a time. -ENOMEM,
 * -EAGAIN.
 */
struct fold_kv_merge;
int fold_kv_merge_start(struct fold_kv *kv, struct fold_kv_merge **out) FOLD_MUST;
int fold_kv_merge_wait(struct fold_kv_merge *m, bool (*cancelled)(void *arg), void *arg);

struct fold_kv_entry {
    const uint8_t *key;
    const uint8_t *val;
    size_t key_len;
    size_t val_len;
};

/*
 * Iterates over [from, to) of a snapshot taken here (NULL = open end). `scan`: blocks read are not
 * kept in the cache. Starts before the first entry. An iterator pins memory and files: close it
 * soon.
 */
int fold_kv_iter_open(struct fold_kv *kv, const void *from, size_t from_len, const void *to,
                      size_t to_len, bool scan, struct fold_kv_iter **out) FOLD_MUST;

/*
 * next: the following entry (the first one after open). seek: the first entry at or after `key`. 1
 * and *out set, 0 at the end, negative on error. *out is valid until the next call.
 */
int fold_kv_iter_next(struct fold_kv_iter *it, struct fold_kv_entry *out) FOLD_MUST;
int fold_kv_iter_seek(struct fold_kv_iter *it, const void *key, size_t key_len,
                      struct fold_kv_entry *out) FOLD_MUST;
void fold_kv_iter_close(struct fold_kv_iter *it);

/* Errors of the iterator are not logged from now on: for places that are known to be damaged. */
void fold_kv_iter_hush(struct fold_kv_iter *it);

/* Writes a table file `name` below `dirfd` with the options of `kv`; keys must come in strictly
 * rising order. */
int fold_kv_sst_create(struct fold_kv *kv, int dirfd, const char *name,
                       struct fold_kv_sst **out) FOLD_MUST;
int fold_kv_sst_put(struct fold_kv_sst *s, const void *key, size_t key_len, const void *val,
                    size_t val_len) FOLD_MUST;
int fold_kv_sst_delete(struct fold_kv_sst *s, const void *key, size_t key_len) FOLD_MUST;

/* Completes and syncs the file (it must have at least one entry). */
int fold_kv_sst_finish(struct fold_kv_sst *s, uint64_t *bytes) FOLD_MUST;
void fold_kv_sst_destroy(struct fold_kv_sst *s); /* after finish or instead of it; the file stays */

/*
 * Adds finished table files (moved into the database: their names below `dirfd` may be unlinked
 * afterwards). Their entries hide older ones of equal key. Atomic and durable on return.
 */
int fold_kv_ingest(struct fold_kv *kv, int dirfd, const char *const *names, size_t n) FOLD_MUST;

/* A copy of everything flushed as a new database `name` below `dirfd` (hard links where possible).
 */
int fold_kv_checkpoint(struct fold_kv *kv, int dirfd, const char *name) FOLD_MUST;

/* An integer property of the database ("rocksdb.estimate-num-keys"); 0 if it does not exist. */
uint64_t fold_kv_property(struct fold_kv *kv, const char *name);

/* Bytes of the live table files. */
static inline uint64_t fold_kv_live_bytes(struct fold_kv *kv)
{
    return fold_kv_property(kv, "rocksdb.total-sst-files-size");
}

enum fold_kv_op {
    FOLD_KV_OPEN,
    FOLD_KV_GET,
    FOLD_KV_WRITE,
    FOLD_KV_FLUSH,
    FOLD_KV_ITER,
    FOLD_KV_SST,
    FOLD_KV_INGEST,
    FOLD_KV_CHECKPOINT,
    FOLD_KV_OPS
};

/* Test seam: asked before each operation; a negative return makes it fail with that. NULL removes
 * it. */
typedef int (*fold_kv_fault)(void *arg, enum fold_kv_op op);
void fold_kv_set_fault(fold_kv_fault hook, void *arg);

#endif
