/* SPDX-License-Identifier: MIT */
/*
 * Recipe pages in the common cache, loaded from the catalog on a miss.
 */
#include "fs/pagecache.h"

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

static struct fold_cached_page *enter(struct fold_pagecache *c, fold_ino ino, uint64_t page_no,
                                      struct fold_page *page)
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
