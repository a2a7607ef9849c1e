/* SPDX-License-Identifier: MIT */
/*
 * Life cycle of the catalog: format, open with replay, close.
 *
 * Opening replays the journal into the database's memory. The files with these commits stay until
 * the next checkpoint, less what did not count, which must never come back; so opening writes next
 * to nothing and works on a full host, too. A read-only catalog works on a private copy of the
 * database and leaves the journal alone.
 */
#include "meta/catalog.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/buckets.h"
#include "meta/commit.h"
#include "meta/inode.h"
#include "meta/redo.h"
#include "meta/replay.h"
#include "meta/shadow.h"

#include <fcntl.h>
#include <sys/random.h>

#define CACHE_BYTES (64u << 20)

/*
 * The database must never write to disk by itself: what it writes has to wait for the data it
 * names. Commits stop at four times journal_bytes; an entry takes at most about four times its
 * journal bytes in memory.
 */
#define BUFFER_FACTOR 32

struct fold_kv_options fold_catalog_kv_options(uint64_t cache_bytes, uint64_t journal_bytes)
{
    return (struct fold_kv_options){
        .cache_bytes = cache_bytes != 0 ? cache_bytes : CACHE_BYTES,
        .write_buffer_bytes = FOLD_MAX(journal_bytes * BUFFER_FACTOR, fold_knobs.memtable_bytes),
        .write_buffers = 4,
        .memory_filter_bytes = 1u << 20,
        .one_writer = true,
        .filter = FOLD_KV_FILTER_BLOOM,
        .filter_bits = 10,
        .partitioned = true, /* filters of a large catalog must not fill the cache as a whole */
        .lz4 = true,
    };
}

/* The root directory and the first counters, written straight to the database. */
static int write_first_entries(struct fold_kv *kv)
{
    struct fold_attr root = {
        .ino = FOLD_INO_ROOT,
        .mode = S_IFDIR | 0755,
        .uid = getuid(),
        .gid = getgid(),
        .nlink = 2,
        .parent = FOLD_INO_ROOT,
    };
    if (clock_gettime(CLOCK_REALTIME, &root.btime) != 0)
        return -errno;
    root.atime = root.mtime = root.ctime = root.btime;
    uint8_t seed[8];
    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return -EIO;
    struct fold_counters sum = {.next_ino = FOLD_INO_ROOT + 1, .directories = 1};
    uint8_t value[FOLD_COUNTERS_MAX];
    size_t len = fold_counters_encode(value, 0, &sum);

    struct fold_txn t = {.batch = fold_kv_batch_create()};
    fold_inode_store(&t, &root);
    fold_kv_batch_put(t.batch, FOLD_KEY_SEED, sizeof FOLD_KEY_SEED - 1, seed, sizeof seed);
    fold_kv_batch_put(t.batch, FOLD_KEY_COUNTERS, sizeof FOLD_KEY_COUNTERS - 1, value, len);
    int rc = fold_kv_write(kv, t.batch);
    fold_kv_batch_destroy(t.batch);
    return rc < 0 ? rc : fold_kv_flush(kv, true);
}

int fold_catalog_format(int storefd)
{
    int rc = fold_journal_format(storefd);
    if (rc == 0)
        rc = fold_io_mkdir(storefd, FOLD_CATALOG_DIR, 0700);
    if (rc < 0)
        return rc;
    struct fold_kv_options opt = fold_catalog_kv_options(0, fold_knobs.journal_bytes);
    opt.create = true;
    struct fold_kv *kv;
    rc = fold_kv_open(storefd, FOLD_CATALOG_DIR, &opt, &kv);
    if (rc < 0)
        return rc;
    rc = write_first_entries(kv);
    fold_kv_close(kv);
    return rc == 0 ? fold_io_fsync(storefd) : rc;
}

static int take_counters(struct fold_catalog *c, const void *data, size_t len)
{
    fold_lsn applied;
    struct fold_counters sum;
    int rc = fold_counters_decode(data, len, &applied, &sum);
    if (rc < 0)
        return rc;
    atomic_store(&c->lsn, applied);
    atomic_store(&c->next_ino, sum.next_ino);
    atomic_store(&c->files, sum.files);
    atomic_store(&c->directories, sum.directories);
    atomic_store(&c->others, sum.others);
    atomic_store(&c->logical_bytes, sum.logical_bytes);
    return 0;
}

