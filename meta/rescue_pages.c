/* SPDX-License-Identifier: MIT */
/*
 * A page that is missing from a recipe is a hole, which reads as zeros. Where pages were lost that
 * must not be: a place is named instead that no segment will ever have. Which of the missing pages
 * were holes is not known; files of which nothing is missing, by the bytes they say they have, are
 * left alone.
 */
#include "meta/base/err.h"
#include "meta/inode.h"
#include "meta/recipe.h"
#include "meta/rescueparts.h"
#include "meta/segfmt.h"

#include <errno.h>
#include <sys/stat.h>

#define NOWHERE   UINT32_MAX          /* the last number: no segment gets it */
#define MOST_LOST (UINT64_C(1) << 20) /* pages of one file: 1 TiB */

struct filling {
    struct fold_kv *kv;
    struct fold_kv_batch *batch;
    uint64_t first, last; /* pages of the file at hand that lie in the run */
};

static int is_there(struct fold_kv *kv, const struct fold_key *key)
{
    struct fold_kv_value v;
    int rc = fold_kv_get(kv, key->bytes, key->len, &v);
    if (rc == 0)
        fold_kv_value_fini(&v);
    return rc == 0 ? 1 : rc == -ENOENT ? 0 : rc;
}

/* Bytes that the pages of a file map. */
static int sum_mapped(struct fold_kv *kv, fold_ino ino, uint64_t *sum)
{
    struct fold_key from, to;
    struct fold_kv_iter *it;
    struct fold_kv_entry e;
    *sum = 0;
    fold_key_pair(&from, FOLD_TABLE_RECIPE, ino, 0);
    fold_key_pair(&to, FOLD_TABLE_RECIPE, ino + 1, 0);
    int rc = fold_kv_iter_open(kv, from.bytes, from.len, to.bytes, to.len, true, &it);
    if (rc < 0)
        return rc;
    while ((rc = fold_kv_iter_next(it, &e)) > 0) {
        struct fold_page page;
        uint64_t number;
        if (!fold_key_read_pair(e.key, e.key_len, FOLD_TABLE_RECIPE, &ino, &number) ||
            fold_page_decode(e.val, e.val_len, number, &page) < 0)
            continue;
        *sum += fold_page_mapped(&page);
        fold_page_fini(&page);
    }
    fold_kv_iter_close(it);
    return rc;
}

static int put_lost(struct filling *f, fold_ino ino, uint64_t number, uint64_t size)
{
    struct fold_key key;
    struct fold_page page = {0};
    void *data = NULL;
    size_t len;
    fold_key_pair(&key, FOLD_TABLE_RECIPE, ino, number);
    int rc = is_there(f->kv, &key);
    if (rc != 0)
        return FOLD_MIN(rc, 0);
    struct fold_extent e = {
        .off = number * FOLD_PAGE_BYTES,
        .len = (uint32_t)FOLD_MIN(size - number * FOLD_PAGE_BYTES, (uint64_t)FOLD_PAGE_BYTES),
        .loc = {NOWHERE, FOLD_SEG_HEADER_BYTES},
        .kind = FOLD_EXTENT_DATA,
    };
    rc = fold_page_insert(&page, &e);
    if (rc == 0)
        rc = fold_page_encode(&page, number, &data, &len);
    if (rc == 0)
        fold_kv_batch_put(f->batch, key.bytes, key.len, data, len);
    free(data);
    fold_page_fini(&page);
    return rc;
}

static int fill_file(struct filling *f, const struct fold_attr *a)
{
    uint64_t mapped;
    if (!S_ISREG(a->mode) || a->size == 0 || a->mapped == 0)
        return 0;
    int rc = sum_mapped(f->kv, a->ino, &mapped);
    if (rc < 0 || mapped >= a->mapped)
        return rc;
    uint64_t last = FOLD_MIN(f->last, (a->size - 1) / FOLD_PAGE_BYTES);
    for (uint64_t n = f->first; rc == 0 && n <= last && n - f->first < MOST_LOST; n++) {
        rc = put_lost(f, a->ino, n, a->size);
        if (rc == 0 && fold_kv_batch_count(f->batch) >= 1000) {
            rc = fold_kv_write(f->kv, f->batch);
            fold_kv_batch_clear(f->batch);
        }
    }
    return rc;
}

/* The end of the run in the table of recipes as inode and page; false if it is not in there. */
static void ends_of(const struct fold_rescue_run *run, fold_ino ino[2], uint64_t page[2])
{
    const struct fold_key *a = &run->after;
    const struct fold_key *b = &run->before;
    ino[0] = 0;
    ino[1] = UINT64_MAX;
    page[0] = 0;
    page[1] = UINT64_MAX;
    if (a->len > 0 && a->bytes[0] == FOLD_TABLE_RECIPE)
        (void)fold_key_read_pair(a->bytes, FOLD_MIN(a->len, (size_t)FOLD_KEY_PAIR_BYTES),
                                 FOLD_TABLE_RECIPE, &ino[0], &page[0]);
    if (b->len > 0 && b->bytes[0] == FOLD_TABLE_RECIPE)
        (void)fold_key_read_pair(b->bytes, FOLD_MIN(b->len, (size_t)FOLD_KEY_PAIR_BYTES),
                                 FOLD_TABLE_RECIPE, &ino[1], &page[1]);
}

static bool has_recipes(const struct fold_rescue_run *run)
{
    return (run->after.len == 0 || run->after.bytes[0] <= FOLD_TABLE_RECIPE) &&
           (run->before.len == 0 || run->before.bytes[0] >= FOLD_TABLE_RECIPE);
}

int fold_rescue_pages(struct fold_kv *kv, const struct fold_rescue_run *run)
{
    fold_ino ino[2];
    uint64_t page[2];
    struct fold_key from, to;
    struct fold_kv_iter *it;
    struct fold_kv_entry e;
    if (!has_recipes(run))
        return 0;
    ends_of(run, ino, page);
    fold_key_ino(&from, FOLD_TABLE_INODE, ino[0]);
    fold_key_table_end(&to, FOLD_TABLE_INODE);
    int rc = fold_kv_iter_open(kv, from.bytes, from.len, to.bytes, to.len, true, &it);
    if (rc < 0)
        return rc;
    struct filling f = {.kv = kv, .batch = fold_kv_batch_create()};
    while ((rc = fold_kv_iter_next(it, &e)) > 0) {
        struct fold_attr a;
        fold_ino at;
        if (!fold_key_read_ino(e.key, e.key_len, FOLD_TABLE_INODE, &at) ||
            fold_inode_decode(e.val, e.val_len, at, &a) < 0)
            continue;
        if (at > ino[1])
            break;
        f.first = at == ino[0] ? page[0] : 0;
        f.last = at == ino[1] ? page[1] : UINT64_MAX;
        rc = fill_file(&f, &a);
        if (rc < 0)
            break;
    }
    fold_kv_iter_close(it);
    rc = FOLD_MIN(rc, 0);
    if (rc == 0 && fold_kv_batch_count(f.batch) > 0)
        rc = fold_kv_write(kv, f.batch);
    fold_kv_batch_destroy(f.batch);
    return rc;
}
