/* SPDX-License-Identifier: MIT */
/*
 * Recipe pages: editing against a byte-by-byte model, packing there and back, hostile bytes; and
 * the table of pages.
 */
#include "tests/meta/catalog_rig.h"

#include "meta/recipe.h"

#define SPAN 3000 /* bytes of the page the model covers */
#define PAGE 5

struct cell {
    uint8_t kind;
    uint8_t flags;
    struct fold_loc loc;
    uint32_t pos; /* byte of the chunk */
};

static const uint64_t base = (uint64_t)PAGE * FOLD_PAGE_BYTES;

static void expand(const struct fold_page *p, struct cell *out)
{
    memset(out, 0, SPAN * sizeof *out);
    for (uint32_t i = 0; i < p->count; i++)
        for (uint32_t b = 0; b < p->extents[i].len; b++) {
            const struct fold_extent *e = &p->extents[i];
            assert_true(e->off >= base && e->off + b - base < SPAN);
            struct cell *c = &out[e->off + b - base];
            assert_int_equal(c->kind, 0);
            *c = (struct cell){e->kind, e->flags, e->loc,
                               e->kind == FOLD_EXTENT_DATA ? e->skip + b : 0};
        }
}

static void check_shape(const struct fold_page *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        const struct fold_extent *e = &p->extents[i], *n = e + 1;
        assert_true(e->len > 0);
        if (i + 1 == p->count)
            break;
        assert_true(e->off + e->len <= n->off);
        bool joined = e->off + e->len == n->off && e->kind == n->kind && e->flags == n->flags &&
                      fold_loc_equal(e->loc, n->loc) &&
                      (e->kind == FOLD_EXTENT_UNWRITTEN || e->skip + e->len == n->skip);
        assert_false(joined);
    }
}

static bool same_page(const struct fold_page *a, const struct fold_page *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct fold_extent *x = &a->extents[i], *y = &b->extents[i];
        if (x->off != y->off || x->len != y->len || x->skip != y->skip || x->kind != y->kind ||
            x->flags != y->flags || !fold_loc_equal(x->loc, y->loc))
            return false;
    }
    return true;
}

static void there_and_back(const struct fold_page *p)
{
    void *data;
    size_t len;
    struct fold_page back = {NULL, 0, 0};
    assert_int_equal(fold_page_encode(p, PAGE, &data, &len), 0);
    if (p->count == 0) {
        assert_int_equal(fold_page_decode(data, len, PAGE, &back), -FOLD_E_BAD_RECIPE);
    } else {
        assert_int_equal(fold_page_decode(data, len, PAGE, &back), 0);
        assert_true(same_page(p, &back));
        for (size_t cut = 0; cut < len && p->count < 20; cut++) {
            struct fold_page none = {NULL, 0, 0};
            assert_int_equal(fold_page_decode(data, cut, PAGE, &none), -FOLD_E_BAD_RECIPE);
        }
    }
    fold_page_fini(&back);
    free(data);
}

static struct fold_extent random_extent(uint64_t *seed)
{
    struct fold_extent e = {.off = base + rig_random(seed) % (SPAN - 1)};
    uint64_t room = SPAN - (e.off - base);
    e.len = (uint32_t)(1 + rig_random(seed) % FOLD_MIN(room, (uint64_t)400));
    e.kind = rig_random(seed) % 5 == 0 ? FOLD_EXTENT_UNWRITTEN : FOLD_EXTENT_DATA;
    if (e.kind == FOLD_EXTENT_DATA) {
        e.loc.seg = rig_random(seed) % 8 == 0 ? (uint32_t)rig_random(seed) | 1 : 3;
        e.loc.off = (uint32_t)(rig_random(seed) >> (32 + rig_random(seed) % 30)) & ~15u;
        e.skip = rig_random(seed) % 2 ? (uint32_t)(rig_random(seed) % 1000) : 0;
        e.flags = rig_random(seed) % 10 == 0 ? FOLD_EXTENT_TAIL : 0;
    }
    return e;
}

