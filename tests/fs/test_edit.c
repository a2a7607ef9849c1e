/* SPDX-License-Identifier: MIT */
/*
 * Edits of a recipe on both sides of the limits from which on pages are dropped by range, or not
 * even counted: what is mapped afterwards, and how much of it there is.
 */
#include "tests/fs/content_rig.h"

#include "fs/edit.h"
#include "fs/freeze.h"
#include "fs/mapped.h"
#include "fs/recount.h"

#define PAGES 12u

/* A byte at the begin of each page. */
static void fill(struct rig *r)
{
    uint64_t dirty;
    for (uint64_t i = 0; i < PAGES; i++)
        assert_int_equal(
            rig_write_bytes(r->session, r->inode, i * FOLD_PAGE_BYTES + 100, "x", 1, false, &dirty),
            0);
    assert_int_equal(fold_flush_inode(r->session, r->inode), 0);
}

static uint64_t mapped(struct rig *r)
{
    fold_lock_take(&r->inode->lock);
    uint64_t n = r->inode->attr.mapped;
    fold_lock_drop(&r->inode->lock);
    return n;
}

/* Pages with data, by what the recipe says. */
static unsigned pages(struct rig *r)
{
    uint64_t at = 0, end = (uint64_t)PAGES * FOLD_PAGE_BYTES;
    unsigned n = 0;
    while (at < end) {
        assert_int_equal(fold_mapped_next(r->session, r->inode, at, end, true, &at), 0);
        if (at == end)
            break;
        n++;
        assert_int_equal(at % FOLD_PAGE_BYTES, 100);
        at++;
    }
    return n;
}

static void punch(struct rig *r, uint64_t off, uint64_t len)
{
    struct fold_edit e;
    assert_int_equal(fold_inode_freeze(r->session, r->inode), 0);
    fold_edit_begin(&e, r->session, r->inode);
    fold_edit_punch(&e, off, len);
    assert_int_equal(fold_edit_end(&e, r->inode->attr.size), 0);
    fold_inode_thaw(r->session, r->inode);
}

static void punched(void **state)
{
    (void)state;
    static const uint64_t many[] = {0, 1, 5, 6, 64}; /* 5 whole pages are dropped below */
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(many); i++) {
        struct rig r;
        rig_setup(&r);
        fold_knobs.edit_many_pages = many[i];
        fill(&r);
        assert_int_equal(pages(&r), PAGES);
        assert_int_equal(mapped(&r), PAGES);
        punch(&r, 2 * (uint64_t)FOLD_PAGE_BYTES, 5 * (uint64_t)FOLD_PAGE_BYTES + 100);
        assert_int_equal(pages(&r), PAGES - 5);
        assert_int_equal(mapped(&r), PAGES - 5);
        punch(&r, 7 * (uint64_t)FOLD_PAGE_BYTES + 100, 1);
        assert_int_equal(mapped(&r), PAGES - 6);
        punch(&r, 0, UINT64_C(1) << 62); /* holes cost nothing */
        assert_int_equal(pages(&r), 0);
        assert_int_equal(mapped(&r), 0);
        rig_teardown(&r);
    }
}

static void cut_off(void **state)
{
    (void)state;
    static const uint64_t uncounted[] = {0, 5, 1024};
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(uncounted); i++) {
        for (uint64_t keep = 0; keep <= PAGES; keep += 4) {
            struct rig r;
            atomic_bool stop = false;
            rig_setup(&r);
            fold_knobs.edit_uncounted_pages = uncounted[i];
            fold_knobs.edit_many_pages = 2;
            fold_knobs.recount_batch = 1 + i;
            fill(&r);
            assert_int_equal(
                fold_data_truncate(r.session, r.inode, keep * FOLD_PAGE_BYTES, false, NULL), 0);
            assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
            assert_int_equal(pages(&r), keep);
            assert_true(mapped(&r) >= keep); /* a bound, until it is counted */
            assert_int_equal(fold_recount_inode(r.session, r.inode, &stop), 0);
            assert_int_equal(mapped(&r), keep);
            assert_int_equal(r.inode->attr.flags & FOLD_INODE_RECOUNT, 0);
            rig_teardown(&r);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(punched),
        cmocka_unit_test(cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
