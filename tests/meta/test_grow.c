/* SPDX-License-Identifier: MIT */
/*
 * Arrays that grow: what is in them stays, room is made by doubling, and without memory nothing
 * changes.
 */
#include "meta/base/grow.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* A sanitizer is to refuse memory as malloc does; it asks here. */
#define ASKED __attribute__((visibility("default")))
ASKED const char *__asan_default_options(void);
ASKED const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void items_stay(void **state)
{
    (void)state;
    uint32_t *items = NULL;
    size_t cap = 0, moves = 0;
    for (size_t n = 0; n < 100000; n++) {
        size_t before = cap;
        assert_int_equal(FOLD_GROW(items, cap, n + 1, 16), 0);
        assert_true(cap > n);
        moves += cap != before;
        items[n] = (uint32_t)n * 7;
    }
    assert_int_equal(moves, 14); /* 16 << 13 is the first to hold them */
    assert_int_equal(cap, 16u << 13);
    for (size_t n = 0; n < 100000; n++)
        assert_int_equal(items[n], (uint32_t)n * 7);
    free(items);
}

static void as_much_as_is_needed(void **state)
{
    (void)state;
    struct {
        char *bytes;
        size_t cap;
    } a = {NULL, 0};
    assert_int_equal(FOLD_GROW(a.bytes, a.cap, 0, 4), 0);
    assert_null(a.bytes);
    assert_int_equal(FOLD_GROW(a.bytes, a.cap, 1, 4), 0);
    assert_int_equal(a.cap, 4);
    assert_int_equal(FOLD_GROW(a.bytes, a.cap, 4, 4), 0);
    assert_int_equal(a.cap, 4);
    assert_int_equal(FOLD_GROW(a.bytes, a.cap, 1000, 4), 0);
    assert_int_equal(a.cap, 1000);
    assert_int_equal(FOLD_GROW(a.bytes, a.cap, 1001, 4), 0);
    assert_int_equal(a.cap, 2000);
    memset(a.bytes, 'x', a.cap);
    free(a.bytes);
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    uint64_t *items = NULL;
    size_t cap = 0;
    assert_int_equal(FOLD_GROW(items, cap, 1, 1), 0);
    items[0] = 42;
    uint64_t *before = items;
    /* More bytes than there are numbers for, and more than any machine has. */
    volatile size_t most = SIZE_MAX;
    assert_int_equal(FOLD_GROW(items, cap, most / 4, 1), -ENOMEM);
    assert_int_equal(FOLD_GROW(items, cap, most / 16, 1), -ENOMEM);
    assert_ptr_equal(items, before);
    assert_int_equal(cap, 1);
    assert_int_equal(items[0], 42);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_stay),
        cmocka_unit_test(as_much_as_is_needed),
        cmocka_unit_test(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
