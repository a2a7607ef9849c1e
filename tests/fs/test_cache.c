/* SPDX-License-Identifier: MIT */
/*
 * The common cache: bounded, least recently used first, and never older than what was set or
 * dropped while somebody read.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/cache.h"

static int alive;

struct item {
    struct fold_cached cached;
    int value;
};

static void destroy_item(struct fold_cached *v)
{
    alive--;
    free(v);
}

static struct fold_cached *make(uint64_t a, uint64_t b, size_t bytes, int value)
{
    struct item *i = calloc(1, sizeof *i);
    assert_non_null(i);
    alive++;
    i->value = value;
    i->cached.a = a;
    i->cached.b = b;
    i->cached.bytes = bytes;
    i->cached.destroy = destroy_item;
    atomic_init(&i->cached.refs, 1);
    return &i->cached;
}

static void set(struct fold_cache *c, uint64_t a, uint64_t b, size_t bytes, int value)
{
    struct fold_cached *v = make(a, b, bytes, value);
    fold_cache_set(c, v);
    fold_cached_put(v);
}

static void add(struct fold_cache *c, uint64_t a, uint64_t b, int value, uint64_t state)
{
    struct fold_cached *v = make(a, b, 100, value);
    fold_cache_add(c, v, state);
    fold_cached_put(v);
}

/* -1: not there. */
static int value_of(struct fold_cache *c, uint64_t a, uint64_t b)
{
    struct fold_cached *v = fold_cache_get(c, a, b);
    int value = v != NULL ? ((struct item *)v)->value : -1;
    fold_cached_put(v);
    return value;
}

static void bounded(void **state)
{
    (void)state;
    struct fold_cache *c;
    assert_int_equal(fold_cache_create(16 * 1000, &c), 0);
    for (uint64_t i = 0; i < 5000; i++)
        set(c, i, i % 3, 100, (int)i);
    assert_in_range(alive, 100, 160);
    assert_int_equal(value_of(c, 4999, 4999 % 3), 4999);
    set(c, 4999, 4999 % 3, 100, 7);
    assert_int_equal(value_of(c, 4999, 4999 % 3), 7);
    fold_cache_drop(c, 4999, 4999 % 3);
    assert_int_equal(value_of(c, 4999, 4999 % 3), -1);
    fold_cache_destroy(c);
    assert_int_equal(alive, 0);
}

static void added_only_if_nothing_changed(void **state)
{
    (void)state;
    struct fold_cache *c;
    assert_int_equal(fold_cache_create(1 << 20, &c), 0);
    uint64_t seen = fold_cache_state(c, 1, 0);
    assert_int_not_equal(seen, 0);
    add(c, 1, 0, 10, seen);
    assert_int_equal(value_of(c, 1, 0), 10);
    assert_int_equal(fold_cache_state(c, 1, 0), 0); /* it has a value */
    add(c, 1, 0, 11, seen);
    assert_int_equal(value_of(c, 1, 0), 10);

    seen = fold_cache_state(c, 2, 0);
    set(c, 2, 0, 100, 20);
    add(c, 2, 0, 21, seen);
    assert_int_equal(value_of(c, 2, 0), 20);

    /* Dropped while somebody read the old value, or forgotten with its neighbours. */
    fold_cache_drop(c, 2, 0);
    seen = fold_cache_state(c, 2, 0);
    fold_cache_drop(c, 2, 0);
    add(c, 2, 0, 22, seen);
    assert_int_equal(value_of(c, 2, 0), -1);
    seen = fold_cache_state(c, 2, 0);
    fold_cache_drop_from(c, 2, 0);
    add(c, 2, 0, 23, seen);
    assert_int_equal(value_of(c, 2, 0), -1);
    add(c, 2, 0, 24, fold_cache_state(c, 2, 0));
    assert_int_equal(value_of(c, 2, 0), 24);
    fold_cache_destroy(c);
    assert_int_equal(alive, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounded),
        cmocka_unit_test(added_only_if_nothing_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
