/* SPDX-License-Identifier: MIT */
/*
 * One walk through the index marks the records that it names, for as many segments at once as
 * bitmaps may cover. Only for records that are not marked, duplicates mostly, the index is asked
 * one by one. Lookups and loads go on meanwhile: before the lost entries go in, the index is asked
 * again.
 */
#include "meta/reindex.h"

#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/gaps.h"
#include "meta/storeparts.h"

#include <errno.h>
#include <inttypes.h>

#define LOOK_EVERY 65536u /* entries between two looks whether to go on */

struct reindex {
    struct fold_store *store;
    const struct fold_collect_options *opt;
    struct fold_livemap *named; /* records that the index names */
    uint32_t *segs;
    size_t seg_count;
    uint64_t seen;
    struct fold_index_entry *lost;
    size_t count, cap;
};

static bool cancelled(const struct reindex *r)
{
    return r->opt->cancelled != NULL && r->opt->cancelled(r->opt->arg);
}

/* Sealed segments from *next on. */
static int choose(struct reindex *r, uint32_t *next, uint32_t last)
{
    uint32_t longest = r->store->opt.segment_bytes;
    size_t most = FOLD_MAX((uint64_t)1, fold_knobs.reindex_map_bytes / fold_livemap_cost(longest));
    r->seg_count = 0;
    r->segs = malloc(most * sizeof *r->segs);
    if (r->segs == NULL)
        return -ENOMEM;
    for (; *next <= last && r->seg_count < most; (*next)++) {
        const struct fold_seg *seg = fold_segset_get(r->store->set, *next);
        if (seg == NULL || atomic_load(&seg->state) != FOLD_SEG_SEALED)
            continue;
        longest = FOLD_MAX(longest, seg->ident.capacity);
        r->segs[r->seg_count++] = *next;
    }
    return fold_livemap_create(r->segs, r->seg_count, longest, &r->named);
}

static int note_named(void *arg, const struct fold_fp *fp, struct fold_loc loc)
{
    struct reindex *r = arg;
    (void)fp;
    fold_livemap_mark(r->named, loc);
    return ++r->seen % LOOK_EVERY == 0 && cancelled(r) ? -ECANCELED : 0;
}

/* 1 if nothing answers for the fingerprint, neither the index nor the open one. */
static int is_lost(const struct reindex *r, const uint64_t w[2])
{
    struct fold_fp fp = {{w[0], w[1], 0, 0}};
    struct fold_loc loc;
    if (fold_openindex_find(r->store->open, &fp, &loc))
        return 0;
    int rc = fold_index_get(r->store->index, &fp, &loc);
    return rc == -ENOENT ? 1 : rc;
}

static int look_into(struct reindex *r, uint32_t seg)
{
    FOLD_AUTO(free) struct fold_seg_entry *entries = NULL;
    uint32_t count;
    int rc = fold_reader_table(r->store->reader, seg, &entries, &count);
    if (rc < 0)
        return rc == -ENOMEM ? rc : 0;
    for (uint32_t i = 0; rc >= 0 && i < count; i++) {
        const struct fold_seg_entry *e = &entries[i];
        struct fold_loc loc = {seg, e->off};
        if (fold_seg_entry_gone(e) || fold_livemap_test(r->named, loc))
            continue;
        rc = is_lost(r, e->w);
        if (rc > 0)
            rc = FOLD_GROW(r->lost, r->cap, r->count + 1, 64) < 0 ? -ENOMEM : 1;
        if (rc > 0)
            r->lost[r->count++] = (struct fold_index_entry){{e->w[0], e->w[1]}, loc};
    }
    return FOLD_MIN(rc, 0);
}

/* Finds what is lost among the records of some segments. */
static int look_at_some(struct reindex *r, uint32_t *next, uint32_t last)
{
    int rc = choose(r, next, last);
    if (rc == 0 && r->seg_count > 0)
        rc = fold_index_each(r->store->index, note_named, r);
    for (size_t i = 0; rc == 0 && i < r->seg_count; i++)
        rc = cancelled(r) ? -ECANCELED : look_into(r, r->segs[i]);
    fold_livemap_destroy(r->named);
    free(r->segs);
    r->named = NULL;
    r->segs = NULL;
    return rc;
}

/* Leaves out what was stored again meanwhile. */
static int look_again(struct reindex *r)
{
    size_t kept = 0;
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < r->count; i++) {
        rc = is_lost(r, r->lost[i].w);
        if (rc > 0)
            r->lost[kept++] = r->lost[i];
    }
    r->count = kept;
    return FOLD_MIN(rc, 0);
}

static int enter(struct reindex *r)
{
    fold_sealer_hold(r->store->sealer);
    int rc = look_again(r);
    struct fold_index_load load = {.entries = r->lost, .count = r->count, .complete = true};
    if (rc == 0)
        rc = fold_index_apply(r->store->index, &load);
    fold_sealer_release(r->store->sealer);
    return rc;
}

/* Of several records with one fingerprint one entry is there: it is told once. */
static uint64_t tell_added(const struct reindex *r)
{
    uint64_t n = 0;
    for (size_t i = 0; i < r->count; i++) {
        const struct fold_index_entry *e = &r->lost[i];
        struct fold_fp fp = {{e->w[0], e->w[1], 0, 0}};
        if (i > 0 && e[-1].w[0] == e->w[0] && e[-1].w[1] == e->w[1])
            continue;
        n++;
        if (r->opt->added != NULL)
            r->opt->added(r->opt->arg, &fp);
    }
    return n;
}

int fold_reindex_run(struct fold_store *store, const struct fold_collect_options *opt,
                     uint64_t *count)
{
    struct reindex r = {.store = store, .opt = opt};
    bool complete;
    int rc = fold_index_complete(store->index, &complete);
    if (rc < 0 || complete)
        return rc;
    uint32_t next = 1, last = fold_segset_last(store->set);
    while (rc == 0 && next <= last)
        rc = look_at_some(&r, &next, last);
    if (rc == 0)
        rc = enter(&r);
    if (rc == 0)
        *count = tell_added(&r);
    if (rc == 0 && r.count > 0)
        fold_warn("%" PRIu64 " stored chunks were not in the index; they are found again", *count);
    free(r.lost);
    return rc;
}
