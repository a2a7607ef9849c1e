/* SPDX-License-Identifier: MIT */
/*
 * Decoded recipe pages of files in use, in a bounded cache. A page may be read while the map lock
 * of its inode is held (shared is enough); it is replaced under the exclusive lock and the inode
 * lock, together with the attributes.
 */
#ifndef FOLD_FS_PAGECACHE_H
#define FOLD_FS_PAGECACHE_H

#include "fs/cache.h"
#include "fs/itable.h"
#include "meta/recipe.h"

struct fold_pagecache;

struct fold_cached_page {
    struct fold_cached cached; /* first */
    struct fold_page page;     /* fixed */
};

int fold_pagecache_create(size_t limit_bytes, struct fold_catalog *catalog,
                          struct fold_pagecache **out) FOLD_MUST;
void fold_pagecache_destroy(struct fold_pagecache *c);

/* The page, referenced (drop with fold_cached_put(&page->cached)); empty if the file has none
 * there. */
int fold_pagecache_get(struct fold_pagecache *c, fold_ino ino, uint64_t page_no,
                       struct fold_cached_page **out) FOLD_MUST;

/*
 * Brings the first pages of those inodes that are not in the cache there, all in one pass. `inos`
 * is in rising order, at most FOLD_PRELOAD_MAX. No lock is needed: what changes meanwhile is left
 * out.
 */
void fold_pagecache_preload(struct fold_pagecache *c, const fold_ino *inos, size_t n);

/*
 * True if the first page is known and alone has the `mapped` bytes of the file: no other is stored.
 * The inode lock is held.
 */
bool fold_pagecache_first_is_all(struct fold_pagecache *c, fold_ino ino, uint64_t mapped);

/* The committed new content of a page; takes over its extents. Short memory only costs the next
 * reader a load. */
void fold_pagecache_set(struct fold_pagecache *c, fold_ino ino, uint64_t page_no,
                        struct fold_page *page);

void fold_pagecache_drop(struct fold_pagecache *c, fold_ino ino, uint64_t page_no);

/* Drops all pages of the inode from `first` on; for many of them, since it looks at the whole
 * cache. */
void fold_pagecache_drop_from(struct fold_pagecache *c, fold_ino ino, uint64_t first);

#endif
