/* SPDX-License-Identifier: MIT */
/*
 * A file written in pieces, with holes, has after refolding the extents of one written straight,
 * whatever the limits; sparse files of any size end at once; and who is cancelled goes on later.
 */
#include "tests/fs/content_rig.h"

#include "fs/refold.h"
#include "meta/recipe.h"

#define STRAIGHT (RIG_INO + 1)

struct list {
    struct fold_extent *at;
    size_t count;
};

static int add(void *arg, uint64_t page_no, const struct fold_page *p)
{
    struct list *l = arg;
    (void)page_no;
    l->at = realloc(l->at, (l->count + p->count) * sizeof *l->at);
    assert_non_null(l->at);
    memcpy(l->at + l->count, p->extents, p->count * sizeof *l->at);
    l->count += p->count;
    return 0;
}

static struct list extents(struct rig *r, fold_ino ino)
{
    struct list l = {NULL, 0};
    assert_int_equal(
        fold_recipe_each(fold_session_catalog(r->session), ino, 0, UINT64_MAX, add, &l), 0);
    return l;
}

/* Extents of `a` that `b` does not have. */
static size_t differ(const struct list *a, const struct list *b)
{
    size_t n = 0, k = 0;
    for (size_t i = 0; i < a->count; i++) {
        while (k < b->count && b->at[k].off < a->at[i].off)
            k++;
        n += k == b->count || b->at[k].off != a->at[i].off || b->at[k].len != a->at[i].len ||
             !fold_loc_equal(b->at[k].loc, a->at[i].loc);
    }
    return n;
}

/* A second file with the model's content, written at once. */
static void write_straight(struct rig *r)
{
    struct fold_attr attr = {.ino = STRAIGHT, .mode = S_IFREG | 0644, .nlink = 1};
    struct fold_inode *inode;
    uint64_t dirty;
    assert_int_equal(fold_itable_add(r->session->inodes, &attr, &inode), 0);
    assert_int_equal(
        rig_write_bytes(r->session, inode, 0, r->model, (uint32_t)r->size, false, &dirty), 0);
    assert_int_equal(fold_flush_inode(r->session, inode), 0);
    fold_itable_put(r->session->inodes, inode);
}

/* Data and runs of zeros, long and short, written in pieces in any order, then rewritten in places.
 */
static void draw(struct rig *r, uint64_t len)
{
    for (uint64_t at = 0; at < len;) {
        uint64_t data = 1 + rig_below(r, 40000),
                 hole = rig_below(r, 3) == 0 ? rig_below(r, 9000) : 0;
        if (rig_below(r, 3) == 0)
            hole = rig_below(r, 60000);
        for (uint64_t i = at; i < FOLD_MIN(at + data, len); i++)
            r->model[i] = (uint8_t)(rig_below(r, 255) + 1);
        at += data + hole;
    }
    r->model[len - 1] = 1;
    r->size = len;
    unsigned pieces = (unsigned)(len / 1500);
    for (unsigned n = 0; n < 2 * pieces; n++) {
        uint64_t off = (n < pieces ? (n * 7919ull) % pieces : rig_below(r, pieces)) * 1500ull;
        uint64_t dirty, size = FOLD_MIN((uint64_t)1500, len - off);
        if (n >= pieces && r->model[off] != 0) /* other content than before */
            r->model[off] = (uint8_t)(r->model[off] % 255 + 1);
        bool zeros = true;
        for (uint64_t i = 0; i < size; i++)
            zeros = zeros && r->model[off + i] == 0;
        if (zeros && rig_below(r, 2) == 0)
            continue; /* stays a hole */
        assert_int_equal(rig_write_bytes(r->session, r->inode, off, r->model + off, (uint32_t)size,
                                         false, &dirty),
                         0);
        if (rig_below(r, 8) == 0)
            assert_int_equal(fold_flush_inode(r->session, r->inode), 0);
    }
    uint64_t rest = pieces * 1500ull, dirty;
    assert_int_equal(rig_write_bytes(r->session, r->inode, rest, r->model + rest,
                                     (uint32_t)(len - rest), false, &dirty),
                     0);
    assert_int_equal(fold_flush_inode(r->session, r->inode), 0);
}

static void as_if_written_at_once(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        struct rig r;
        rig_setup_chunks(&r, FOLD_CUT_CDC, 4096);
        r.seed += round;
        if (round % 2 != 0) {
            fold_knobs.refold_places = 1 + round;
            fold_knobs.refold_near = 1000 * round;
            fold_knobs.window_slices = 5;
        }
        draw(&r, 800000 + 1000 * round);
        rig_check(&r);
        assert_int_equal(fold_refolder_run(r.session->refolder, NULL), 0);
        rig_check(&r);
        write_straight(&r);
        struct list mine = extents(&r, RIG_INO), straight = extents(&r, STRAIGHT);
        assert_true(straight.count > 20);
        size_t wrong = differ(&straight, &mine);
        if (wrong * 50 > straight.count)
            print_message("round %u: %zu of %zu extents differ\n", round, wrong, straight.count);
        assert_true(wrong * 50 <= straight.count);
        free(mine.at);
        free(straight.at);
        rig_check(&r);
        rig_remount_and_check(&r);
        rig_teardown(&r);
    }
}

/* Places far apart in files that are nearly all hole. */
static void sparse(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {UINT64_C(256) << 30, UINT64_C(1) << 62};
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(sizes); i++) {
        struct rig r;
        uint64_t dirty;
        uint8_t bytes[6000];
        rig_setup(&r);
        assert_int_equal(fold_data_truncate(r.session, r.inode, sizes[i], false, NULL), 0);
        for (unsigned n = 0; n < 100; n++) {
            uint64_t off = rig_random_mixed(&r.seed) % (sizes[i] - sizeof bytes);
            for (unsigned k = 0; k < sizeof bytes; k++)
                bytes[k] = (uint8_t)rig_below(&r, 256);
            assert_int_equal(
                rig_write_bytes(r.session, r.inode, off, bytes, sizeof bytes, false, &dirty), 0);
            assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
            assert_int_equal(
                rig_write_bytes(r.session, r.inode, off + 700, "new", 3, false, &dirty), 0);
            assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
        }
        assert_int_equal(fold_refolder_run(r.session->refolder, NULL), 0);
        assert_int_equal(r.inode->attr.flags & FOLD_INODE_FRAGMENTED, 0);
        rig_teardown(&r);
    }
}

static bool after_two(void *arg)
{
    unsigned *asked = arg;
    return ++*asked > 2;
}

/* Cancelled, it leaves the rest noted. */
static void cancelled(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    fold_knobs.refold_near = 0;
    draw(&r, 600000);
    unsigned asked = 0, runs = 0;
    const struct fold_refold_stop stop = {after_two, &asked};
    while ((r.inode->attr.flags & FOLD_INODE_FRAGMENTED) != 0) {
        asked = 0;
        assert_int_equal(fold_refolder_run(r.session->refolder, &stop), 0);
        assert_true(asked <= 5);
        assert_true(++runs < 10000);
    }
    assert_true(runs > 3);
    rig_check(&r);
    rig_teardown(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_if_written_at_once),
        cmocka_unit_test(sparse),
        cmocka_unit_test(cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
