/* SPDX-License-Identifier: MIT */
/*
 * One load of the index does it all. The sealer is held meanwhile: what is looked up here must not
 * change before the load is in. Records that stay are looked for before that, since it takes long;
 * nobody but the collection that calls this takes any away.
 *
 * A fingerprint leaves only if no record with it stays. One in a segment that is not indexed yet
 * counts as well: its entry comes with the load of that segment.
 */
#include "meta/unindex.h"

#include "meta/base/grow.h"
#include "meta/heirs.h"
#include "meta/storeparts.h"

#include <errno.h>

struct leaving {
    struct fold_store *store;
    const struct fold_livemap *live;
    const struct fold_collect_options *opt;
    struct fold_heirs *heirs;
    struct fold_index_entry *entries;
    size_t count, cap;
};

typedef int (*table_fn)(struct leaving *l, uint32_t seg, const struct fold_seg_entry *entries,
                        uint32_t count);

/* Calls `fn` for the records that go, one segment at a time. */
static int each_table(struct leaving *l, const struct fold_condemned *list, size_t count,
                      struct fold_punch *punch, table_fn fn)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = fn(l, list[i].seg, list[i].entries, list[i].count);
    for (size_t i = 0; rc == 0 && i < punch->count; i++) {
        FOLD_AUTO(free) struct fold_seg_entry *entries = NULL;
        uint32_t n;
        if (punch->items[i].gaps == NULL)
            continue;
        rc = fold_punch_entries(punch, i, &entries, &n);
        if (rc == 0)
            rc = fn(l, punch->items[i].seg, entries, n);
    }
    return rc;
}

static int count_records(struct leaving *l, uint32_t seg, const struct fold_seg_entry *entries,
                         uint32_t count)
{
    (void)seg;
    (void)entries;
    l->count += count;
    return 0;
}

static int announce(struct leaving *l, uint32_t seg, const struct fold_seg_entry *entries,
                    uint32_t count)
{
    for (uint32_t k = 0; k < count; k++)
        if (!fold_seg_entry_gone(&entries[k]) &&
            !fold_livemap_test(l->live, (struct fold_loc){seg, entries[k].off}))
            fold_heirs_leave(l->heirs, entries[k].w);
    return 0;
}

/* What becomes of the entry of a record that goes: it names another place, or is removed. */
static struct fold_loc successor(struct leaving *l, struct fold_loc old, const struct fold_fp *fp)
{
    struct fold_loc to = {0, 0};
    if (fold_livemap_test(l->live, old))
        return fold_forward_resolve(l->store->forward, old); /* where it was just copied to */
    return fold_heirs_get(l->heirs, fp->w, &to) ? to : (struct fold_loc){0, 0};
}

/* Records of one segment: an index entry that names another place is none of ours. */
static int take(struct leaving *l, uint32_t seg, const struct fold_seg_entry *entries,
                uint32_t count)
{
    int rc = FOLD_GROW(l->entries, l->cap, l->count + count, 1);
    for (uint32_t k = 0; rc == 0 && k < count; k++) {
        struct fold_fp fp = {{entries[k].w[0], entries[k].w[1], 0, 0}};
        struct fold_loc loc, old = {seg, entries[k].off};
        if (fold_seg_entry_gone(&entries[k]))
            continue;
        rc = fold_index_get(l->store->index, &fp, &loc);
        if (rc == -ENOENT)
            rc = 0;
        else if (rc == 0 && fold_loc_equal(loc, old))
            l->entries[l->count++] =
                (struct fold_index_entry){{fp.w[0], fp.w[1]}, successor(l, old, &fp)};
    }
    return rc;
}

/* Finds who stays in the place of what goes. */
static int find_heirs(struct leaving *l, const struct fold_condemned *list, size_t count,
                      struct fold_punch *punch)
{
    int rc = each_table(l, list, count, punch, count_records);
    if (rc == 0)
        rc = fold_heirs_create(l->count, &l->heirs);
    l->count = 0;
    if (rc == 0)
        rc = each_table(l, list, count, punch, announce);
    return rc == 0 ? fold_heirs_find(l->heirs, l->store, punch, l->live) : rc;
}

/* Names the fingerprints of which no record is left. */
static void tell_dropped(const struct leaving *l)
{
    for (size_t i = 0; l->opt->dropped != NULL && i < l->count; i++) {
        const struct fold_index_entry *e = &l->entries[i];
        struct fold_fp fp = {{e->w[0], e->w[1], 0, 0}};
        struct fold_loc loc;
        if (e->loc.seg == 0 && !fold_openindex_find(l->store->open, &fp, &loc))
            l->opt->dropped(l->opt->arg, &fp);
    }
}

static int apply(struct leaving *l, const struct fold_condemned *list, size_t count,
                 struct fold_punch *punch)
{
    size_t gone_count = 0;
    FOLD_AUTO(free) uint32_t *gone = malloc((count + punch->count + 1) * sizeof *gone);
    if (gone == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        gone[gone_count++] = list[i].seg;
    for (size_t i = 0; i < punch->count; i++)
        if (punch->items[i].gaps != NULL)
            gone[gone_count++] = punch->items[i].seg;
    if (gone_count == 0)
        return 0;
    fold_sealer_hold(l->store->sealer);
    int rc = each_table(l, list, count, punch, take);
    struct fold_index_load load = {
        .entries = l->entries, .count = l->count, .gone = gone, .gone_count = gone_count};
    if (rc == 0)
        rc = fold_index_apply(l->store->index, &load);
    if (rc == 0)
        tell_dropped(l);
    fold_sealer_release(l->store->sealer);
    return rc;
}

int fold_unindex_run(struct fold_store *store, const struct fold_condemned *list, size_t count,
                     struct fold_punch *punch, const struct fold_collect_options *opt)
{
    struct leaving l = {.store = store, .live = punch->live, .opt = opt};
    int rc = find_heirs(&l, list, count, punch);
    if (rc == 0)
        rc = apply(&l, list, count, punch);
    fold_heirs_destroy(l.heirs);
    free(l.entries);
    return rc;
}
