/* SPDX-License-Identifier: MIT */
/*
 * A thin skin over the C interface of RocksDB, which only this file and kv_sst.c know. Databases
 * are opened through /proc/self/fd/<directory>/<name>, so that renaming the store directory of a
 * mounted volume is harmless. The write-ahead log is off in every write; databases are closed
 * without flushing.
 */
#include "meta/kv.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/kvparts.h"
#include "meta/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define OPEN_BYTES (192u << 10) /* an open for writing needs about that much space on the host */

struct fold_kv_batch {
    rocksdb_writebatch_t *rep;
};

struct fold_kv_iter {
    rocksdb_iterator_t *rep;
    rocksdb_readoptions_t *read;
    bool started;
    bool quiet;
    uint8_t *bounds; /* the bounds' bytes: RocksDB keeps pointers */
};

struct fold_kv_merge {
    struct fold_kv *kv;
    pthread_t thread; /* joined by wait */
    atomic_bool done;
};

static fold_kv_fault fault_hook; /* fixed while threads run */
static void *fault_arg;

void fold_kv_set_fault(fold_kv_fault hook, void *arg)
{
    fault_hook = hook;
    fault_arg = arg;
}

int fold_kv_ask(enum fold_kv_op op)
{
    return FOLD_UNLIKELY(fault_hook != NULL) ? fault_hook(fault_arg, op) : 0;
}

int fold_kv_raise(const char *what, char *message)
{
    int rc = -FOLD_E_CATALOG_IO;
    if (strstr(message, "No space left") != NULL)
        rc = -ENOSPC;
    else if (strncmp(message, "Corruption", 10) == 0)
        rc = -FOLD_E_BAD_CATALOG;
    if (what != NULL)
        fold_error("database: %s: %s", what, message);
    rocksdb_free(message);
    return rc;
}

int fold_kv_path(int dirfd, const char *name, char path[FOLD_KV_PATH_BYTES])
{
    int n = dirfd < 0 ? snprintf(path, FOLD_KV_PATH_BYTES, "%s", name)
                      : snprintf(path, FOLD_KV_PATH_BYTES, "/proc/self/fd/%d/%s", dirfd, name);
    return n < FOLD_KV_PATH_BYTES ? 0 : -ENAMETOOLONG;
}

static void set_table_options(rocksdb_options_t *o, const struct fold_kv_options *opt)
{
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache =
        rocksdb_cache_create_lru(opt->cache_bytes != 0 ? opt->cache_bytes : 8u << 20);
    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_cache_destroy(cache); /* the table options hold a reference */
    rocksdb_block_based_options_set_block_size(t, opt->block_bytes != 0 ? opt->block_bytes : 16384);
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    if (opt->filter == FOLD_KV_FILTER_BLOOM)
        rocksdb_block_based_options_set_filter_policy(
            t, rocksdb_filterpolicy_create_bloom_full(opt->filter_bits));
    else if (opt->filter == FOLD_KV_FILTER_RIBBON)
        rocksdb_block_based_options_set_filter_policy(
            t, rocksdb_filterpolicy_create_ribbon(opt->filter_bits));
    if (opt->partitioned) {
        rocksdb_block_based_options_set_index_type(
            t, rocksdb_block_based_table_index_type_two_level_index_search);
        rocksdb_block_based_options_set_partition_filters(t, opt->filter != FOLD_KV_FILTER_NONE);
        rocksdb_block_based_options_set_pin_top_level_index_and_filter(t, 1);
    }
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
}

#define ALWAYS                                                                                     \
    "avoid_flush_during_shutdown=true;keep_log_file_num=2;max_log_file_size=1048576;"              \
    "manifest_preallocation_size=65536;"                                                           \
    "stats_dump_period_sec=0;stats_persist_period_sec=0;persist_stats_to_disk=false;"              \
    "memtable_whole_key_filtering=true;"
#define ONE_WRITER "allow_concurrent_memtable_write=false;"