static void edits_follow_a_model(void **state)
{
    (void)state;
    static struct cell model[SPAN], now[SPAN];
    uint64_t seed = 99;
    for (int trial = 0; trial < 60; trial++) {
        struct fold_page p = {NULL, 0, 0};
        memset(model, 0, sizeof model);
        for (int step = 0; step < 60; step++) {
            struct fold_extent e = random_extent(&seed);
            /* Often a continuation of what is there, which must melt into it. */
            if (rig_random(&seed) % 3 == 0 && p.count > 0) {
                const struct fold_extent *old = &p.extents[rig_random(&seed) % p.count];
                if (old->off + old->len < base + SPAN) {
                    e = *old;
                    e.off = old->off + old->len;
                    e.len = 1;
                    e.skip = old->kind == FOLD_EXTENT_DATA ? old->skip + old->len : 0;
                }
            }
            bool punch = rig_random(&seed) % 4 == 0;
            if (punch)
                assert_int_equal(fold_page_punch(&p, e.off, e.len), 0);
            else
                assert_int_equal(fold_page_insert(&p, &e), 0);
            for (uint32_t b = 0; b < e.len; b++)
                model[e.off - base + b] =
                    punch ? (struct cell){0}
                          : (struct cell){e.kind, e.flags, e.loc,
                                          e.kind == FOLD_EXTENT_DATA ? e.skip + b : 0};
            expand(&p, now);
            for (size_t b = 0; b < SPAN; b++)
                assert_true(model[b].kind == now[b].kind && model[b].pos == now[b].pos &&
                            model[b].flags == now[b].flags &&
                            fold_loc_equal(model[b].loc, now[b].loc));
            check_shape(&p);
            uint64_t mapped = 0, off = base + rig_random(&seed) % SPAN;
            for (size_t b = 0; b < SPAN; b++)
                mapped += model[b].kind != 0;
            assert_int_equal(fold_page_mapped(&p), mapped);
            uint32_t at = fold_page_find(&p, off);
            assert_true(at == p.count || p.extents[at].off + p.extents[at].len > off);
            assert_true(at == 0 || p.extents[at - 1].off + p.extents[at - 1].len <= off);
        }
        there_and_back(&p);
        assert_int_equal(fold_page_punch(&p, 0, UINT64_MAX), 0);
        assert_int_equal(p.count, 0);
        there_and_back(&p);
        fold_page_fini(&p);
    }
}

static void slices_keep_to_the_range(void **state)
{
    (void)state;
    struct fold_extent e = {
        .off = 100, .len = 50, .skip = 7, .loc = {1, 16}, .kind = FOLD_EXTENT_DATA};
    struct fold_extent s;
    assert_true(fold_extent_slice(&e, 110, 20, &s));
    assert_int_equal(s.off, 110);
    assert_int_equal(s.len, 20);
    assert_int_equal(s.skip, 17);
    assert_true(fold_extent_slice(&e, 0, UINT64_MAX, &s));
    assert_int_equal(s.len, 50);
    assert_true(fold_extent_slice(&e, 149, UINT64_MAX, &s));
    assert_int_equal(s.len, 1);
    assert_false(fold_extent_slice(&e, 150, 10, &s));
    assert_false(fold_extent_slice(&e, 50, 50, &s));
    assert_false(fold_extent_slice(&e, 110, 0, &s));
    e.kind = FOLD_EXTENT_UNWRITTEN;
    e.skip = 0;
    assert_true(fold_extent_slice(&e, 110, 20, &s));
    assert_int_equal(s.skip, 0);
}

/* 64 chunks of about 16 KiB stored one after the other. */
static void fill_sequential(struct fold_page *p)
{
    uint64_t seed = 5, off = base;
    struct fold_loc loc = {9, 4096};
    while (off < base + FOLD_PAGE_BYTES) {
        uint32_t len =
            (uint32_t)FOLD_MIN(12000 + rig_random(&seed) % 8000, base + FOLD_PAGE_BYTES - off);
        struct fold_extent e = {.off = off, .len = len, .loc = loc, .kind = FOLD_EXTENT_DATA};
        assert_int_equal(fold_page_insert(p, &e), 0);
        off += len;
        loc.off += (len + 64 + 15) & ~15u;
    }
}

