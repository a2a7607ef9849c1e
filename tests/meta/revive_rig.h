/* SPDX-License-Identifier: MIT */
/*
 * A writer beside a collection that brings chunks of a deleted file back to life.
 */
#ifndef FOLD_TESTS_META_REVIVE_RIG_H
#define FOLD_TESTS_META_REVIVE_RIG_H

#include "tests/meta/collect_rig.h"

#define REVIVED 500u

/* A writer that meets the chunks of a deleted file at a step of the collection and names one in
 * `every` of those it finds in a recipe, that of inode REVIVED. */
struct revive {
    struct fold_volume *v;
    fold_ino dead;
    unsigned at, every;
    struct fold_gate *gate; /* set by collect_beside */
    unsigned found;
};

static inline int revive_at(void *arg, unsigned step)
{
    struct revive *w = arg;
    if (step != w->at)
        return 0;
    unsigned token = fold_gate_enter(w->gate);
    struct fold_page page = {0};
    for (uint32_t i = 0; i < PER_INO; i++) {
        struct fold_extent e = {.off = (uint64_t)i * CHUNK, .len = CHUNK, .kind = FOLD_EXTENT_DATA};
        bool found = find_chunk(w->v, w->dead * PER_INO + i, &e.loc);
        w->found += found;
        if (found && (i + 1) % w->every == w->every / 2)
            assert_int_equal(fold_page_insert(&page, &e), 0);
    }
    struct fold_txn *t = fold_txn_begin(w->v->catalog);
    assert_int_equal(fold_recipe_store(t, REVIVED, 0, &page), 0);
    fold_lsn lsn;
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
    fold_page_fini(&page);
    fold_gate_leave(w->gate, token);
    return 0;
}

/* Collects beside that writer: what it named is whole afterwards, as is what was kept. */
static inline void collect_beside(struct revive *w, bool full, struct fold_collect_result *r)
{
    assert_int_equal(fold_gate_create(&w->gate), 0);
    struct fold_collect_options opt = {.full = full, .arg = w, .step = revive_at};
    assert_int_equal(fold_collect_run(w->v->store, w->v->catalog, w->gate, &opt, r), 0);
    struct fold_page page = {0};
    assert_int_equal(fold_recipe_load(w->v->catalog, REVIVED, 0, &page), 0);
    assert_int_equal(page.count, w->found / w->every);
    for (uint32_t i = 0; i < page.count; i++)
        check_chunk(w->v, page.extents[i].loc, w->dead * PER_INO + page.extents[i].off / CHUNK);
    fold_page_fini(&page);
    check_kept(w->v);
    fold_gate_destroy(w->gate);
}

#endif
