/* SPDX-License-Identifier: MIT */
/*
 * A RocksDB database that is never written through its memtable. A load becomes one sorted table
 * file, written next to the database and moved in. Keys of 16 bytes are fingerprints; longer keys
 * start with 16 bytes of 0xff, so they sort behind all of them: the generation ('A'), the mark of a
 * complete index ('C') and the summaries ('S' and the segment number).
 */
#include "meta/index.h"

#include "meta/base/bytes.h"
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/log.h"
#include "meta/kv.h"
#include "meta/manifest.h"
#include "meta/shadow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>

#define FP_KEY      16u
#define MARK_KEY    17u
#define SUM_KEY     21u
#define INCOMING    "incoming"
#define CACHE_BYTES (64u << 20)

struct fold_index {
    struct fold_kv *kv;
    struct fold_shadow *shadow; /* read-only: a private copy, if what is there must be mended */
    int dirfd;
    bool read_only;
    _Atomic uint64_t generation;
};

static void fp_key(const uint64_t w[2], uint8_t key[FP_KEY])
{
    struct fold_wr k = fold_wr_init(key, FP_KEY);
    fold_wr_be64(&k, w[0]);
    fold_wr_be64(&k, w[1]);
}

static void mark_key(uint8_t mark, uint8_t key[MARK_KEY])
{
    memset(key, 0xff, FP_KEY);
    key[FP_KEY] = mark;
}

static void sum_key(uint32_t seg, uint8_t key[SUM_KEY])
{
    mark_key('S', key);
    for (unsigned i = 0; i < 4; i++)
        key[MARK_KEY + i] = (uint8_t)(seg >> (24 - 8 * i));
}

static void kv_options(uint64_t cache_bytes, bool read_only, struct fold_kv_options *opt)
{
    *opt = (struct fold_kv_options){
        .cache_bytes = cache_bytes != 0 ? cache_bytes : CACHE_BYTES,
        .write_buffer_bytes = 1u << 20,
        .filter = FOLD_KV_FILTER_RIBBON,
        .filter_bits = 10,
        .partitioned = true,
        .create = !read_only,
        .read_only = read_only,
    };
}

int fold_index_format(int storefd)
{
    struct fold_kv_options opt;
    struct fold_kv *kv;
    kv_options(0, false, &opt);
    int rc = fold_kv_open(storefd, "index", &opt, &kv);
    if (rc < 0)
        return rc;
    fold_kv_close(kv);
    return 0;
}

/* Throws a damaged database away. */
static int empty_index(int storefd)
{
    FOLD_AUTO(close) int dirfd = fold_io_open(storefd, "index", O_RDONLY | O_DIRECTORY, 0);
    if (dirfd == -ENOENT)
        return 0;
    if (dirfd < 0)
        return dirfd;
    return fold_io_empty(dirfd);
}

static int read_generation(struct fold_index *ix)
{
    uint8_t key[MARK_KEY];
    struct fold_kv_value v;
    mark_key('A', key);
    int rc = fold_kv_get(ix->kv, key, sizeof key, &v);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    struct fold_rd r = fold_rd_init(v.data, v.len);
    uint64_t generation = fold_rd_u64(&r);
    bool good = fold_rd_done(&r);
    fold_kv_value_fini(&v);
    if (!good)
        return -FOLD_E_BAD_CATALOG;
    atomic_store(&ix->generation, generation);
    return 0;
}

/* Only reading must not mend what a power cut left of the files that say what the database is. */
static int copy_torn(int storefd, struct fold_index *ix)
{
    int rc = fold_manifest_look(storefd, "index");
    if (rc <= 0)
        return rc;
    rc = fold_shadow_create(storefd, "index", fold_shadow_database, NULL, &ix->shadow);
    return rc < 0 ? rc : fold_manifest_mend(-1, fold_shadow_path(ix->shadow));
}

static int try_open(int storefd, uint64_t cache_bytes, struct fold_index *ix)
{
    struct fold_kv_options opt;
    kv_options(cache_bytes, ix->read_only, &opt);
    int rc = ix->read_only ? copy_torn(storefd, ix) : 0;
    opt.keep_open = ix->shadow != NULL;
    if (rc == 0 && ix->shadow != NULL) {
        rc = fold_kv_open(-1, fold_shadow_path(ix->shadow), &opt, &ix->kv);
        fold_shadow_vanish(ix->shadow);
    } else if (rc == 0)
        rc = fold_kv_open(storefd, "index", &opt, &ix->kv);
    if (rc < 0)
        return rc;
    rc = read_generation(ix);
    if (rc == 0) {
        ix->dirfd = fold_io_open(storefd, "index", O_RDONLY | O_DIRECTORY, 0);
        rc = FOLD_MIN(ix->dirfd, 0);
    }
    if (rc < 0) {
        fold_kv_close(ix->kv);
        ix->kv = NULL;
    }
    return rc;
}

