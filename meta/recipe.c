/* SPDX-License-Identifier: MIT */
/*
 * Recipe pages in the catalog: loading, storing, dropping and walking. The pages themselves are in
 * page.c.
 */
#include "meta/recipe.h"

#include "meta/base/err.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/commit.h"

/* Up to this many pages are deleted one by one; a range delete slows later scans until it is
 * compacted away. */
#define POINT_DELETES_MAX 32

static int load_failed(int rc, fold_ino ino, uint64_t page_no)
{
    if (rc == -FOLD_E_BAD_RECIPE)
        fold_error("catalog: inode %llu page %llu: %s", (unsigned long long)ino,
                   (unsigned long long)page_no, fold_err_text(rc));
    return rc;
}

int fold_recipe_load(struct fold_catalog *c, fold_ino ino, uint64_t page_no, struct fold_page *out)
{
    struct fold_key key;
    fold_key_pair(&key, FOLD_TABLE_RECIPE, ino, page_no);
    struct fold_found v;
    int rc = fold_recent_get(c->recent, key.bytes, key.len, &v);
    if (rc == -ENOENT) {
        *out = (struct fold_page){NULL, 0, 0};
        return 0;
    }
    if (rc < 0)
        return rc;
    rc = fold_page_decode(v.data, v.len, page_no, out);
    fold_found_fini(&v);
    return load_failed(rc, ino, page_no);
}

int fold_recipe_store(struct fold_txn *t, fold_ino ino, uint64_t page_no, const struct fold_page *p)
{
    struct fold_key key;
    fold_key_pair(&key, FOLD_TABLE_RECIPE, ino, page_no);
    if (p->count == 0) {
        fold_kv_batch_delete(t->batch, key.bytes, key.len);
        return 0;
    }
    FOLD_AUTO(free) void *data = NULL;
    size_t len;
    int rc = fold_page_encode(p, page_no, &data, &len);
    if (rc < 0)
        return rc;
    fold_kv_batch_put(t->batch, key.bytes, key.len, data, len);
    t->has_pages = true;
    return 0;
}

/* Iterator over pages [first, last] of an inode. */
static int open_pages(struct fold_catalog *c, fold_ino ino, uint64_t first, uint64_t last,
                      struct fold_key *to, struct fold_kv_iter **out)
{
    struct fold_key from;
    fold_key_pair(&from, FOLD_TABLE_RECIPE, ino, first);
    if (last == UINT64_MAX)
        fold_key_ino(to, FOLD_TABLE_RECIPE, ino + 1);
    else
        fold_key_pair(to, FOLD_TABLE_RECIPE, ino, last + 1);
    return fold_recent_iter_open(c->recent, from.bytes, from.len, to->bytes, to->len, false, out);
}