/* The hash of names: with the key, or with the seed that is kept in the catalog. */
static int load_names(struct fold_catalog *c, const struct fold_catalog_options *opt)
{
    struct fold_kv_value v;
    int rc = fold_kv_get(c->kv, FOLD_KEY_SEED, sizeof FOLD_KEY_SEED - 1, &v);
    if (rc < 0)
        return rc == -ENOENT ? -FOLD_E_BAD_CATALOG : rc;
    struct fold_rd r = fold_rd_init(v.data, v.len);
    uint64_t seed = fold_rd_u64(&r);
    bool whole = fold_rd_done(&r);
    fold_kv_value_fini(&v);
    if (!whole)
        return -FOLD_E_BAD_CATALOG;
    if (opt->keyed_names)
        return fold_namehash_init_keyed(&c->names, opt->name_key);
    fold_namehash_init_seeded(&c->names, seed);
    return 0;
}

/* Reads the counters as of the last flush. */
static int load_counters(struct fold_catalog *c)
{
    struct fold_kv_value v;
    int rc = fold_kv_get(c->kv, FOLD_KEY_COUNTERS, sizeof FOLD_KEY_COUNTERS - 1, &v);
    if (rc < 0)
        return rc == -ENOENT ? -FOLD_E_BAD_CATALOG : rc;
    rc = take_counters(c, v.data, v.len);
    fold_kv_value_fini(&v);
    return rc;
}

struct replaying {
    struct fold_catalog *catalog;
    struct fold_replay *batches;
};

static int replay_one(void *arg, const struct fold_journal_record *rec)
{
    const struct replaying *x = arg;
    struct fold_catalog *c = x->catalog;
    fold_lsn applied = atomic_load(&c->lsn);
    if (rec->lsn <= applied)
        return FOLD_JOURNAL_KNOWN;
    if (rec->lsn != applied + 1)
        return FOLD_JOURNAL_STOP;
    for (size_t i = 0; i < rec->ndeps; i++)
        if (!fold_store_holds(c->store, rec->deps[i]))
            return FOLD_JOURNAL_STOP;
    int rc = 0;
    if (!fold_redo_is(rec->data, rec->len)) /* those were dealt with before the store was opened */
        rc = fold_replay_add(x->batches, rec->data, rec->len);
    if (rc == 0)
        rc = take_counters(c, rec->note, rec->note_len);
    if (rc == 0 && atomic_load(&c->lsn) != rec->lsn)
        rc = -FOLD_E_BAD_JOURNAL;
    return rc < 0 ? rc : FOLD_JOURNAL_TAKEN;
}

static int replay_all(struct fold_catalog *c, struct fold_journal_replay *done)
{
    struct replaying x = {c, fold_replay_create(c->kv)};
    if (x.batches == NULL)
        return -ENOMEM;
    int rc = fold_journal_replay(c->journal, replay_one, &x, done);
    if (rc == 0)
        rc = fold_replay_finish(x.batches);
    fold_replay_destroy(x.batches);
    return rc;
}

static int replay(struct fold_catalog *c)
{
    struct fold_journal_replay done = {0};
    fold_lsn before = atomic_load(&c->lsn);
    int rc = replay_all(c, &done);
    if (rc < 0)
        return rc;
    fold_lsn applied = atomic_load(&c->lsn);
    if (done.damaged)
        fold_error("catalog: %s; the commits behind the damage are lost",
                   fold_err_text(FOLD_E_BAD_JOURNAL));
    if (applied != before || done.dropped != 0)
        fold_info(
            "catalog: replayed %llu commits from the journal, dropped %llu that were not durable",
            (unsigned long long)(applied - before), (unsigned long long)done.dropped);
    if (c->read_only)
        return 0;
    fold_step(FOLD_STEP_REPLAYED);
    rc = fold_store_sync(c->store);
    if (rc == 0)
        rc = fold_journal_resume(c->journal);
    if (rc < 0)
        return rc;
    fold_step(FOLD_STEP_RESTARTED);
    c->flushed = before;
    atomic_store(&c->pending, fold_journal_pending(c->journal));
    /* Without the next file a crash on a full host could not be followed by a mount. */
    rc = fold_journal_prepare(c->journal);
    if (rc < 0)
        fold_warn("journal: cannot prepare a file: %s", fold_err_text(rc));
    return 0;
}