int fold_index_open(int storefd, uint64_t cache_bytes, bool read_only, struct fold_index **out)
{
    struct fold_index *ix = calloc(1, sizeof *ix);
    if (ix == NULL)
        return -ENOMEM;
    ix->read_only = read_only;
    ix->dirfd = -1;
    int rc = try_open(storefd, cache_bytes, ix);
    if ((rc == -FOLD_E_BAD_CATALOG || rc == -FOLD_E_CATALOG_IO) && !read_only) {
        fold_warn("the fingerprint index is damaged and is built anew from the segments");
        rc = empty_index(storefd);
        if (rc == 0)
            rc = try_open(storefd, cache_bytes, ix);
    }
    if (rc < 0) {
        fold_index_close(ix);
        return rc;
    }
    *out = ix;
    return 0;
}

void fold_index_close(struct fold_index *ix)
{
    if (ix == NULL)
        return;
    fold_kv_close(ix->kv);
    fold_shadow_destroy(ix->shadow);
    if (ix->dirfd >= 0)
        (void)close(ix->dirfd);
    free(ix);
}

static bool decode_loc(const uint8_t *val, size_t len, struct fold_loc *loc)
{
    struct fold_rd r = fold_rd_init(val, len);
    loc->seg = fold_rd_u32(&r);
    loc->off = fold_rd_u32(&r);
    return fold_rd_done(&r);
}

int fold_index_get(struct fold_index *ix, const struct fold_fp *fp, struct fold_loc *loc)
{
    uint8_t key[FP_KEY];
    struct fold_kv_value v;
    struct fold_loc found;
    fp_key(fp->w, key);
    int rc = fold_kv_get(ix->kv, key, sizeof key, &v);
    if (rc < 0)
        return rc;
    bool good = decode_loc(v.data, v.len, &found);
    fold_kv_value_fini(&v);
    if (!good)
        return -FOLD_E_BAD_CATALOG;
    *loc = found;
    return 0;
}

/* By key, then by location: of several entries with one key the last is loaded. */
static int by_key(const void *a, const void *b)
{
    const struct fold_index_entry *x = a;
    const struct fold_index_entry *y = b;
    if (x->w[0] != y->w[0])
        return x->w[0] < y->w[0] ? -1 : 1;
    if (x->w[1] != y->w[1])
        return x->w[1] < y->w[1] ? -1 : 1;
    if (x->loc.seg != y->loc.seg)
        return x->loc.seg < y->loc.seg ? -1 : 1;
    return x->loc.off < y->loc.off ? -1 : x->loc.off > y->loc.off;
}

static int put_entries(struct fold_kv_sst *sst, const struct fold_index_load *load)
{
    int rc = 0;
    for (size_t i = 0; i < load->count && rc == 0; i++) {
        const struct fold_index_entry *e = &load->entries[i];
        if (i + 1 < load->count && e[1].w[0] == e->w[0] && e[1].w[1] == e->w[1])
            continue;
        uint8_t key[FP_KEY];
        uint8_t val[8];
        struct fold_wr w = fold_wr_init(val, sizeof val);
        fp_key(e->w, key);
        fold_wr_u32(&w, e->loc.seg);
        fold_wr_u32(&w, e->loc.off);
        rc = e->loc.seg == 0 ? fold_kv_sst_delete(sst, key, sizeof key)
                             : fold_kv_sst_put(sst, key, sizeof key, val, sizeof val);
    }
    return rc;
}

struct sum_change {
    uint32_t seg;
    const struct fold_seg_summary *sum; /* NULL = gone */
};

static int by_seg(const void *a, const void *b)
{
    const struct sum_change *x = a;
    const struct sum_change *y = b;
    return x->seg < y->seg ? -1 : x->seg > y->seg;
}

static int put_summaries(struct fold_kv_sst *sst, const struct fold_index_load *load)
{
    size_t n = load->added_count + load->gone_count;
    struct sum_change *change = calloc(n + 1, sizeof *change);
    if (change == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < load->added_count; i++)
        change[i] = (struct sum_change){load->added[i].ident.seg, &load->added[i]};
    for (size_t i = 0; i < load->gone_count; i++)
        change[load->added_count + i] = (struct sum_change){load->gone[i], NULL};
    qsort(change, n, sizeof *change, by_seg);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        uint8_t key[SUM_KEY];
        uint8_t val[FOLD_SEG_SUMMARY_BYTES];
        sum_key(change[i].seg, key);
        if (change[i].sum == NULL) {
            rc = fold_kv_sst_delete(sst, key, sizeof key);
        } else {
            fold_seg_summary_encode(change[i].sum, val);
            rc = fold_kv_sst_put(sst, key, sizeof key, val, sizeof val);
        }
    }
    free(change);
    return rc;
}