static int make_options(const struct fold_kv_options *opt, rocksdb_options_t **out)
{
    rocksdb_options_t *base = rocksdb_options_create();
    rocksdb_options_t *o = rocksdb_options_create();
    char *message = NULL;
    rocksdb_get_options_from_string(base, opt->one_writer ? ALWAYS ONE_WRITER : ALWAYS, o,
                                    &message);
    rocksdb_options_destroy(base);
    if (message != NULL) {
        rocksdb_options_destroy(o);
        return fold_kv_raise("options", message);
    }
    rocksdb_options_set_create_if_missing(o, opt->create);
    rocksdb_options_set_info_log_level(o, 2 /* warnings */);
    uint64_t buffer = opt->write_buffer_bytes != 0 ? opt->write_buffer_bytes : 64u << 20;
    rocksdb_options_set_write_buffer_size(o, buffer);
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, (double)opt->memory_filter_bytes /
                                                                (double)buffer);
    rocksdb_options_set_max_write_buffer_number(o, opt->write_buffers != 0 ? (int)opt->write_buffers
                                                                           : 2);
    int open_files = opt->max_open_files != 0 ? (int)opt->max_open_files : 256;
    rocksdb_options_set_max_open_files(o, opt->keep_open ? -1 : open_files);
    rocksdb_options_set_compression(o, opt->lz4 ? rocksdb_lz4_compression : rocksdb_no_compression);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_max_file_opening_threads(o, (int)fold_knobs.db_open_threads);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_disable_auto_compactions(o, opt->no_compaction);
    set_table_options(o, opt);
    *out = o;
    return 0;
}

/* RocksDB aborts the process when it runs out of space while opening. */
static int room_to_open(int dirfd)
{
    uint64_t space;
    int rc = fold_io_space(dirfd, &space);
    if (rc < 0)
        return rc;
    return space < OPEN_BYTES ? -FOLD_E_FULL : 0;
}

int fold_kv_open(int dirfd, const char *name, const struct fold_kv_options *opt,
                 struct fold_kv **out)
{
    int rc = fold_kv_ask(FOLD_KV_OPEN);
    if (rc < 0)
        return rc;
    struct fold_kv *kv = calloc(1, sizeof *kv);
    if (kv == NULL)
        return -ENOMEM;
    kv->dirfd = -1;
    char path[FOLD_KV_PATH_BYTES];
    if (dirfd >= 0) {
        kv->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
        rc = kv->dirfd < 0 ? -errno : 0;
    }
    if (rc == 0 && dirfd >= 0 && !opt->read_only)
        rc = room_to_open(dirfd);
    if (rc == 0 && !opt->read_only)
        rc = fold_manifest_mend(dirfd, name);
    if (rc == 0)
        rc = fold_kv_path(kv->dirfd, name, path);
    if (rc == 0)
        rc = make_options(opt, &kv->options);
    if (rc == 0 && (kv->path = strdup(path)) == NULL)
        rc = -ENOMEM;
    if (rc < 0)
        goto fail;
    char *message = NULL;
    kv->db = opt->read_only ? rocksdb_open_for_read_only(kv->options, path, 0, &message)
                            : rocksdb_open(kv->options, path, &message);
    if (message != NULL) {
        kv->db = NULL;
        rc = fold_kv_raise(name, message);
        goto fail;
    }
    kv->read = rocksdb_readoptions_create();
    kv->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(kv->write, 1);
    *out = kv;
    return 0;
fail:
    fold_kv_close(kv);
    return rc;
}

int fold_kv_repair(int dirfd, const char *name, const struct fold_kv_options *opt)
{
    char path[FOLD_KV_PATH_BYTES];
    rocksdb_options_t *options;
    int rc = fold_kv_ask(FOLD_KV_OPEN);
    if (rc == 0)
        rc = room_to_open(dirfd);
    if (rc == 0)
        rc = fold_kv_path(dirfd, name, path);
    if (rc == 0)
        rc = make_options(opt, &options);
    if (rc < 0)
        return rc;
    char *message = NULL;
    rocksdb_repair_db(options, path, &message);
    rocksdb_options_destroy(options);
    return message != NULL ? fold_kv_raise("repair", message) : 0;
}

void fold_kv_close(struct fold_kv *kv)
{
    if (kv == NULL)
        return;
    if (kv->db != NULL)
        rocksdb_close(kv->db);
    if (kv->read != NULL)
        rocksdb_readoptions_destroy(kv->read);
    if (kv->write != NULL)
        rocksdb_writeoptions_destroy(kv->write);
    if (kv->options != NULL)
        rocksdb_options_destroy(kv->options);
    if (kv->dirfd >= 0)
        (void)close(kv->dirfd);
    free(kv->path);
    free(kv);
}

