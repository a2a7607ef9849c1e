/* SPDX-License-Identifier: MIT */
/*
 * The walk by several threads meets every page once, whatever the shape of the volume; errors end
 * it; and an extent that moves from file to file while it runs is never missed.
 */
#include "tests/meta/catalog_rig.h"

#include "meta/base/workers.h"
#include "meta/recipe.h"
#include "meta/walk.h"

#define WALKERS 4u

static struct fold_workers *pool;

static void put_pages(struct rig *r, fold_ino ino, uint64_t first, uint64_t n)
{
    for (uint64_t from = first; from < first + n;) {
        struct fold_txn *t = fold_txn_begin(r->c);
        for (unsigned k = 0; k < 1000 && from < first + n; k++, from++) {
            struct fold_extent e = {.off = from * FOLD_PAGE_BYTES,
                                    .len = 4096,
                                    .loc = {(uint32_t)ino, 4096 + 16 * (uint32_t)(from % 1000)},
                                    .kind = FOLD_EXTENT_DATA};
            struct fold_page p = {0};
            assert_int_equal(fold_page_insert(&p, &e), 0);
            assert_int_equal(fold_recipe_store(t, ino, from, &p), 0);
            fold_page_fini(&p);
        }
        fold_lsn lsn;
        assert_int_equal(fold_txn_commit(t, &lsn), 0);
    }
}

struct met {
    _Atomic uint64_t pages, extents, sum;
    uint64_t stop_at; /* 0: never */
};

static int meet(void *arg, fold_ino ino, uint64_t page_no, const struct fold_page *p)
{
    struct met *m = arg;
    uint64_t n = atomic_fetch_add(&m->pages, 1) + 1;
    atomic_fetch_add(&m->extents, p->count);
    atomic_fetch_add(&m->sum, ino * UINT64_C(0x9e3779b97f4a7c15) + page_no * UINT64_C(31));
    return n == m->stop_at ? -ECANCELED : 0;
}

static void compare(struct rig *r, uint64_t pages)
{
    struct met one = {0}, many = {0};
    uint64_t cpu_ns = 0;
    assert_int_equal(fold_recipe_walk(r->c, meet, &one), 0);
    assert_int_equal(atomic_load(&one.pages), pages);
    for (unsigned walkers = 0; walkers <= 2 * WALKERS; walkers++) {
        many = (struct met){0};
        assert_int_equal(fold_walk_run(r->c, pool, walkers, meet, &many, &cpu_ns), 0);
        assert_int_equal(atomic_load(&many.pages), pages);
        assert_int_equal(atomic_load(&many.extents), atomic_load(&one.extents));
        assert_true(atomic_load(&many.sum) == atomic_load(&one.sum));
        assert_true(cpu_ns > 0);
    }
}

static void every_shape(void **state)
{
    struct rig *r = *state;
    compare(r, 0);
    put_pages(r, 5, 0, 1);
    compare(r, 1);
    put_pages(r, 7, 0, 40000); /* one large file */
    compare(r, 40001);
    put_pages(r, 8, UINT64_C(1) << 40, 300);     /* sparse, far out */
    for (fold_ino ino = 1000; ino < 3000; ino++) /* small ones beyond the numbers handed out */
        put_pages(r, ino, 0, 2);
    put_pages(r, UINT64_MAX - 1, (UINT64_C(1) << 43) - 2, 2);
    compare(r, 40001 + 300 + 4000 + 2);
}

static void an_error_ends_it(void **state)
{
    struct rig *r = *state;
    put_pages(r, 7, 0, 5000);
    uint64_t cpu_ns;
    for (uint64_t at = 1; at <= 5000; at += 1111) {
        struct met m = {.stop_at = at};
        assert_int_equal(fold_walk_run(r->c, pool, WALKERS, meet, &m, &cpu_ns), -ECANCELED);
        assert_true(atomic_load(&m.pages) < at + WALKERS * 64);
    }
}

/* The marked extent lies in inode 10 or in inode 900000, for a moment in both, never in none. */
struct mover {
    struct rig *r;
    atomic_bool stop;
};

#define MARKED 77u

static void place_marked(struct rig *r, fold_ino ino, bool there)
{
    struct fold_page p = {0};
    struct fold_extent e = {.len = 4096, .loc = {MARKED, 4096}, .kind = FOLD_EXTENT_DATA};
    if (there)
        assert_int_equal(fold_page_insert(&p, &e), 0);
    struct fold_txn *t = fold_txn_begin(r->c);
    assert_int_equal(fold_recipe_store(t, ino, 0, &p), 0);
    fold_page_fini(&p);
    fold_lsn lsn;
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
}

static void *move(void *arg)
{
    struct mover *m = arg;
    while (!atomic_load(&m->stop)) {
        place_marked(m->r, 900000, true);
        place_marked(m->r, 10, false);
        place_marked(m->r, 10, true);
        place_marked(m->r, 900000, false);
    }
    return NULL;
}

static int find_marked(void *arg, fold_ino ino, uint64_t page_no, const struct fold_page *p)
{
    (void)ino;
    (void)page_no;
    if (p->count > 0 && p->extents[0].loc.seg == MARKED)
        atomic_fetch_add((_Atomic uint64_t *)arg, 1);
    return 0;
}

static void nothing_slips_through(void **state)
{
    struct rig *r = *state;
    for (fold_ino ino = 100; ino < 400; ino++)
        put_pages(r, ino, 0, 3);
    place_marked(r, 10, true);
    struct mover m = {.r = r};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, move, &m), 0);
    for (unsigned i = 0; i < 300; i++) {
        _Atomic uint64_t seen = 0;
        uint64_t cpu_ns;
        assert_int_equal(fold_walk_run(r->c, pool, WALKERS, find_marked, &seen, &cpu_ns), 0);
        assert_in_range(atomic_load(&seen), 1, 2);
    }
    atomic_store(&m.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static int setup(void **state)
{
    static struct rig r;
    rig_create(&r);
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    rig_destroy(*state);
    return 0;
}

static int make_pool(void **state)
{
    (void)state;
    return fold_workers_create(WALKERS, "walk", &pool);
}

static int drop_pool(void **state)
{
    (void)state;
    fold_workers_destroy(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(an_error_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_slips_through, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_pool, drop_pool);
}
