/* SPDX-License-Identifier: MIT */
/*
 * Opening goes from the volume outwards, closing back: nobody is asked after it has gone.
 */
#include "fs/session.h"

#include "fs/ballast.h"
#include "fs/budget.h"
#include "fs/callback.h"
#include "fs/collector.h"
#include "fs/control.h"
#include "fs/chunkcache.h"
#include "fs/flush.h"
#include "fs/flusher.h"
#include "fs/live.h"
#include "fs/longwork.h"
#include "fs/handle.h"
#include "fs/orphan.h"
#include "fs/pagecache.h"
#include "fs/refold.h"
#include "fs/space.h"
#include "fs/waitroom.h"
#include "hashing/dedup.h"
#include "meta/base/err.h"
#include "meta/base/gate.h"
#include "meta/base/guard.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/base/workers.h"

#include <errno.h>
#include <fcntl.h>

static unsigned default_workers(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return (unsigned)FOLD_MAX(4, FOLD_MIN(cpus * 2, 32));
}

/* What a writer needs to know of the host filesystem; opening must find room on it. */
static int look_at_host(const char *store, bool read_only, struct statvfs *host)
{
    FOLD_AUTO(close) int fd = fold_io_open(AT_FDCWD, store, O_RDONLY | O_DIRECTORY, 0);
    int rc = fd < 0 ? fd : fold_io_statvfs(fd, host);
    if (rc == 0 && !read_only)
        fold_ballast_rescue(fd);
    return rc;
}

static int open_volume(struct fold_session *s, const char *store)
{
    struct fold_volume_params params;
    int rc = fold_volume_probe(store, &params);
    if (rc != 0)
        return rc;
    rc = fold_cut_init(&s->cut, (enum fold_cut_kind)params.chunker, params.chunk_size);
    if (rc != 0)
        return -FOLD_E_BAD_SUPERBLOCK;
    const struct fold_mount_options *o = &s->opt;
    struct statvfs host;
    rc = look_at_host(store, o->read_only, &host);
    if (rc != 0)
        return rc;
    struct fold_volume_options v = {.read_only = o->read_only};
    v.store = (struct fold_store_options){
        .segment_bytes = FOLD_MAX(fold_space_segment_bytes(&host), 2 * s->cut.max),
        .fp_width = params.hash == FOLD_HASH_SHA256 ? 32 : 16,
        .codec = o->codec == FOLD_MOUNT_CODEC_VOLUME ? (enum fold_codec)params.codec
                                                     : (enum fold_codec)o->codec,
        .verify = (enum fold_verify)o->verify,
        .index_cache_bytes = o->index_cache_bytes / 4,
        .locality_cache_bytes = o->index_cache_bytes / 4,
        .read_only = o->read_only,
    };
    v.catalog = (struct fold_catalog_options){
        .cache_bytes = o->index_cache_bytes / 2,
        .journal_bytes = fold_space_reserve(&host) / 2, /* a checkpoint must fit into the reserve */
        .read_only = o->read_only,
    };
    return fold_volume_open(store, &v, &s->volume);
}

static int open_parts(struct fold_session *s)
{
    struct fold_volume *v = s->volume;
    unsigned workers = s->opt.workers != 0 ? s->opt.workers : default_workers();
    int rc = fold_gate_create(&s->gate);
    if (rc == 0)
        rc = fold_handles_create(&s->handles);
    if (rc == 0)
        rc = fold_itable_create(v->catalog, fold_knobs.inodes_kept, &s->inodes);
    if (rc == 0) {
        fold_itable_set_session(s->inodes, s);
        rc = fold_dedup_open(v->store, v->fd, (enum fold_hash_kind)v->params.hash, v->params.secret,
                             s->opt.read_only, &s->dedup);
    }
    if (rc == 0)
        rc = s->opt.read_only ? 0 : fold_ballast_open(v->fd, &s->ballast);
    if (rc == 0)
        rc = fold_workers_create(workers, "fold-worker", &s->workers);
    if (rc == 0)
        rc = fold_longs_create(s->workers, workers / 2, &s->longs);
    if (rc == 0)
        rc = fold_callbacks_create(&s->callbacks);
    if (rc == 0)
        rc = fold_budget_create(s->opt.dirty_bytes, &s->budget);
    if (rc == 0)
        rc = fold_chunkcache_create(s->opt.chunk_cache_bytes, v->store, &s->chunks);
    if (rc == 0)
        rc = fold_pagecache_create(fold_knobs.pages_bytes, v->catalog, &s->pages);
    if (rc == 0 && !s->opt.read_only)
        fold_orphans_clean(s);
    /* Each has a thread, and the flusher's may use the other two. */
    if (rc == 0 && !s->opt.read_only)
        rc = fold_refolder_create(s, &s->refolder);
    if (rc == 0 && !s->opt.read_only)
        rc = fold_waitroom_create(s, &s->waitroom);
    if (rc == 0 && !s->opt.read_only)
        rc = fold_collector_create(s, &s->collector);
    if (rc == 0 && !s->opt.read_only)
        rc = fold_flusher_create(s, s->opt.commit_seconds, &s->flusher);
    return rc;
}

int fold_session_open(const char *store, const struct fold_mount_options *opt,
                      struct fold_session **out)
{
    fold_guard_install();
    struct fold_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -ENOMEM;
    s->opt = *opt;
    int rc = open_volume(s, store);
    if (rc == 0)
        rc = open_parts(s);
    if (rc == 0)
        rc = fold_live_start(s);
    if (rc != 0) {
        (void)fold_session_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

int fold_session_close(struct fold_session *s)
{
    int first = 0;
    bool writable = s->volume != NULL && !s->opt.read_only;
    /* Threads end first; what they belong to is in use until the workers have run the last flush.
     * Collecting and refolding are told to end before the control requests are: one of those may be
     * waiting for them. Whoever asks what we are about is answered until the store is about to be
     * unlocked. */
    atomic_store(&s->closing, true);
    fold_waitroom_close(s->waitroom);
    fold_refolder_stop(s->refolder);
    fold_collector_stop(s->collector);
    fold_control_quiesce(s->control);
    fold_flusher_stop(s->flusher);
    if (s->flusher != NULL)
        first = fold_flush_all(s);
    fold_longs_stop(s->longs);
    fold_callbacks_stop(s->callbacks); /* hands over to the workers */
    fold_workers_destroy(s->workers);  /* runs what is queued, flushes included */
    fold_longs_destroy(s->longs);
    fold_callbacks_destroy(s->callbacks);
    fold_handles_destroy(s, s->handles); /* left behind by a connection that was cut */
    if (s->flusher != NULL && first == 0)
        first = fold_flush_check(s);
    fold_collector_destroy(s->collector);
    fold_waitroom_destroy(s->waitroom);
    fold_refolder_destroy(s->refolder);
    fold_flusher_destroy(s->flusher);
    fold_pagecache_destroy(s->pages);
    fold_chunkcache_destroy(s->chunks);
    if (s->inodes != NULL)
        fold_itable_destroy(s->inodes);
    fold_budget_destroy(s->budget);
    fold_ballast_close(s->ballast);
    if (s->dedup != NULL)
        fold_dedup_close(s->dedup, writable && first == 0, s->volume->fd);
    int rc = s->volume != NULL ? fold_volume_settle(s->volume, writable) : 0;
    if (first == 0)
        first = rc;
    fold_control_stop(s->control);
    if (s->volume != NULL)
        (void)fold_volume_close(s->volume, writable);
    fold_gate_destroy(s->gate);
    free(s);
    return first;
}
