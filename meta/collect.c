/* SPDX-License-Identifier: MIT */
/*
 * The cycle of collect.h, except for copying (meta/compact.c). Candidates are sealed and indexed
 * before the cycle starts, so that everything that can hit them goes through the store's lookup,
 * which marks and respects condemnation.
 */
#include "meta/collect.h"

#include "meta/base/clock.h"
#include "meta/base/err.h"
#include "meta/base/gate.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/lock.h"
#include "meta/base/log.h"
#include "meta/compact.h"
#include "meta/punch.h"
#include "meta/reindex.h"
#include "meta/segnext.h"
#include "meta/storeparts.h"
#include "meta/unindex.h"
#include "meta/walk.h"

#include <errno.h>
#include <time.h>

/* What copying leaves to the checkpoint and to tables, besides what the journal holds. */
#define ROOM_KEPT (6u << 20)

struct cycle {
    struct fold_store *store;
    struct fold_catalog *catalog;
    struct fold_gate *gate;
    const struct fold_collect_options *opt;
    struct fold_collect_result *result;
    struct fold_livemap *live;
    struct fold_condemned *list; /* all candidates first, then only the condemned */
    size_t count;
    uint32_t *spared; /* numbers of the candidates that stay */
    size_t spared_count;
    struct fold_punch punch; /* what goes from those */
    uint32_t *tables;        /* segments with forwarding tables before the cycle */
    atomic_bool *named;      /* parallel: a recipe still needs the table */
    size_t table_count;
    _Atomic uint64_t extents;
    struct fold_lock calls; /* walkers call the caller's functions one at a time */
    bool short_of_room;     /* not everything worth it could be condemned */
};

static int step(const struct cycle *c, unsigned n)
{
    if (c->opt->cancelled != NULL && c->opt->cancelled(c->opt->arg))
        return -ECANCELED;
    return c->opt->step != NULL ? c->opt->step(c->opt->arg, n) : 0;
}

static void tell(const struct cycle *c, const char *what, uint64_t done, uint64_t total)
{
    struct fold_collect_progress p = {what, done, total};
    if (c->opt->progress != NULL)
        c->opt->progress(c->opt->arg, &p);
}

/* Sealed segments from *next on, as many as the bitmaps may cover. */
static int choose(struct cycle *c, uint32_t *next, uint32_t last)
{
    uint32_t bytes = c->store->opt.segment_bytes;
    size_t most = FOLD_MAX(1u, fold_knobs.live_map_bytes / fold_livemap_cost(bytes));
    c->list = calloc(most, sizeof *c->list);
    uint32_t *segs = malloc(most * sizeof *segs);
    int rc = c->list != NULL && segs != NULL ? 0 : -ENOMEM;
    uint32_t longest = bytes;
    for (; rc == 0 && *next <= last && c->count < most; (*next)++) {
        const struct fold_seg *seg = fold_segset_get(c->store->set, *next);
        if (seg == NULL || atomic_load(&seg->state) != FOLD_SEG_SEALED)
            continue;
        longest = FOLD_MAX(longest, seg->ident.capacity);
        segs[c->count] = *next;
        c->list[c->count++].seg = *next;
    }
    if (rc == 0)
        rc = fold_livemap_create(segs, c->count, longest, &c->live);
    free(segs);
    c->result->segments_seen += c->count;
    return rc;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void name_table(struct cycle *c, uint32_t seg)
{
    const uint32_t *at = bsearch(&seg, c->tables, c->table_count, sizeof seg, by_number);
    if (at != NULL)
        atomic_store(&c->named[at - c->tables], true);
}

static int walk_page(void *arg, fold_ino ino, uint64_t page_no, const struct fold_page *p)
{
    struct cycle *c = arg;
    bool moved = false;
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->extents[i].kind != FOLD_EXTENT_DATA)
            continue;
        struct fold_loc loc = p->extents[i].loc, at = loc;
        for (unsigned n = 0; n < FOLD_FORWARD_HOPS; n++, loc = at) {
            if (!fold_forward_step(c->store->forward, &at))
                break;
            name_table(c, loc.seg);
            moved = true;
        }
        fold_livemap_mark(c->live, loc);
    }
    atomic_fetch_add_explicit(&c->extents, p->count, memory_order_relaxed);
    bool look = (page_no & 1023) == 0 && c->opt->cancelled != NULL;
    moved = moved && c->opt->moved != NULL;
    if (!look && !moved)
        return 0;
    fold_lock_take(&c->calls);
    if (moved)
        c->opt->moved(c->opt->arg, ino, page_no);
    bool stop = look && c->opt->cancelled(c->opt->arg);
    fold_lock_drop(&c->calls);
    return stop ? -ECANCELED : 0;
}

