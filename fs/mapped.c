/* SPDX-License-Identifier: MIT */
/*
 * Walks recipe pages through the page cache; where nothing is mapped the catalog says which page is
 * the next there is, so that a hole costs the same whatever its length.
 */
#include "fs/mapped.h"

#include "fs/pagecache.h"
#include "fs/session.h"
#include "meta/recipe.h"

#include <errno.h>

int fold_mapped_next(struct fold_session *s, struct fold_inode *inode, uint64_t off, uint64_t size,
                     bool data, uint64_t *out)
{
    while (off < size) {
        uint64_t page_no = off / FOLD_PAGE_BYTES;
        uint64_t end = FOLD_MIN(size, (page_no + 1) * (uint64_t)FOLD_PAGE_BYTES);
        struct fold_cached_page *page;
        int rc = fold_pagecache_get(s->pages, inode->ino, page_no, &page);
        if (rc != 0)
            return rc;
        if (page->page.count == 0) { /* nothing is mapped up to the next page there is */
            fold_cached_put(&page->cached);
            uint64_t found = 0;
            rc = data ? fold_recipe_next(fold_session_catalog(s), inode->ino, page_no + 1, &found)
                      : -ENOENT;
            if (rc == -ENOENT)
                break;
            if (rc != 0)
                return rc;
            off = found * FOLD_PAGE_BYTES;
            continue;
        }
        bool hit = false;
        for (uint32_t i = fold_page_find(&page->page, off); !hit && off < end; i++) {
            const struct fold_extent *x = i < page->page.count ? &page->page.extents[i] : NULL;
            bool inside = x != NULL && x->off <= off && x->kind == FOLD_EXTENT_DATA;
            if (x != NULL && x->off > off) { /* a gap first */
                hit = !data;
                off = hit ? off : FOLD_MIN(end, x->off);
                i--;
                continue;
            }
            hit = data == inside;
            if (!hit)
                off = x != NULL ? FOLD_MIN(end, x->off + x->len) : end;
        }
        fold_cached_put(&page->cached);
        if (hit) {
            *out = off;
            return 0;
        }
    }
    *out = data ? size : FOLD_MIN(off, size);
    return 0;
}