int fold_kv_get(struct fold_kv *kv, const void *key, size_t key_len, struct fold_kv_value *out)
{
    int rc = fold_kv_ask(FOLD_KV_GET);
    if (rc < 0)
        return rc;
    char *message = NULL;
    rocksdb_pinnableslice_t *pin = rocksdb_get_pinned(kv->db, kv->read, key, key_len, &message);
    if (message != NULL)
        return fold_kv_raise("get", message);
    if (pin == NULL)
        return -ENOENT;
    out->data = (const uint8_t *)rocksdb_pinnableslice_value(pin, &out->len);
    out->pin = pin;
    return 0;
}

void fold_kv_value_fini(struct fold_kv_value *v)
{
    if (v->pin != NULL)
        rocksdb_pinnableslice_destroy(v->pin);
    *v = (struct fold_kv_value){NULL, 0, NULL};
}

struct fold_kv_batch *fold_kv_batch_create(void)
{
    struct fold_kv_batch *b = malloc(sizeof *b);
    if (b == NULL)
        abort(); /* as RocksDB itself does */
    b->rep = rocksdb_writebatch_create();
    return b;
}

void fold_kv_batch_destroy(struct fold_kv_batch *b)
{
    if (b == NULL)
        return;
    rocksdb_writebatch_destroy(b->rep);
    free(b);
}

void fold_kv_batch_clear(struct fold_kv_batch *b)
{
    rocksdb_writebatch_clear(b->rep);
}

void fold_kv_batch_put(struct fold_kv_batch *b, const void *key, size_t key_len, const void *val,
                       size_t val_len)
{
    rocksdb_writebatch_put(b->rep, key, key_len, val, val_len);
}

void fold_kv_batch_delete(struct fold_kv_batch *b, const void *key, size_t key_len)
{
    rocksdb_writebatch_delete(b->rep, key, key_len);
}

void fold_kv_batch_delete_range(struct fold_kv_batch *b, const void *from, size_t from_len,
                                const void *to, size_t to_len)
{
    rocksdb_writebatch_delete_range(b->rep, from, from_len, to, to_len);
}

uint32_t fold_kv_batch_count(const struct fold_kv_batch *b)
{
    return (uint32_t)rocksdb_writebatch_count(b->rep);
}

const void *fold_kv_batch_data(struct fold_kv_batch *b, size_t *len)
{
    return rocksdb_writebatch_data(b->rep, len);
}

int fold_kv_write(struct fold_kv *kv, struct fold_kv_batch *b)
{
    int rc = fold_kv_ask(FOLD_KV_WRITE);
    if (rc < 0)
        return rc;
    char *message = NULL;
    rocksdb_write(kv->db, kv->write, b->rep, &message);
    return message != NULL ? fold_kv_raise("write", message) : 0;
}

int fold_kv_flush(struct fold_kv *kv, bool wait)
{
    int rc = fold_kv_ask(FOLD_KV_FLUSH);
    if (rc < 0)
        return rc;
    kv->errors = fold_kv_property(kv, "rocksdb.background-errors");
    rocksdb_flushoptions_t *o = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(o, wait);
    char *message = NULL;
    rocksdb_flush(kv->db, o, &message);
    rocksdb_flushoptions_destroy(o);
    return message != NULL ? fold_kv_raise("flush", message) : 0;
}

int fold_kv_flush_wait(struct fold_kv *kv)
{
    /*
     * The C interface has no way to wait for a started flush but to look. What failed stays, and
     * nothing works on it; an error may be a merge's, though, while the flush is still to come.
     */
    uint64_t left;
    unsigned idle = 0;
    while ((left = fold_kv_property(kv, "rocksdb.num-immutable-mem-table")) > 0) {
        uint64_t errors = fold_kv_property(kv, "rocksdb.background-errors") - kv->errors;
        bool running = fold_kv_property(kv, "rocksdb.num-running-flushes") > 0;
        idle = errors == 0 || running ? 0 : idle + 1;
        if (idle > fold_knobs.merge_idle_ms || errors > fold_knobs.merge_errors)
            break;
        (void)usleep(1000);
    }
    int rc = fold_kv_ask(FOLD_KV_FLUSH);
    if (rc == 0 && left > 0) {
        fold_error("database: %s: writing to disk failed", kv->path);
        rc = -FOLD_E_CATALOG_IO;
    }
    return rc;
}

/* How often a merge looks whether it is still wanted. */
#define MERGE_LOOK_US 5000

static void *merge_main(void *arg)
{
    struct fold_kv_merge *m = arg;
    rocksdb_compact_range(m->kv->db, NULL, 0, NULL, 0);
    atomic_store(&m->done, true);
    return NULL;
}

