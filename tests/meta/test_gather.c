/* SPDX-License-Identifier: MIT */
/*
 * Many inodes and first pages at once: exactly those asked for that exist, whatever lies between.
 */
#include "catalog_rig.h"

#include "meta/gather.h"
#include "meta/recipe.h"

#include <sys/stat.h>

#define FIRST 100u
#define LAST  3000u

struct seen {
    fold_ino inos[1024];
    size_t n;
};

static bool exists(fold_ino ino)
{
    return ino >= FIRST && ino < LAST && ino % 7 != 0;
}

static void fill(struct rig *r)
{
    struct fold_txn *t = fold_txn_begin(r->c);
    for (fold_ino ino = FIRST; ino < LAST; ino++) {
        if (!exists(ino))
            continue;
        struct fold_attr attr = {.ino = ino, .mode = S_IFREG | 0644, .nlink = 1, .uid = 9};
        fold_inode_store(t, &attr);
        /* Some have many pages, and some no first one. */
        for (uint64_t no = ino % 5 == 0; no < (ino % 11 == 0 ? 40u : 1u); no++) {
            struct fold_extent e = {.off = no * FOLD_PAGE_BYTES,
                                    .len = 100,
                                    .loc = {.seg = (uint32_t)ino, .off = 64},
                                    .kind = FOLD_EXTENT_DATA};
            struct fold_page p = {.extents = &e, .count = 1, .cap = 1};
            assert_int_equal(fold_recipe_store(t, ino, no, &p), 0);
        }
    }
    rig_commit(t);
}

static void note_inode(void *arg, const struct fold_attr *attr)
{
    struct seen *s = arg;
    assert_int_equal(attr->uid, 9);
    s->inos[s->n++] = attr->ino;
}

static void note_page(void *arg, fold_ino ino, struct fold_page *page)
{
    struct seen *s = arg;
    assert_int_equal(page->count, 1);
    assert_int_equal(page->extents[0].loc.seg, ino);
    assert_int_equal(page->extents[0].off, 0);
    fold_page_fini(page);
    s->inos[s->n++] = ino;
}

/* Every `step`th number from `from`. */
static void ask(struct rig *r, fold_ino from, fold_ino step, size_t n)
{
    fold_ino inos[1024] = {0};
    struct seen nodes = {.n = 0}, pages = {.n = 0};
    for (size_t i = 0; i < n; i++)
        inos[i] = from + i * step;
    assert_int_equal(fold_gather_inodes(r->c, inos, n, note_inode, &nodes), 0);
    assert_int_equal(fold_gather_pages(r->c, inos, n, note_page, &pages), 0);
    size_t want_nodes = 0, want_pages = 0;
    for (size_t i = 0; i < n; i++) {
        if (!exists(inos[i]))
            continue;
        assert_true(want_nodes < nodes.n);
        assert_int_equal(nodes.inos[want_nodes++], inos[i]);
        if (inos[i] % 5 == 0)
            continue;
        assert_true(want_pages < pages.n);
        assert_int_equal(pages.inos[want_pages++], inos[i]);
    }
    assert_int_equal(nodes.n, want_nodes);
    assert_int_equal(pages.n, want_pages);
}

static void ask_all(struct rig *r)
{
    ask(r, FIRST, 1, 1000);
    ask(r, 2, 1, 1000); /* not the root directory */
    ask(r, FIRST + 1, 5, 500);
    ask(r, 50, 29, 120);
    ask(r, LAST - 20, 3, 100);
    ask(r, LAST + 5, 1, 10);
    ask(r, 105, 1, 1);
    ask(r, 101, 1, 1);
    ask(r, 101, 1, 0);
}

static void finds_what_exists(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    fill(&r);
    ask_all(&r);
    assert_int_equal(fold_catalog_checkpoint(r.c), 0);
    ask_all(&r);
    rig_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_exists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