static void sequential_chunks_pack_tight(void **state)
{
    (void)state;
    struct fold_page p = {NULL, 0, 0};
    fill_sequential(&p);
    void *data;
    size_t len;
    assert_int_equal(fold_page_encode(&p, PAGE, &data, &len), 0);
    assert_true(len <= p.count * 6 + 8);
    free(data);
    there_and_back(&p);
    fold_page_fini(&p);
}

static void hostile_bytes_are_harmless(void **state)
{
    (void)state;
    uint64_t seed = 4242;
    struct fold_page p = {NULL, 0, 0};
    for (int i = 0; i < 40; i++) {
        struct fold_extent e = random_extent(&seed);
        assert_int_equal(fold_page_insert(&p, &e), 0);
    }
    void *data;
    size_t len, accepted = 0;
    assert_int_equal(fold_page_encode(&p, PAGE, &data, &len), 0);
    for (int i = 0; i < 200000; i++) {
        /* An exact allocation, so that a sanitizer sees any step outside. */
        size_t n = rig_random(&seed) % 3 == 0 ? rig_random(&seed) % (len + 1) : len;
        uint8_t *bytes = malloc(n + 1);
        if (rig_random(&seed) % 4 == 0)
            for (size_t b = 0; b < n; b++)
                bytes[b] = (uint8_t)rig_random(&seed);
        else
            memcpy(bytes, data, n);
        bytes = realloc(bytes, n > 0 ? n : 1);
        if (n > 0)
            bytes[0] = 1;
        for (uint64_t flips = rig_random(&seed) % 4; n > 0 && flips > 0; flips--)
            bytes[rig_random(&seed) % n] ^= (uint8_t)(1u << rig_random(&seed) % 8);
        struct fold_page back = {NULL, 0, 0};
        int rc = fold_page_decode(bytes, n, PAGE, &back);
        assert_true(rc == 0 || rc == -FOLD_E_BAD_RECIPE);
        if (rc == 0) {
            accepted++;
            uint64_t end = base;
            for (uint32_t x = 0; x < back.count; x++) {
                assert_true(back.extents[x].off >= end && back.extents[x].len > 0);
                end = back.extents[x].off + back.extents[x].len;
            }
            assert_true(end <= base + FOLD_PAGE_BYTES);
            there_and_back(&back);
            fold_page_fini(&back);
        } else {
            assert_null(back.extents);
        }
        free(bytes);
    }
    assert_true(accepted > 1000);
    free(data);
    fold_page_fini(&p);
}

static void golden_page(void **state)
{
    (void)state;
    struct fold_extent list[] = {
        {.off = base, .len = 16384, .loc = {7, 64}, .kind = FOLD_EXTENT_DATA},
        {.off = base + 16384,
         .len = 100,
         .skip = 5,
         .loc = {7, 16464},
         .kind = FOLD_EXTENT_DATA,
         .flags = FOLD_EXTENT_TAIL},
        {.off = base + 20000, .len = 300, .kind = FOLD_EXTENT_UNWRITTEN},
        {.off = base + 20300, .len = 1, .loc = {6, 32}, .kind = FOLD_EXTENT_DATA},
    };
    struct fold_page p = {list, 4, 4};
    static const uint8_t want[] = {1,    4,                         /* version, count */
                                   0x04, 0x80, 0x80, 0x01, 14,   4, /* first */
                                   0x22, 100,  5,    0x81, 0x08,    /* skip and tail */
                                   0x11, 0xbc, 0x1b, 0xac, 0x02,    /* gap, unwritten */
                                   0x0c, 1,    1,    0x83, 0x08};   /* back, segment - 1 */
    void *data;
    size_t len;
    assert_int_equal(fold_page_encode(&p, PAGE, &data, &len), 0);
    assert_int_equal(len, sizeof want);
    assert_memory_equal(data, want, sizeof want);
    free(data);
    struct fold_page back;
    assert_int_equal(fold_page_decode(want, sizeof want, PAGE, &back), 0);
    assert_true(same_page(&p, &back));
    fold_page_fini(&back);
}