static int open_database(struct fold_catalog *c, const struct fold_catalog_options *opt)
{
    struct fold_kv_options kv = fold_catalog_kv_options(opt->cache_bytes, c->journal_bytes);
    if (!opt->read_only)
        return fold_kv_open(c->dirfd, FOLD_CATALOG_DIR, &kv, &c->kv);
    kv.no_compaction = true;
    kv.keep_open = true;
    int rc = fold_shadow_create(c->dirfd, FOLD_CATALOG_DIR, fold_shadow_database, NULL, &c->shadow);
    return rc < 0 ? rc : fold_kv_open(-1, fold_shadow_path(c->shadow), &kv, &c->kv);
}

static void destroy(struct fold_catalog *c, bool trim)
{
    fold_checkpoint_stop(c);
    fold_kv_close(c->kv);
    fold_shadow_destroy(c->shadow);
    fold_buckets_destroy(c->buckets);
    fold_recent_destroy(c->recent);
    fold_namehash_fini(&c->names);
    fold_journal_close(c->journal, trim);
    if (c->dirfd >= 0)
        (void)close(c->dirfd);
    (void)pthread_cond_destroy(&c->changed);
    fold_lock_fini(&c->state);
    fold_lock_fini(&c->commit);
    free(c);
}

int fold_catalog_open(int storefd, const struct fold_catalog_options *opt, struct fold_store *store,
                      struct fold_catalog **out)
{
    struct fold_catalog *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    c->store = store;
    c->read_only = opt->read_only;
    c->journal_bytes = opt->journal_bytes != 0 ? opt->journal_bytes : fold_knobs.journal_bytes;
    fold_lock_init(&c->commit, FOLD_RANK_COMMIT, "commit");
    fold_lock_init(&c->state, FOLD_RANK_LEAF, "catalog state");
    fold_cond_init(&c->changed);
    c->dirfd = fcntl(storefd, F_DUPFD_CLOEXEC, 0);
    int rc = c->dirfd < 0 ? -errno : fold_buckets_create(&c->buckets);
    if (rc == 0)
        rc = open_database(c, opt);
    if (rc == 0)
        rc = fold_recent_create(c->kv, &c->recent);
    if (rc == 0)
        rc = load_names(c, opt);
    if (rc == 0)
        rc = load_counters(c);
    if (rc == 0)
        rc = fold_journal_open(c->dirfd, opt->read_only, &c->journal);
    if (rc == 0)
        rc = replay(c);
    if (rc == 0) {
        atomic_store(&c->durable, atomic_load(&c->lsn));
        if (!opt->read_only)
            rc = fold_checkpoint_start(c);
        fold_shadow_vanish(c->shadow);
    }
    if (rc < 0) {
        bool damaged = rc == -FOLD_E_BAD_CATALOG || rc == -FOLD_E_CATALOG_IO;
        fold_error("catalog: cannot open: %s%s", fold_err_text(rc),
                   damaged ? "; 'foldfs fsck --repair' makes what is left of it usable" : "");
        destroy(c, false);
        return rc;
    }
    *out = c;
    return 0;
}

int fold_catalog_close(struct fold_catalog *c, bool clean)
{
    if (c == NULL)
        return 0;
    int rc = 0;
    bool flushed = false;
    if (clean) {
        rc = fold_catalog_checkpoint(c);
        flushed = rc == 0;
        /* No room for a checkpoint: the journal alone keeps everything, too. */
        if (rc == -FOLD_E_FULL || rc == -ENOSPC)
            rc = fold_catalog_sync(c, fold_catalog_lsn(c));
    }
    destroy(c, flushed);
    return rc;
}

fold_lsn fold_catalog_lsn(const struct fold_catalog *c)
{
    return atomic_load(&c->lsn);
}

fold_lsn fold_catalog_durable(const struct fold_catalog *c)
{
    return atomic_load(&c->durable);
}

fold_ino fold_catalog_new_ino(struct fold_catalog *c)
{
    return atomic_fetch_add(&c->next_ino, 1);
}

void fold_catalog_counters(const struct fold_catalog *c, struct fold_counters *out)
{
    out->next_ino = atomic_load(&c->next_ino);
    out->files = atomic_load(&c->files);
    out->directories = atomic_load(&c->directories);
    out->others = atomic_load(&c->others);
    out->logical_bytes = atomic_load(&c->logical_bytes);
}

uint64_t fold_catalog_pending(const struct fold_catalog *c)
{
    return atomic_load(&c->pending);
}

uint64_t fold_catalog_bytes(const struct fold_catalog *c)
{
    return fold_kv_live_bytes(c->kv) + fold_journal_bytes(c->journal);
}

uint64_t fold_catalog_merge_room(const struct fold_catalog *c)
{
    uint64_t live = fold_kv_live_bytes(c->kv);
    return live + live / 4;
}