/* Deletes the stored pages one by one if they are few: false (and nothing deleted) otherwise. */
static bool drop_singly(struct fold_txn *t, fold_ino ino, uint64_t first, uint64_t last)
{
    struct fold_kv_iter *it;
    struct fold_key to;
    if (t->has_pages || open_pages(t->catalog, ino, first, last, &to, &it) < 0)
        return false;
    struct fold_key keys[POINT_DELETES_MAX];
    size_t n = 0;
    struct fold_kv_entry e;
    int rc;
    while ((rc = fold_kv_iter_next(it, &e)) > 0 &&
           n < FOLD_MIN(POINT_DELETES_MAX, fold_knobs.point_deletes)) {
        keys[n].len = FOLD_MIN(e.key_len, sizeof keys[n].bytes);
        memcpy(keys[n].bytes, e.key, keys[n].len);
        n++;
    }
    fold_kv_iter_close(it);
    if (rc != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        fold_kv_batch_delete(t->batch, keys[i].bytes, keys[i].len);
    return true;
}

void fold_recipe_drop(struct fold_txn *t, fold_ino ino, uint64_t first, uint64_t last)
{
    if (first > last || drop_singly(t, ino, first, last))
        return;
    struct fold_key from, to;
    fold_key_pair(&from, FOLD_TABLE_RECIPE, ino, first);
    if (last == UINT64_MAX)
        fold_key_ino(&to, FOLD_TABLE_RECIPE, ino + 1);
    else
        fold_key_pair(&to, FOLD_TABLE_RECIPE, ino, last + 1);
    fold_kv_batch_delete_range(t->batch, from.bytes, from.len, to.bytes, to.len);
}

void fold_recipe_drop_first(struct fold_txn *t, fold_ino ino)
{
    struct fold_key key;
    fold_key_pair(&key, FOLD_TABLE_RECIPE, ino, 0);
    fold_kv_batch_delete(t->batch, key.bytes, key.len);
}

/* Decodes the entry an iterator stands on. */
static int read_entry(const struct fold_kv_entry *e, fold_ino *ino, uint64_t *page_no,
                      struct fold_page *p)
{
    if (!fold_key_read_pair(e->key, e->key_len, FOLD_TABLE_RECIPE, ino, page_no))
        return -FOLD_E_BAD_CATALOG;
    return load_failed(fold_page_decode(e->val, e->val_len, *page_no, p), *ino, *page_no);
}

int fold_recipe_each(struct fold_catalog *c, fold_ino ino, uint64_t first, uint64_t last,
                     int (*fn)(void *arg, uint64_t page_no, const struct fold_page *p), void *arg)
{
    struct fold_kv_iter *it;
    struct fold_key to;
    if (first > last)
        return 0;
    int rc = open_pages(c, ino, first, last, &to, &it);
    if (rc < 0)
        return rc;
    struct fold_kv_entry e;
    while ((rc = fold_kv_iter_next(it, &e)) > 0) {
        struct fold_page p = {NULL, 0, 0};
        fold_ino found;
        uint64_t page_no;
        rc = read_entry(&e, &found, &page_no, &p);
        if (rc == 0)
            rc = fn(arg, page_no, &p);
        fold_page_fini(&p);
        if (rc < 0)
            break;
    }
    fold_kv_iter_close(it);
    return rc;
}

struct fold_recipe_scan {
    struct fold_kv_iter *it;
};

int fold_recipe_scan_open(struct fold_catalog *c, fold_ino ino, struct fold_recipe_scan **out)
{
    struct fold_key to;
    struct fold_recipe_scan *s = calloc(1, sizeof *s);
    int rc = s != NULL ? open_pages(c, ino, 0, UINT64_MAX, &to, &s->it) : -ENOMEM;
    if (rc < 0)
        free(s);
    else
        *out = s;
    return rc;
}

int fold_recipe_scan_next(struct fold_recipe_scan *s, uint64_t *page_no, struct fold_page *p)
{
    struct fold_kv_entry e;
    fold_ino ino;
    int rc = fold_kv_iter_next(s->it, &e);
    if (rc <= 0)
        return rc;
    if (!fold_key_read_pair(e.key, e.key_len, FOLD_TABLE_RECIPE, &ino, page_no))
        return -FOLD_E_BAD_CATALOG;
    rc = load_failed(fold_page_refill(e.val, e.val_len, *page_no, p), ino, *page_no);
    return rc < 0 ? rc : 1;
}

void fold_recipe_scan_close(struct fold_recipe_scan *s)
{
    if (s != NULL)
        fold_kv_iter_close(s->it);
    free(s);
}

int fold_recipe_walk(struct fold_catalog *c,
                     int (*fn)(void *arg, fold_ino ino, uint64_t page_no,
                               const struct fold_page *p),
                     void *arg)
{
    struct fold_kv_iter *it;
    struct fold_key from, to;
    fold_key_ino(&from, FOLD_TABLE_RECIPE, 0);
    fold_key_table_end(&to, FOLD_TABLE_RECIPE);
    int rc = fold_recent_iter_open(c->recent, from.bytes, from.len, to.bytes, to.len, true, &it);
    if (rc < 0)
        return rc;
    struct fold_kv_entry e;
    while ((rc = fold_kv_iter_next(it, &e)) > 0) {
        struct fold_page p = {NULL, 0, 0};
        fold_ino ino;
        uint64_t page_no;
        rc = read_entry(&e, &ino, &page_no, &p);
        if (rc == 0)
            rc = fn(arg, ino, page_no, &p);
        fold_page_fini(&p);
        if (rc < 0)
            break;
    }
    fold_kv_iter_close(it);
    return rc;
}

int fold_recipe_next(struct fold_catalog *c, fold_ino ino, uint64_t page_no, uint64_t *found)
{
    struct fold_kv_iter *it;
    struct fold_key to;
    int rc = open_pages(c, ino, page_no, UINT64_MAX, &to, &it);
    if (rc < 0)
        return rc;
    struct fold_kv_entry e;
    fold_ino owner;
    uint64_t page;
    rc = fold_kv_iter_next(it, &e);
    if (rc == 0)
        rc = -ENOENT;
    else if (rc > 0)
        rc = fold_key_read_pair(e.key, e.key_len, FOLD_TABLE_RECIPE, &owner, &page)
                 ? 0
                 : -FOLD_E_BAD_CATALOG;
    fold_kv_iter_close(it);
    if (rc == 0)
        *found = page;
    return rc;
}