static void encode_refuses_nonsense(void **state)
{
    (void)state;
    static const struct fold_extent bad[] = {
        {.off = base, .len = 10, .loc = {0, 16}, .kind = FOLD_EXTENT_DATA},
        {.off = base, .len = 10, .loc = {1, 17}, .kind = FOLD_EXTENT_DATA},
        {.off = base, .len = 0, .loc = {1, 16}, .kind = FOLD_EXTENT_DATA},
        {.off = base, .len = 10, .loc = {1, 16}, .kind = 3},
        {.off = base - 1, .len = 10, .loc = {1, 16}, .kind = FOLD_EXTENT_DATA},
        {.off = base + FOLD_PAGE_BYTES - 5, .len = 10, .loc = {1, 16}, .kind = FOLD_EXTENT_DATA},
    };
    for (size_t i = 0; i < FOLD_ARRAY_LEN(bad); i++) {
        struct fold_extent e = bad[i];
        struct fold_page p = {&e, 1, 1};
        void *data = NULL;
        size_t len;
        assert_int_equal(fold_page_encode(&p, PAGE, &data, &len), -EINVAL);
        assert_null(data);
    }
}

static void store_page(struct fold_txn *t, fold_ino ino, uint64_t page_no, uint32_t seg)
{
    struct fold_page p = {NULL, 0, 0};
    struct fold_extent e = {
        .off = page_no * FOLD_PAGE_BYTES, .len = 1000, .loc = {seg, 16}, .kind = FOLD_EXTENT_DATA};
    assert_int_equal(fold_page_insert(&p, &e), 0);
    assert_int_equal(fold_recipe_store(t, ino, page_no, &p), 0);
    fold_page_fini(&p);
}

struct walk {
    uint64_t pages;
    fold_ino last_ino;
    uint64_t last_page;
};

static int count_page(void *arg, uint64_t page_no, const struct fold_page *p)
{
    struct walk *w = arg;
    assert_true(w->pages == 0 || page_no > w->last_page);
    assert_int_equal(p->extents[0].off, page_no * FOLD_PAGE_BYTES);
    w->last_page = page_no;
    w->pages++;
    return 0;
}

static int count_any(void *arg, fold_ino ino, uint64_t page_no, const struct fold_page *p)
{
    struct walk *w = arg;
    assert_int_equal(p->extents[0].loc.seg, ino + page_no);
    w->last_ino = ino;
    w->pages++;
    return 0;
}

static uint64_t pages_of(struct rig *r, fold_ino ino)
{
    struct walk w = {0};
    assert_int_equal(fold_recipe_each(r->c, ino, 0, UINT64_MAX, count_page, &w), 0);
    return w.pages;
}

static void the_table_of_pages(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    struct fold_txn *t = fold_txn_begin(r.c);
    for (uint64_t i = 0; i < 100; i += 2) {
        store_page(t, 5, i, (uint32_t)(5 + i));
        store_page(t, 6, i, (uint32_t)(6 + i));
    }
    store_page(t, 7, 3, 10);
    rig_commit(t);
    rig_reopen(&r, false);

    struct fold_page p = {NULL, 0, 0};
    assert_int_equal(fold_recipe_load(r.c, 5, 4, &p), 0);
    assert_int_equal(p.count, 1);
    assert_int_equal(p.extents[0].loc.seg, 9);
    fold_page_fini(&p);
    assert_int_equal(fold_recipe_load(r.c, 5, 3, &p), 0);
    assert_int_equal(p.count, 0);
    uint64_t found;
    assert_int_equal(fold_recipe_next(r.c, 5, 3, &found), 0);
    assert_int_equal(found, 4);
    assert_int_equal(fold_recipe_next(r.c, 5, 4, &found), 0);
    assert_int_equal(found, 4);
    assert_int_equal(fold_recipe_next(r.c, 5, 99, &found), -ENOENT);
    struct walk w = {0};
    assert_int_equal(fold_recipe_each(r.c, 5, 10, 20, count_page, &w), 0);
    assert_int_equal(w.pages, 6);
    w = (struct walk){0};
    assert_int_equal(fold_recipe_walk(r.c, count_any, &w), 0);
    assert_int_equal(w.pages, 101);
    assert_int_equal(w.last_ino, 7);

    t = fold_txn_begin(r.c);
    assert_int_equal(fold_recipe_store(t, 5, 4, &p), 0); /* empty: removed */
    rig_commit(t);
    assert_int_equal(pages_of(&r, 5), 49);
    rig_destroy(&r);
}