int fold_kv_merge_start(struct fold_kv *kv, struct fold_kv_merge **out)
{
    struct fold_kv_merge *m = calloc(1, sizeof *m);
    if (m == NULL)
        return -ENOMEM;
    m->kv = kv;
    int rc = -pthread_create(&m->thread, NULL, merge_main, m);
    if (rc < 0) {
        free(m);
        return rc;
    }
    /* The flush takes over what is in memory, then memory is empty. */
    while (!atomic_load(&m->done) &&
           fold_kv_property(kv, "rocksdb.num-entries-active-mem-table") > 0)
        (void)usleep(100);
    *out = m;
    return 0;
}

int fold_kv_merge_wait(struct fold_kv_merge *m, bool (*cancelled)(void *arg), void *arg)
{
    int rc = 0;
    while (cancelled != NULL && rc == 0 && !atomic_load(&m->done)) {
        if (cancelled(arg))
            rc = -ECANCELED;
        else
            (void)usleep(MERGE_LOOK_US);
    }
    if (rc != 0)
        rocksdb_disable_manual_compaction(m->kv->db);
    (void)pthread_join(m->thread, NULL);
    if (rc != 0)
        rocksdb_enable_manual_compaction(m->kv->db);
    free(m);
    return rc;
}

int fold_kv_iter_open(struct fold_kv *kv, const void *from, size_t from_len, const void *to,
                      size_t to_len, bool scan, struct fold_kv_iter **out)
{
    int rc = fold_kv_ask(FOLD_KV_ITER);
    if (rc < 0)
        return rc;
    struct fold_kv_iter *it = calloc(1, sizeof *it);
    if (it == NULL)
        return -ENOMEM;
    it->bounds = malloc(from_len + to_len + 1);
    if (it->bounds == NULL) {
        free(it);
        return -ENOMEM;
    }
    it->read = rocksdb_readoptions_create();
    if (from != NULL) {
        memcpy(it->bounds, from, from_len);
        rocksdb_readoptions_set_iterate_lower_bound(it->read, (char *)it->bounds, from_len);
    }
    if (to != NULL) {
        memcpy(it->bounds + from_len, to, to_len);
        rocksdb_readoptions_set_iterate_upper_bound(it->read, (char *)it->bounds + from_len,
                                                    to_len);
    }
    if (scan) {
        rocksdb_readoptions_set_fill_cache(it->read, 0);
        rocksdb_readoptions_set_readahead_size(it->read, 1u << 20);
    }
    it->rep = rocksdb_create_iterator(kv->db, it->read);
    *out = it;
    return 0;
}

static int iter_yield(struct fold_kv_iter *it, struct fold_kv_entry *out)
{
    if (!rocksdb_iter_valid(it->rep)) {
        char *message = NULL;
        rocksdb_iter_get_error(it->rep, &message);
        return message != NULL ? fold_kv_raise(it->quiet ? NULL : "scan", message) : 0;
    }
    struct fold_kv_entry e;
    e.key = (const uint8_t *)rocksdb_iter_key(it->rep, &e.key_len);
    e.val = (const uint8_t *)rocksdb_iter_value(it->rep, &e.val_len);
    *out = e;
    return 1;
}

int fold_kv_iter_next(struct fold_kv_iter *it, struct fold_kv_entry *out)
{
    int rc = fold_kv_ask(FOLD_KV_ITER);
    if (rc < 0)
        return rc;
    if (!it->started)
        rocksdb_iter_seek_to_first(it->rep);
    else if (rocksdb_iter_valid(it->rep))
        rocksdb_iter_next(it->rep);
    it->started = true;
    return iter_yield(it, out);
}

int fold_kv_iter_seek(struct fold_kv_iter *it, const void *key, size_t key_len,
                      struct fold_kv_entry *out)
{
    int rc = fold_kv_ask(FOLD_KV_ITER);
    if (rc < 0)
        return rc;
    rocksdb_iter_seek(it->rep, key, key_len);
    it->started = true;
    return iter_yield(it, out);
}

void fold_kv_iter_hush(struct fold_kv_iter *it)
{
    it->quiet = true;
}

void fold_kv_iter_close(struct fold_kv_iter *it)
{
    if (it == NULL)
        return;
    rocksdb_iter_destroy(it->rep);
    rocksdb_readoptions_destroy(it->read);
    free(it->bounds);
    free(it);
}

uint64_t fold_kv_property(struct fold_kv *kv, const char *name)
{
    uint64_t v = 0;
    return rocksdb_property_int(kv->db, name, &v) == 0 ? v : 0;
}
