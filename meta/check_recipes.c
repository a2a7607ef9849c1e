/* SPDX-License-Identifier: MIT */
/*
 * Recipes against inodes and records. What a file lost is named by its range; extents that lie side
 * by side and have lost their bytes for the same reason are told as one. Lost bytes stay lost: an
 * extent is never replaced by zeros.
 */
#include "meta/base/err.h"
#include "meta/checkparts.h"
#include "meta/commit.h"
#include "meta/names.h"
#include "meta/recipe.h"
#include "meta/storeparts.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

/* Damage of the file at hand that is not told yet. */
struct run {
    fold_ino ino;
    uint64_t from, to;
    struct fold_loc loc;
    const char *why; /* NULL: none */
};

struct walk {
    struct fold_check *k;
    struct run run;
};

static void tell_run(struct walk *w)
{
    struct run *r = &w->run;
    if (r->why == NULL)
        return;
    struct fold_check_node *n = fold_check_node(w->k, r->ino);
    char *path = NULL;
    if (n == NULL || fold_names_path(w->k->volume->catalog, n->above, r->ino, &path) < 0)
        path = NULL;
    fold_check_found(w->k, "file.damaged", FOLD_SEVERITY_ERROR, false, fold_label_ino(r->ino).text,
                     "%s: bytes %" PRIu64 " to %" PRIu64 " cannot be read: %s (segment %08" PRIx32
                     " offset %" PRIu32 ")",
                     path != NULL ? path : "a file without a name", r->from, r->to - 1, r->why,
                     r->loc.seg, r->loc.off);
    free(path);
    r->why = NULL;
}

static void lose(struct walk *w, fold_ino ino, const struct fold_extent *e, const char *why)
{
    struct run *r = &w->run;
    if (r->why == why && r->ino == ino && r->to == e->off) {
        r->to = e->off + e->len;
        return;
    }
    tell_run(w);
    *r = (struct run){ino, e->off, e->off + e->len, e->loc, why};
}

static void check_extent(struct walk *w, struct fold_check_node *n, const struct fold_extent *e)
{
    struct fold_check *k = w->k;
    if (e->kind != FOLD_EXTENT_DATA)
        return;
    struct fold_loc loc = fold_forward_resolve(k->volume->store->forward, e->loc);
    struct fold_check_rec *rec = fold_check_rec(k, loc);
    if (rec == NULL) {
        lose(w, n->ino, e, "the stored chunk is missing");
        return;
    }
    rec->raw_len |= FOLD_REC_NAMED;
    if (rec->raw_len & FOLD_REC_DAMAGED)
        lose(w, n->ino, e, "the stored chunk is damaged");
    else if ((uint64_t)e->skip + e->len > (rec->raw_len & FOLD_REC_LEN_MASK))
        lose(w, n->ino, e, "the stored chunk is shorter than the recipe says");
}

static int take_page(void *arg, const struct fold_kv_entry *e)
{
    struct walk *w = arg;
    struct fold_check *k = w->k;
    struct fold_page page = {0};
    fold_ino ino;
    uint64_t page_no;
    if (!fold_key_read_pair(e->key, e->key_len, FOLD_TABLE_RECIPE, &ino, &page_no)) {
        fold_check_bad_key(k, e, "recipes");
        return 0;
    }
    struct fold_check_label name = fold_label_ino(ino);
    struct fold_check_node *n = fold_check_node(k, ino);
    if (n != NULL && (n->marks & FOLD_NODE_BAD) && n->links == 0)
        n->mode = S_IFREG;
    if (n == NULL || !S_ISREG(n->mode)) {
        fold_check_found(k, "recipe.stray", FOLD_SEVERITY_ERROR, fold_check_remove(k, e), name.text,
                         "it has content, but %s",
                         n == NULL ? "does not exist" : "is no regular file");
        return 0;
    }
    int rc = fold_page_decode(e->val, e->val_len, page_no, &page);
    if (rc == -ENOMEM)
        return rc;
    if (rc < 0) {
        n->marks |= FOLD_NODE_UNKNOWN;
        struct fold_extent lost = {.off = page_no * FOLD_PAGE_BYTES, .len = FOLD_PAGE_BYTES};
        lose(w, ino, &lost, "the recipe is damaged");
        return 0;
    }
    for (uint32_t i = 0; i < page.count; i++)
        check_extent(w, n, &page.extents[i]);
    k->result->extents += page.count;
    n->found_mapped += fold_page_mapped(&page);
    if (n->marks & FOLD_NODE_BAD)
        n->size = page.extents[page.count - 1].off + page.extents[page.count - 1].len;
    fold_page_fini(&page);
    return 0;
}

int fold_check_recipes(struct fold_check *k)
{
    struct walk w = {.k = k};
    struct fold_counters sum;
    fold_catalog_counters(k->volume->catalog, &sum);
    int rc = fold_check_table(k, FOLD_TABLE_RECIPE, "recipes", sum.logical_bytes / FOLD_PAGE_BYTES,
                              take_page, &w);
    tell_run(&w);
    return rc;
}
