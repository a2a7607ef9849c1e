/* SPDX-License-Identifier: MIT */
/*
 * Cutting a run does not depend on how its bytes are spread over slices; pieces and zero runs tile
 * the run; a held tail is what more data could still change.
 */
#include "fs/budget.h"
#include "fs/ingest.h"
#include "fs/zeroscan.h"
#include "tests/support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define BYTES (3u << 20)

static uint64_t rng_state = 88172645463325252ull;

static uint64_t rng(void)
{
    return rig_random_mixed(&rng_state);
}

/* Random bytes with zero runs of many lengths, some just around the limit, some at the edges. */
static uint8_t *content(void)
{
    uint8_t *p = malloc(BYTES);
    assert_non_null(p);
    for (size_t i = 0; i < BYTES; i++)
        p[i] = (uint8_t)(rng() >> 40) | 1;
    static const uint32_t runs[] = {1, 100, 4096, 8190, 8191, 8192, 8193, 20000, 300000};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(runs); i++)
        memset(p + 5000 + i * 310000, 0, FOLD_MIN(runs[i], BYTES - 5000 - (uint32_t)i * 310000));
    return p;
}

static size_t spread(const uint8_t *p, uint32_t most, struct fold_slice *out, size_t cap)
{
    size_t n = 0;
    for (uint32_t at = 0; at < BYTES;) {
        uint32_t len = 1 + (uint32_t)(rng() % most);
        len = FOLD_MIN(len, BYTES - at);
        if (n + 1 == cap)
            len = BYTES - at;
        out[n++] = (struct fold_slice){.off = 1000 + at, .data = p + at, .len = len};
        at += len;
    }
    return n;
}

/* Slices whose bytes do not lie next to each other in memory. */
static uint8_t *scatter(struct fold_slice *s, size_t n)
{
    uint8_t *mem = malloc(BYTES + n * 64);
    assert_non_null(mem);
    uint8_t *at = mem;
    for (size_t i = n; i > 0; i--) {
        memcpy(at, s[i - 1].data, s[i - 1].len);
        s[i - 1].data = at;
        at += s[i - 1].len + 64;
    }
    return mem;
}

static struct fold_dedup *hasher(void)
{
    static uint8_t secret[FOLD_SECRET_BYTES];
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (uint8_t)(i * 37 + 11);
    struct fold_dedup *d;
    assert_int_equal(fold_dedup_open(NULL, -1, FOLD_HASH_XXH3, secret, true, &d), 0);
    return d;
}

static void check_tiling(const struct fold_ingest *g, const uint8_t *p, uint64_t end)
{
    uint64_t at = 1000;
    uint64_t zeros = 0;
    for (size_t i = 0; i < g->count; i++) {
        const struct fold_chunk *c = &g->pieces[i];
        assert_true(c->off >= at);
        zeros += c->off - at;
        for (; at < c->off; at++)
            assert_int_equal(p[at - 1000], 0);
        assert_memory_equal(c->data, p + (c->off - 1000), c->len);
        at = c->off + c->len;
    }
    zeros += end - at;
    assert_int_equal(zeros, g->zero_bytes);
}

static void cuts_do_not_depend_on_slices(void **state)
{
    (void)state;
    enum { CAP = 40000 };
    struct fold_slice *slices = calloc(CAP, sizeof *slices);
    uint8_t *p = content();
    struct fold_dedup *d = hasher();
    struct fold_cut cut;
    static const uint32_t sizes[] = {4096, 16384, 65536};
    for (size_t k = 0; k < FOLD_ARRAY_LEN(sizes) * 2; k++) {
        enum fold_cut_kind kind = k % 2 != 0 ? FOLD_CUT_FIXED : FOLD_CUT_CDC;
        assert_int_equal(fold_cut_init(&cut, kind, sizes[k / 2]), 0);
        struct fold_ingest whole = {0};
        struct fold_slice one = {.off = 1000, .data = p, .len = BYTES};
        uint64_t end;
        assert_int_equal(fold_ingest_cut(&whole, &cut, d, &one, 1, false, &end), 0);
        assert_int_equal(end, 1000 + BYTES);
        check_tiling(&whole, p, end);
        static const uint32_t most[] = {300, 10000, 1u << 20};
        for (size_t m = 0; m < FOLD_ARRAY_LEN(most); m++) {
            size_t n = spread(p, most[m], slices, CAP);
            uint8_t *mem = scatter(slices, n);
            struct fold_ingest parts = {0};
            assert_int_equal(fold_ingest_cut(&parts, &cut, d, slices, n, false, &end), 0);
            assert_int_equal(parts.count, whole.count);
            assert_int_equal(parts.zero_bytes, whole.zero_bytes);
            for (size_t i = 0; i < parts.count; i++) {
                assert_int_equal(parts.pieces[i].off, whole.pieces[i].off);
                assert_int_equal(parts.pieces[i].len, whole.pieces[i].len);
                assert_int_equal(parts.pieces[i].flags, whole.pieces[i].flags);
                assert_true(fold_fp_equal(&parts.pieces[i].fp, &whole.pieces[i].fp));
            }
            check_tiling(&parts, p, end);
            fold_ingest_fini(&parts);
            free(mem);
        }
        fold_ingest_fini(&whole);
    }
    fold_dedup_close(d, false, -1);
    free(p);
    free(slices);
}

/* Feeding a file piece by piece, always holding the tail, gives the same chunks as feeding it at
 * once. */
static void held_tails_make_streams_equal(void **state)
{
    (void)state;
    uint8_t *p = content();
    struct fold_dedup *d = hasher();
    struct fold_cut cut;
    assert_int_equal(fold_cut_init(&cut, FOLD_CUT_CDC, 16384), 0);
    struct fold_ingest whole = {0}, parts = {0};
    /* Zero runs at the seams of a stream may be split: leave them out here. */
    for (size_t i = 0; i < BYTES; i++)
        p[i] |= 1;
    struct fold_slice one = {.off = 0, .data = p, .len = BYTES};
    uint64_t end;
    assert_int_equal(fold_ingest_cut(&whole, &cut, d, &one, 1, false, &end), 0);
    uint32_t start = 0, have = 0;
    while (start < BYTES) {
        have = FOLD_MIN(BYTES, have + 1 + (uint32_t)(rng() % 200000));
        struct fold_slice s = {.off = start, .data = p + start, .len = have - start};
        if (s.len == 0)
            continue;
        assert_int_equal(fold_ingest_cut(&parts, &cut, d, &s, 1, have < BYTES, &end), 0);
        start = (uint32_t)end;
    }
    assert_int_equal(parts.count, whole.count);
    for (size_t i = 0; i < parts.count; i++)
        assert_int_equal(parts.pieces[i].off, whole.pieces[i].off);
    fold_ingest_fini(&whole);
    fold_ingest_fini(&parts);
    fold_dedup_close(d, false, -1);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_do_not_depend_on_slices),
        cmocka_unit_test(held_tails_make_streams_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