static int mark(struct cycle *c)
{
    tell(c, "mark", 0, 1);
    uint64_t start = fold_clock_ms();
    atomic_store(&c->store->live, c->live);
    fold_gate_wait(c->gate);
    uint64_t cpu_ns = 0;
    int rc = fold_walk_run(c->catalog, c->opt->workers, c->opt->walkers, walk_page, c, &cpu_ns);
    c->result->extents += atomic_load(&c->extents);
    c->result->walk_ms += fold_clock_ms() - start;
    c->result->walk_cpu_us += cpu_ns / 1000;
    tell(c, "mark", 1, 1);
    return rc;
}

/* Fills in the table of a candidate and how much of it is dead. */
static int weigh(struct cycle *c, struct fold_condemned *s)
{
    const struct fold_seg *seg = fold_segset_get(c->store->set, s->seg);
    int rc = s->entries == NULL
                 ? fold_reader_table(c->store->reader, s->seg, &s->entries, &s->count)
                 : 0;
    if (rc < 0)
        return rc;
    s->live_bytes = 0;
    s->live_count = 0;
    uint32_t end = atomic_load(&seg->data_end);
    for (uint32_t i = s->count; i > 0; i--) {
        const struct fold_seg_entry *e = &s->entries[i - 1];
        /* A healed record was left for good, whoever names its old place. */
        struct fold_loc at = {s->seg, e->off};
        if (fold_livemap_test(c->live, at)) {
            s->live_bytes += end - e->off;
            s->live_count++;
        }
        end = e->off;
    }
    s->stored_bytes = fold_seg_stored(seg);
    s->file_bytes = fold_seg_occupied(seg);
    return 0;
}

static bool worth(const struct cycle *c, const struct fold_condemned *s)
{
    uint64_t dead = s->stored_bytes - FOLD_MIN(s->live_bytes, s->stored_bytes);
    unsigned percent = c->opt->full ? fold_knobs.dead_percent_full : fold_knobs.dead_percent;
    return s->live_count == 0 || dead * 100 >= s->stored_bytes * percent;
}

static void set_condemned(struct cycle *c, uint32_t seg, bool condemned)
{
    atomic_store(&fold_segset_get(c->store->set, seg)->condemned, condemned);
}

static int by_live(const void *a, const void *b)
{
    const struct fold_condemned *x = a, *y = b;
    return (x->live_bytes > y->live_bytes) - (x->live_bytes < y->live_bytes);
}

/* Pardons what there is no room to copy: those go first that free most for least. */
static int fit(struct cycle *c)
{
    uint64_t room, copied = 0;
    int rc = fold_io_space(c->store->dirfd, &room);
    if (rc < 0)
        return rc;
    uint64_t kept = ROOM_KEPT + fold_catalog_pending(c->catalog);
    kept += (uint64_t)fold_segment_ahead(c->store->opt.segment_bytes) * c->store->opt.appenders;
    room -= FOLD_MIN(room, kept);
    qsort(c->list, c->count, sizeof *c->list, by_live);
    size_t n = 0;
    for (; n < c->count; n++) {
        /* What is live may grow until the bits are read again, and framing is written anew. */
        copied += c->list[n].live_bytes + c->list[n].live_bytes / 16;
        if (c->list[n].live_bytes > 0 && copied > room)
            break;
    }
    c->short_of_room = n < c->count;
    while (c->count > n) {
        struct fold_condemned *s = &c->list[--c->count];
        set_condemned(c, s->seg, false);
        c->spared[c->spared_count++] = s->seg;
        c->result->garbage_bytes += s->stored_bytes - FOLD_MIN(s->live_bytes, s->stored_bytes);
        free(s->entries);
        s->entries = NULL;
    }
    return 0;
}