static int put_generation(struct fold_kv_sst *sst, uint64_t generation)
{
    uint8_t key[MARK_KEY];
    uint8_t val[8];
    struct fold_wr w = fold_wr_init(val, sizeof val);
    mark_key('A', key);
    fold_wr_u64(&w, generation);
    return fold_kv_sst_put(sst, key, sizeof key, val, sizeof val);
}

static int put_complete(struct fold_kv_sst *sst)
{
    uint8_t key[MARK_KEY];
    mark_key('C', key);
    return fold_kv_sst_put(sst, key, sizeof key, "", 0);
}

static int write_table(struct fold_index *ix, const struct fold_index_load *load)
{
    struct fold_kv_sst *sst;
    uint64_t bytes;
    int rc = fold_kv_sst_create(ix->kv, ix->dirfd, INCOMING, &sst);
    if (rc < 0)
        return rc;
    rc = put_entries(sst, load);
    if (rc == 0)
        rc = put_generation(sst, atomic_load(&ix->generation) + 1);
    if (rc == 0 && load->complete)
        rc = put_complete(sst);
    if (rc == 0)
        rc = put_summaries(sst, load);
    if (rc == 0)
        rc = fold_kv_sst_finish(sst, &bytes);
    fold_kv_sst_destroy(sst);
    return rc;
}

int fold_index_apply(struct fold_index *ix, struct fold_index_load *load)
{
    static const char *const names[] = {INCOMING};
    if (load->count > 1)
        qsort(load->entries, load->count, sizeof *load->entries, by_key);
    (void)unlinkat(ix->dirfd, INCOMING, 0);
    int rc = write_table(ix, load);
    if (rc == 0)
        rc = fold_kv_ingest(ix->kv, ix->dirfd, names, 1);
    (void)unlinkat(ix->dirfd, INCOMING, 0);
    if (rc == 0)
        atomic_fetch_add(&ix->generation, 1);
    return rc;
}

int fold_index_summaries(struct fold_index *ix, fold_index_summary_fn fn, void *arg)
{
    uint8_t from[SUM_KEY];
    uint8_t to[MARK_KEY];
    struct fold_kv_iter *it;
    struct fold_kv_entry e;
    sum_key(0, from);
    mark_key('S' + 1, to);
    int rc = fold_kv_iter_open(ix->kv, from, sizeof from, to, sizeof to, true, &it);
    if (rc < 0)
        return rc;
    while ((rc = fold_kv_iter_next(it, &e)) > 0) {
        struct fold_seg_summary sum;
        rc = fold_seg_summary_decode(e.val, e.val_len, &sum);
        if (rc == 0)
            rc = fn(arg, &sum);
        if (rc < 0)
            break;
    }
    fold_kv_iter_close(it);
    return rc;
}

int fold_index_each(struct fold_index *ix, fold_index_fp_fn fn, void *arg)
{
    uint8_t to[MARK_KEY];
    struct fold_kv_iter *it;
    struct fold_kv_entry e;
    mark_key(0, to);
    int rc = fold_kv_iter_open(ix->kv, NULL, 0, to, sizeof to, true, &it);
    if (rc < 0)
        return rc;
    while ((rc = fold_kv_iter_next(it, &e)) > 0) {
        struct fold_rd r = fold_rd_init(e.key, e.key_len);
        struct fold_fp fp = {{0}};
        struct fold_loc loc;
        fp.w[0] = fold_rd_be64(&r);
        fp.w[1] = fold_rd_be64(&r);
        if (!fold_rd_done(&r) || !decode_loc(e.val, e.val_len, &loc)) {
            rc = -FOLD_E_BAD_CATALOG;
            break;
        }
        rc = fn(arg, &fp, loc);
        if (rc < 0)
            break;
    }
    fold_kv_iter_close(it);
    return rc;
}

uint64_t fold_index_generation(const struct fold_index *ix)
{
    return atomic_load(&ix->generation);
}

int fold_index_complete(struct fold_index *ix, bool *complete)
{
    uint8_t key[MARK_KEY];
    struct fold_kv_value v;
    mark_key('C', key);
    int rc = fold_kv_get(ix->kv, key, sizeof key, &v);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    *complete = rc == 0;
    if (rc == 0)
        fold_kv_value_fini(&v);
    return 0;
}

unsigned fold_index_backlog(struct fold_index *ix)
{
    return (unsigned)fold_kv_property(ix->kv, "rocksdb.num-files-at-level0");
}

uint64_t fold_index_bytes(struct fold_index *ix)
{
    return fold_kv_live_bytes(ix->kv);
}

void fold_index_compact(struct fold_index *ix, bool (*cancelled)(void *arg), void *arg)
{
    struct fold_kv_merge *m;
    if (fold_kv_merge_start(ix->kv, &m) == 0)
        (void)fold_kv_merge_wait(m, cancelled, arg);
}
