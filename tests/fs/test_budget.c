/* SPDX-License-Identifier: MIT */
/*
 * Replies to writes are held back from the limit on and go out, oldest first and each once, as soon
 * as the sum is below it; also when memory is freed by another thread at the same moment.
 * test-wraps: fuse_reply_write malloc
 */
#include "fs/budget.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#define REPLIES 20000u

static atomic_uint replied;
static uintptr_t order[REPLIES];
static bool no_memory;

int __wrap_fuse_reply_write(fuse_req_t req, size_t count);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

int __wrap_fuse_reply_write(fuse_req_t req, size_t count)
{
    assert_int_equal(count, (uintptr_t)req);
    order[atomic_fetch_add(&replied, 1)] = (uintptr_t)req;
    return 0;
}

void *__wrap_malloc(size_t size)
{
    return no_memory ? NULL : __real_malloc(size);
}

static void ask(struct fold_budget *b, uintptr_t n)
{
    fold_budget_reply_write(b, (fuse_req_t)n, n);
}

static void at_the_limit(void **state)
{
    (void)state;
    struct fold_budget *b;
    atomic_store(&replied, 0);
    assert_int_equal(fold_budget_create(1000, &b), 0);
    assert_false(fold_budget_pressed(b));
    fold_budget_add(b, 500);
    assert_false(fold_budget_pressed(b));
    fold_budget_add(b, 1);
    assert_true(fold_budget_pressed(b));
    fold_budget_add(b, 498);
    ask(b, 1); /* one below */
    assert_int_equal(atomic_load(&replied), 1);
    fold_budget_add(b, 1);
    ask(b, 2);
    ask(b, 3);
    assert_int_equal(atomic_load(&replied), 1);
    fold_budget_add(b, 500);
    fold_budget_sub(b, 500); /* at the limit is not below it */
    assert_int_equal(atomic_load(&replied), 1);
    fold_budget_sub(b, 1);
    assert_int_equal(atomic_load(&replied), 3);
    assert_int_equal(order[1], 2);
    assert_int_equal(order[2], 3);
    fold_budget_add(b, 1);
    no_memory = true; /* nobody waits who cannot be noted */
    ask(b, 4);
    no_memory = false;
    assert_int_equal(atomic_load(&replied), 4);
    fold_budget_sub(b, 1000);
    assert_int_equal(fold_budget_used(b), 0);
    fold_budget_destroy(b);
}

static void *free_all_the_time(void *arg)
{
    struct fold_budget *b = arg;
    while (atomic_load(&replied) < REPLIES)
        if (fold_budget_used(b) > 0)
            fold_budget_sub(b, 1);
    return NULL;
}

/* Nobody is forgotten between the look at the sum and the parking. */
static void beside_a_flush(void **state)
{
    (void)state;
    struct fold_budget *b;
    pthread_t thread;
    atomic_store(&replied, 0);
    assert_int_equal(fold_budget_create(2, &b), 0);
    assert_int_equal(pthread_create(&thread, NULL, free_all_the_time, b), 0);
    for (uintptr_t n = 1; n <= REPLIES; n++) {
        fold_budget_add(b, 1);
        ask(b, n);
    }
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&replied), REPLIES);
    static bool seen[REPLIES + 1];
    for (unsigned i = 0; i < REPLIES; i++) {
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
    }
    fold_budget_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_the_limit),
        cmocka_unit_test(beside_a_flush),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
