/* SPDX-License-Identifier: MIT */
/*
 * Recipe pages in the common cache, loaded from the catalog on a miss.
 */
#include "fs/pagecache.h"

#include "meta/gather.h"

#include <errno.h>

struct fold_pagecache {
    struct fold_cache *cache;
    struct fold_catalog *catalog;
};

int fold_pagecache_create(size_t limit_bytes, struct fold_catalog *catalog,
                          struct fold_pagecache **out)
{
    struct fold_pagecache *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    c->catalog = catalog;
    int rc = fold_cache_create(limit_bytes, &c->cache);
    if (rc != 0) {
        free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void fold_pagecache_destroy(struct fold_pagecache *c)
{
    if (c == NULL)
        return;
    fold_cache_destroy(c->cache);
    free(c);
}

static void destroy_page(struct fold_cached *v)
{
    struct fold_cached_page *p = (struct fold_cached_page *)v;
    fold_page_fini(&p->page);
    free(p);
}

/* Takes over the extents. NULL without memory. */
static struct fold_cached_page *wrap(fold_ino ino, uint64_t page_no, struct fold_page *page)
{
    struct fold_cached_page *p = calloc(1, sizeof *p);
    if (p == NULL) {
        fold_page_fini(page);
        return NULL;
    }
    atomic_init(&p->cached.refs, 1);
    p->cached.a = ino;
    p->cached.b = page_no;
    p->cached.bytes = sizeof *p + page->cap * sizeof page->extents[0];
    p->cached.destroy = destroy_page;
    p->page = *page;
    *page = (struct fold_page){0};
    return p;
}

static struct fold_cached_page *enter(struct fold_pagecache *c, fold_ino ino, uint64_t page_no,
                                      struct fold_page *page)
{
    struct fold_cached_page *p = wrap(ino, page_no, page);
    if (p != NULL)
        fold_cache_set(c->cache, &p->cached);
    return p;
}

int fold_pagecache_get(struct fold_pagecache *c, fold_ino ino, uint64_t page_no,
                       struct fold_cached_page **out)
{
    struct fold_cached *v = fold_cache_get(c->cache, ino, page_no);
    if (v != NULL) {
        *out = (struct fold_cached_page *)v;
        return 0;
    }
    struct fold_page page = {0};
    int rc = fold_recipe_load(c->catalog, ino, page_no, &page);
    if (rc != 0)
        return rc;
    *out = enter(c, ino, page_no, &page);
    return *out != NULL ? 0 : -ENOMEM;
}

struct preload {
    struct fold_cache *cache;
    const fold_ino *inos;
    const uint64_t *states; /* of the cache where each page belongs, before reading */
    size_t next;
};

static void preload_one(void *arg, fold_ino ino, struct fold_page *page)
{
    struct preload *p = arg;
    struct fold_cached_page *fresh = wrap(ino, 0, page);
    if (fresh == NULL)
        return;
    while (p->inos[p->next] != ino)
        p->next++;
    fold_cache_add(p->cache, &fresh->cached, p->states[p->next]);
    fold_cached_put(&fresh->cached);
}

void fold_pagecache_preload(struct fold_pagecache *c, const fold_ino *inos, size_t n)
{
    fold_ino missing[FOLD_PRELOAD_MAX];
    uint64_t states[FOLD_PRELOAD_MAX];
    size_t count = 0;
    for (size_t i = 0; i < FOLD_MIN(n, FOLD_PRELOAD_MAX); i++) {
        states[count] = fold_cache_state(c->cache, inos[i], 0);
        missing[count] = inos[i];
        count += states[count] != 0;
    }
    struct preload p = {c->cache, missing, states, 0};
    /* A page that could not be loaded ahead is loaded when it is needed. */
    (void)!fold_gather_pages(c->catalog, missing, count, preload_one, &p);
}

bool fold_pagecache_first_is_all(struct fold_pagecache *c, fold_ino ino, uint64_t mapped)
{
    struct fold_cached *v = fold_cache_get(c->cache, ino, 0);
    bool all = v != NULL && fold_page_mapped(&((struct fold_cached_page *)v)->page) == mapped;
    fold_cached_put(v);
    return all;
}

void fold_pagecache_set(struct fold_pagecache *c, fold_ino ino, uint64_t page_no,
                        struct fold_page *page)
{
    struct fold_cached_page *p = enter(c, ino, page_no, page);
    if (p != NULL)
        fold_cached_put(&p->cached);
    else
        fold_cache_drop(c->cache, ino, page_no);
}

void fold_pagecache_drop(struct fold_pagecache *c, fold_ino ino, uint64_t page_no)
{
    fold_cache_drop(c->cache, ino, page_no);
}

void fold_pagecache_drop_from(struct fold_pagecache *c, fold_ino ino, uint64_t first)
{
    fold_cache_drop_from(c->cache, ino, first);
}