/* Keeps the candidates that are to go; what lookups hit just before they were condemned counts as
 * live. */
static int condemn(struct cycle *c)
{
    size_t kept = 0;
    c->spared = malloc((c->count + 1) * sizeof *c->spared);
    if (c->spared == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < c->count; i++) {
        struct fold_condemned *s = &c->list[i];
        int rc = weigh(c, s);
        bool take = rc == 0 && worth(c, s);
        if (rc < 0)
            fold_warn("segment %08x is left alone by the collector: %s", s->seg, fold_err_text(rc));
        if (rc == 0 && !take && s->live_bytes < s->stored_bytes)
            c->spared[c->spared_count++] = s->seg;
        if (rc == 0 && !take)
            c->result->garbage_bytes += s->stored_bytes - FOLD_MIN(s->live_bytes, s->stored_bytes);
        if (take) {
            set_condemned(c, s->seg, true);
            struct fold_condemned keep = *s;
            *s = c->list[kept];
            c->list[kept++] = keep;
        }
        if (!take) {
            free(s->entries);
            s->entries = NULL;
        }
    }
    c->count = kept;
    int rc = fit(c);
    if (rc == 0)
        rc = fold_punch_plan(&c->punch, c->store, c->live, c->spared, c->spared_count);
    fold_gate_wait(c->gate);
    for (size_t i = 0; rc == 0 && i < c->count; i++)
        rc = weigh(c, &c->list[i]);
    return rc == 0 ? fold_punch_settle(&c->punch) : rc;
}

static int remove_files(struct cycle *c)
{
    int first =
        c->count > 0 ? fold_segnext_save(c->store->dirfd, fold_segset_last(c->store->set)) : 0;
    if (first < 0)
        return first;
    for (size_t i = 0; i < c->count; i++) {
        struct fold_condemned *s = &c->list[i];
        char name[FOLD_SEG_NAME_BYTES];
        fold_seg_name(s->seg, name);
        atomic_store(&fold_segset_get(c->store->set, s->seg)->state, FOLD_SEG_GONE);
        fold_locality_drop(c->store->locality, s->seg);
        fold_segmap_drop(c->store->map, s->seg);
        int rc = fold_io_unlink(c->store->dirfd, name);
        if (rc < 0 && first == 0)
            first = rc;
        c->result->segments_removed++;
        c->result->segments_copied += s->live_count > 0;
        c->result->freed_bytes += s->file_bytes;
        rc = fold_gaps_remove(c->store->dirfd, s->seg);
        first = first < 0 ? first : rc;
    }
    return first;
}

/* Tables that existed before the walk and that no recipe led through are of no use any more, once a
 * power cut cannot bring recipes of before back. */
static int retire_tables(struct cycle *c)
{
    bool durable = false;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->table_count; i++) {
        const struct fold_seg *seg = fold_segset_get(c->store->set, c->tables[i]);
        bool gone = seg == NULL || atomic_load(&seg->state) == FOLD_SEG_GONE;
        bool fresh = false;
        for (size_t k = 0; k < c->count; k++)
            fresh = fresh || c->list[k].seg == c->tables[i];
        if (c->named[i] || !gone || fresh)
            continue;
        if (!durable)
            rc = fold_catalog_sync(c->catalog, fold_catalog_lsn(c->catalog));
        durable = true;
        if (rc == 0)
            rc = fold_forward_retire(c->store->forward, c->tables[i]);
        c->result->tables_retired += rc == 0;
    }
    return rc;
}

static void fini(struct cycle *c)
{
    for (size_t i = 0; i < c->count; i++) {
        set_condemned(c, c->list[i].seg, false);
        free(c->list[i].entries);
    }
    atomic_store(&c->store->live, NULL);
    fold_punch_withdraw(&c->punch);
    fold_gate_wait(c->gate); /* whoever still holds the map or looks at what was doomed has left */
    fold_punch_fini(&c->punch);
    fold_livemap_destroy(c->live);
    free(c->list);
    free(c->spared);
    free(c->tables);
    free((void *)(uintptr_t)c->named);
    fold_lock_fini(&c->calls);
}