static void drops_exactly_the_range(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    struct fold_txn *t = fold_txn_begin(r.c);
    for (fold_ino ino = 5; ino <= 7; ino++)
        for (uint64_t i = 0; i < 100; i++)
            store_page(t, ino, i, 1);
    rig_commit(t);
    t = fold_txn_begin(r.c);
    fold_recipe_drop(t, 6, 10, 19); /* few: one by one */
    assert_int_equal(fold_kv_batch_count(t->batch), 10);
    fold_recipe_drop(t, 6, 5, 4); /* nothing */
    assert_int_equal(fold_kv_batch_count(t->batch), 10);
    rig_commit(t);
    assert_int_equal(pages_of(&r, 6), 90);
    t = fold_txn_begin(r.c);
    fold_recipe_drop(t, 6, 30, 89); /* many: one range */
    assert_int_equal(fold_kv_batch_count(t->batch), 1);
    rig_commit(t);
    assert_int_equal(pages_of(&r, 6), 30);
    /* Pages put by the same transaction go too. */
    t = fold_txn_begin(r.c);
    store_page(t, 6, 500, 1);
    fold_recipe_drop(t, 6, 95, UINT64_MAX);
    rig_commit(t);
    assert_int_equal(pages_of(&r, 6), 25);
    t = fold_txn_begin(r.c);
    fold_recipe_drop(t, 6, 0, UINT64_MAX);
    rig_commit(t);
    rig_reopen(&r, false);
    assert_int_equal(pages_of(&r, 5), 100);
    assert_int_equal(pages_of(&r, 6), 0);
    assert_int_equal(pages_of(&r, 7), 100);
    rig_destroy(&r);
}

static void damaged_pages_are_refused(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    struct fold_key key;
    fold_key_pair(&key, FOLD_TABLE_RECIPE, 5, 0);
    struct fold_txn *t = fold_txn_begin(r.c);
    fold_kv_batch_put(t->batch, key.bytes, key.len, "junk", 4);
    rig_commit(t);
    struct fold_page p = {NULL, 0, 0};
    struct walk w = {0};
    assert_int_equal(fold_recipe_load(r.c, 5, 0, &p), -FOLD_E_BAD_RECIPE);
    assert_int_equal(fold_recipe_each(r.c, 5, 0, 0, count_page, &w), -FOLD_E_BAD_RECIPE);
    assert_int_equal(fold_recipe_walk(r.c, count_any, &w), -FOLD_E_BAD_RECIPE);
    assert_int_equal(w.pages, 0);
    rig_destroy(&r);
}

int main(void)
{
    fold_log_set_level(FOLD_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_follow_a_model),
        cmocka_unit_test(slices_keep_to_the_range),
        cmocka_unit_test(sequential_chunks_pack_tight),
        cmocka_unit_test(hostile_bytes_are_harmless),
        cmocka_unit_test(golden_page),
        cmocka_unit_test(encode_refuses_nonsense),
        cmocka_unit_test(the_table_of_pages),
        cmocka_unit_test(drops_exactly_the_range),
        cmocka_unit_test(damaged_pages_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
