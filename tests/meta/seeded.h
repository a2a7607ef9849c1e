/* SPDX-License-Identifier: MIT */
/*
 * Chunks that follow from a seed, for tests of whole volumes: storing a row of them, and seeing
 * that one is whole.
 */
#ifndef FOLD_TESTS_META_SEEDED_H
#define FOLD_TESTS_META_SEEDED_H

#include "meta/recipe.h"
#include "meta/volume.h"
#include "tests/support/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define CHUNK 16384u

static inline void fill(uint8_t *p, uint64_t seed)
{
    uint64_t x = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    for (uint32_t i = 0; i < CHUNK; i += 8) {
        (void)rig_random(&x);
        memcpy(p + i, &x, 8);
    }
}

static inline struct fold_fp fp_of(uint64_t seed)
{
    return (struct fold_fp){{seed * UINT64_C(0xD6E8FEB86659FD93) + 7, seed + 1000, 0, 0}};
}

/* Stores `n` chunks, from number `seed` on, and names them in the page, from its beginning. */
static inline void put_chunks(struct fold_volume *v, struct fold_page *page, uint64_t seed,
                              uint32_t n, bool force)
{
    static uint8_t bytes[CHUNK];
    for (uint32_t i = 0; i < n; i++) {
        fill(bytes, seed + i);
        struct fold_put put = {.data = bytes, .len = CHUNK, .fp = fp_of(seed + i), .force = force};
        assert_int_equal(fold_store_put(v->store, &put, 1), 0);
        struct fold_extent e = {
            .off = (uint64_t)i * CHUNK, .len = CHUNK, .loc = put.loc, .kind = FOLD_EXTENT_DATA};
        assert_int_equal(fold_page_insert(page, &e), 0);
    }
}

/* The chunk at `loc` is number `seed`. */
static inline void check_chunk(struct fold_volume *v, struct fold_loc loc, uint64_t seed)
{
    static uint8_t want[CHUNK], got[CHUNK];
    struct fold_view view;
    assert_int_equal(fold_store_view(v->store, loc, &view), 0);
    assert_int_equal(view.raw_len, CHUNK);
    assert_int_equal(fold_store_decode(v->store, &view, got), 0);
    fold_store_unview(v->store, &view);
    fill(want, seed);
    assert_memory_equal(got, want, CHUNK);
}

#endif