static int remove_condemned(struct cycle *c)
{
    int rc = step(c, 3);
    if (rc == 0)
        rc = fold_compact_run(c->store, c->list, &c->count, c->live, c->opt, c->result);
    if (rc == 0)
        rc = step(c, 4);
    bool takes = c->count + c->punch.count > 0;
    if (rc == 0 && takes) {
        tell(c, "commit", 0, 1);
        rc = fold_catalog_checkpoint(c->catalog);
    }
    if (rc == 0)
        rc = step(c, 5);
    if (rc == 0 && takes)
        rc = fold_unindex_run(c->store, c->list, c->count, &c->punch, c->opt);
    if (rc == 0)
        rc = step(c, 6);
    /* Readers that resolved a location before the tables were there must be through. */
    fold_gate_wait(c->gate);
    if (rc == 0)
        rc = remove_files(c);
    tell(c, "punch", 0, 1);
    uint64_t before = c->result->punched_bytes;
    if (rc == 0)
        rc = fold_punch_run(&c->punch, c->gate, c->opt, c->result);
    uint64_t punched = c->result->punched_bytes - before;
    c->result->garbage_bytes -= FOLD_MIN(punched, c->result->garbage_bytes);
    return rc;
}

static int run_pass(struct cycle *c, uint32_t *next, uint32_t last, bool *more)
{
    uint64_t gave = c->result->segments_removed + c->result->segments_punched;
    int rc = fold_forward_list(c->store->forward, &c->tables, &c->table_count);
    if (rc == 0) {
        qsort(c->tables, c->table_count, sizeof *c->tables, by_number);
        c->named = calloc(c->table_count + 1, sizeof *c->named);
        rc = c->named != NULL ? choose(c, next, last) : -ENOMEM;
    }
    if (rc == 0)
        rc = fold_sealer_flush(c->store->sealer); /* all candidates are in the index then */
    if (rc == 0)
        rc = step(c, 1);
    if (rc == 0)
        rc = mark(c);
    if (rc == 0)
        rc = step(c, 2);
    if (rc == 0)
        rc = condemn(c);
    if (rc == 0)
        rc = remove_condemned(c);
    if (rc == 0)
        rc = retire_tables(c);
    gave = c->result->segments_removed + c->result->segments_punched - gave;
    *more = *more || (c->short_of_room && gave > 0);
    fini(c);
    return rc;
}

/* What keeps lost entries from being mended now is no reason for the collection to fail. */
static int reindex(struct fold_store *store, const struct fold_collect_options *opt,
                   struct fold_collect_result *out)
{
    int rc = opt->hurry ? 0 : fold_reindex_run(store, opt, &out->reindexed);
    if (rc < 0 && rc != -ECANCELED)
        fold_warn("the index was not checked for lost entries: %s", fold_err_text(rc));
    return rc == -ECANCELED ? rc : 0;
}

int fold_collect_run(struct fold_store *store, struct fold_catalog *catalog, struct fold_gate *gate,
                     const struct fold_collect_options *opt, struct fold_collect_result *out)
{
    *out = (struct fold_collect_result){0};
    if (store->appender == NULL || store->index == NULL)
        return -EROFS;
    if (opt->full)
        fold_appender_roll(store->appender);
    int rc = fold_sealer_flush(store->sealer);
    /* On a full host what one sweep frees is room for the next. */
    for (bool more = true; rc == 0 && more;) {
        uint32_t next = 1, last = fold_segset_last(store->set);
        out->garbage_bytes = 0;
        out->segments_seen = out->segments_removed; /* the others are seen again */
        for (more = false; rc == 0 && next <= last;) {
            struct cycle c = {
                .store = store, .catalog = catalog, .gate = gate, .opt = opt, .result = out};
            fold_lock_init(&c.calls, FOLD_RANK_LEAF, "collection calls");
            rc = run_pass(&c, &next, last, &more);
        }
    }
    if (rc == 0)
        rc = reindex(store, opt, out);
    if (rc == 0 && opt->full && !opt->hurry && out->segments_removed > 0)
        fold_index_compact(store->index, opt->cancelled, opt->arg);
    if (rc == 0)
        atomic_store(&store->garbage, out->garbage_bytes);
    return rc;
}
