/* SPDX-License-Identifier: MIT */
/*
 * One load of the index does it all. The sealer is held meanwhile: what is looked up here must not
 * change before the load is in.
 */
#include "meta/unindex.h"

#include "meta/base/grow.h"
#include "meta/storeparts.h"

#include <errno.h>

struct leaving {
    struct fold_store *store;
    const struct fold_collect_options *opt;
    struct fold_index_entry *entries;
    size_t count, cap;
};

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
        else if (rc == 0 && fold_loc_equal(loc, old)) {
            struct fold_loc to = fold_forward_resolve(l->store->forward, old);
            bool moved = !fold_loc_equal(to, old);
            l->entries[l->count++] =
                (struct fold_index_entry){{fp.w[0], fp.w[1]}, moved ? to : (struct fold_loc){0, 0}};
            if (!moved && l->opt->dropped != NULL)
                l->opt->dropped(l->opt->arg, &fp);
        }
    }
    return rc;
}

static int take_punched(struct leaving *l, struct fold_punch *punch, size_t i)
{
    struct fold_seg_entry *entries;
    uint32_t count;
    int rc = fold_punch_entries(punch, i, &entries, &count);
    if (rc < 0)
        return rc;
    rc = take(l, punch->items[i].seg, entries, count);
    free(entries);
    return rc;
}

int fold_unindex_run(struct fold_store *store, const struct fold_condemned *list, size_t count,
                     struct fold_punch *punch, const struct fold_collect_options *opt)
{
    struct leaving l = {.store = store, .opt = opt};
    size_t gone_count = 0;
    uint32_t *gone = malloc((count + punch->count + 1) * sizeof *gone);
    if (gone == NULL)
        return -ENOMEM;
    int rc = 0;
    fold_sealer_hold(store->sealer);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        gone[gone_count++] = list[i].seg;
        rc = take(&l, list[i].seg, list[i].entries, list[i].count);
    }
    for (size_t i = 0; rc == 0 && i < punch->count; i++) {
        if (punch->items[i].gaps == NULL)
            continue;
        gone[gone_count++] = punch->items[i].seg;
        rc = take_punched(&l, punch, i);
    }
    struct fold_index_load load = {
        .entries = l.entries, .count = l.count, .gone = gone, .gone_count = gone_count};
    if (rc == 0 && gone_count > 0)
        rc = fold_index_apply(store->index, &load);
    fold_sealer_release(store->sealer);
    free(l.entries);
    free(gone);
    return rc;
}
