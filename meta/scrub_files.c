/* SPDX-License-Identifier: MIT */
/*
 * One walk over all recipes finds the inodes that use damaged chunks, one over all directories
 * their names. Both read snapshots: what changes meanwhile may be named as it was.
 */
#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/knob.h"
#include "meta/names.h"
#include "meta/recipe.h"
#include "meta/scrubparts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct names {
    struct fold_store *store;
    struct fold_scrub_result *r;
    fold_ino *inos; /* of all damage, each once after sorting */
    size_t count, cap;
};

static struct fold_scrub_damage *damage_at(struct fold_scrub_result *r, struct fold_loc loc)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        struct fold_loc at = r->damage[mid].loc;
        if (at.seg < loc.seg || (at.seg == loc.seg && at.off < loc.off))
            low = mid + 1;
        else
            high = mid;
    }
    return low < r->count && fold_loc_equal(r->damage[low].loc, loc) ? &r->damage[low] : NULL;
}

static int push(fold_ino **list, size_t *count, size_t *cap, fold_ino ino)
{
    if (FOLD_GROW(*list, *cap, *count + 1, 4) < 0)
        return -ENOMEM;
    (*list)[(*count)++] = ino;
    return 0;
}

/* Recipes come in inode order, so an inode that is the last one noted is known. */
static int note(struct names *n, struct fold_scrub_damage *d, fold_ino ino)
{
    if (d->file_count >= fold_knobs.scrub_files ||
        (d->file_count > 0 && d->inos[d->file_count - 1] == ino))
        return 0;
    int rc = push(&d->inos, &d->file_count, &d->ino_cap, ino);
    if (rc == 0 && (n->count == 0 || n->inos[n->count - 1] != ino))
        rc = push(&n->inos, &n->count, &n->cap, ino);
    return rc;
}

static int walk_page(void *arg, fold_ino ino, uint64_t page_no, const struct fold_page *p)
{
    struct names *n = arg;
    int rc = 0;
    (void)page_no;
    for (uint32_t i = 0; rc == 0 && i < p->count; i++) {
        if (p->extents[i].kind != FOLD_EXTENT_DATA)
            continue;
        struct fold_scrub_damage *d =
            damage_at(n->r, fold_store_where(n->store, p->extents[i].loc));
        if (d != NULL)
            rc = note(n, d, ino);
    }
    return rc;
}

static char *name_of(const struct names *n, char *const *paths, fold_ino ino)
{
    char *text = NULL;
    size_t low = 0, high = n->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (n->inos[mid] < ino)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < n->count && n->inos[low] == ino && paths[low] != NULL)
        return strdup(paths[low]);
    return asprintf(&text, "inode %" PRIu64, ino) < 0 ? NULL : text;
}

static int give_names(struct names *n, char *const *paths)
{
    for (size_t i = 0; i < n->r->count; i++) {
        struct fold_scrub_damage *d = &n->r->damage[i];
        d->files = calloc(d->file_count + 1, sizeof *d->files);
        for (size_t f = 0; d->files != NULL && f < d->file_count; f++)
            d->files[f] = name_of(n, paths, d->inos[f]);
        if (d->files == NULL || (d->file_count > 0 && d->files[d->file_count - 1] == NULL))
            return -ENOMEM;
    }
    return 0;
}

int fold_scrub_name_files(struct fold_store *store, struct fold_catalog *catalog,
                          struct fold_scrub_result *r)
{
    struct names n = {.store = store, .r = r};
    int rc = fold_recipe_walk(catalog, walk_page, &n);
    char **paths = calloc(n.count + 1, sizeof *paths);
    if (paths == NULL && rc == 0)
        rc = -ENOMEM;
    if (rc == 0 && n.count > 0)
        rc = fold_names_find(catalog, n.inos, n.count, paths);
    if (rc == 0)
        rc = give_names(&n, paths);
    for (size_t i = 0; paths != NULL && i < n.count; i++)
        free(paths[i]);
    free(paths);
    free(n.inos);
    return rc;
}
