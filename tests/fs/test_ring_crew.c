/* SPDX-License-Identifier: MIT */
/*
 * How many threads serve a queue of io_uring: the counts stay true when a thread cannot be begun or
 * ends by itself, and requests that wait for the kernel never hold more than half of the entries.
 * pthread_create is the test's own: it fails on demand, and its threads do what servers do without
 * a kernel.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/ring.h"
#include "fs/ring_crew.h"
#include "fs/ring_server.h"
#include "fs/uring.h"
#include "meta/base/knob.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>

enum { MANY = 64 };

static atomic_uint failures; /* threads to come that cannot be begun */
static atomic_bool refuse;   /* threads to come end instead of being enlisted */

static void *server_without_kernel(void *arg)
{
    struct fold_ring_server *s = arg;
    struct pollfd end = {.fd = s->ring->end_fd, .events = POLLIN};
    if (fold_ring_await_start(s->ring) && !atomic_load(&refuse)) {
        fold_ring_note_enlisted(s);
        (void)poll(&end, 1, -1);
    }
    fold_ring_note_ended(s);
    return NULL;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg), void *arg)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    (void)fn;
    if (real == NULL) {
        void *found = dlsym(RTLD_NEXT, "pthread_create");
        memcpy(&real, &found, sizeof real);
    }
    if (atomic_load(&failures) > 0) {
        atomic_fetch_sub(&failures, 1);
        return EAGAIN;
    }
    return real(thread, attr, server_without_kernel, arg);
}

static void never_called(void *arg, uint8_t *request, size_t len, struct fold_buf *buf)
{
    (void)arg;
    (void)request;
    (void)len;
    (void)buf;
    fail();
}

/* A ring with `most` servers a queue that has been started; its device is none. */
static struct fold_ring *new_ring(unsigned most)
{
    struct fold_uring *u = NULL;
    if (fold_uring_create(2, &u) != 0)
        skip();
    fold_uring_destroy(u);
    fold_knobs.ring_servers = most;
    fold_knobs.ring_retry_ms = 0;
    struct fold_ring *r = NULL;
    assert_int_equal(fold_ring_create(-1, 4096, never_called, NULL, &r), 0);
    fold_ring_start(r);
    for (unsigned i = 0; i < r->queues; i++)
        while (fold_ring_crew(r, i).enlisted < fold_ring_crew(r, i).servers)
            (void)poll(NULL, 0, 1);
    return r;
}

static int tear_down(void **state)
{
    (void)state;
    atomic_store(&failures, 0);
    atomic_store(&refuse, false);
    fold_knobs_reset();
    return 0;
}

static unsigned first_servers(struct fold_ring *r)
{
    return fold_ring_crew(r, 0).servers;
}

static void a_thread_that_cannot_begin_is_not_counted(void **state)
{
    (void)state;
    struct fold_ring *r = new_ring(8);
    unsigned first = first_servers(r);
    for (unsigned i = 0; i < 3 * 8; i++) {
        atomic_store(&failures, 1);
        assert_int_equal(fold_ring_enlarge(r, 0, 8), -EAGAIN);
        assert_int_equal(fold_ring_crew(r, 0).servers, first);
    }
    for (unsigned n = first + 1; n <= 8; n++) { /* all places are free still */
        assert_int_equal(fold_ring_enlarge(r, 0, 8), 0);
        assert_int_equal(fold_ring_crew(r, 0).servers, n);
    }
    assert_int_equal(fold_ring_enlarge(r, 0, 8), -EAGAIN);
    assert_int_equal(fold_ring_crew(r, 0).servers, 8);
    fold_ring_destroy(r);
}

/* Where all are busy one more begins, also after an attempt that failed. */
static void busy_servers_get_help_after_a_failure(void **state)
{
    (void)state;
    struct fold_ring *r = new_ring(8);
    unsigned first = first_servers(r);
    atomic_store(&r->queue[0].busy, first);
    atomic_store(&failures, 1);
    fold_ring_reinforce(r, 0);
    assert_int_equal(fold_ring_crew(r, 0).servers, first);
    fold_ring_reinforce(r, 0);
    assert_int_equal(fold_ring_crew(r, 0).servers, first + 1);
    fold_ring_reinforce(r, 0); /* not all are busy now */
    assert_int_equal(fold_ring_crew(r, 0).servers, first + 1);
    fold_ring_destroy(r);
}

static void a_thread_that_ended_makes_room(void **state)
{
    (void)state;
    struct fold_ring *r = new_ring(8);
    unsigned first = first_servers(r);
    atomic_store(&refuse, true);
    for (unsigned i = 0; i < 5 * 8; i++) {
        while (fold_ring_crew(r, 0).servers > first)
            (void)poll(NULL, 0, 1);
        assert_int_equal(fold_ring_enlarge(r, 0, first + 1), 0);
    }
    while (fold_ring_crew(r, 0).servers > first)
        (void)poll(NULL, 0, 1);
    atomic_store(&refuse, false);
    for (unsigned n = first + 1; n <= 8; n++)
        assert_int_equal(fold_ring_enlarge(r, 0, 8), 0);
    assert_int_equal(fold_ring_crew(r, 0).servers, 8);
    fold_ring_destroy(r);
}

static void after_a_failure_there_is_a_pause(void **state)
{
    (void)state;
    struct fold_ring *r = new_ring(8);
    unsigned first = first_servers(r);
    fold_knobs.ring_retry_ms = 50;
    atomic_store(&failures, 1);
    assert_int_equal(fold_ring_enlarge(r, 0, 8), -EAGAIN);
    assert_int_equal(fold_ring_enlarge(r, 0, 8), -EAGAIN);
    (void)poll(NULL, 0, 80);
    assert_int_equal(fold_ring_enlarge(r, 0, 8), 0);
    assert_int_equal(fold_ring_crew(r, 0).servers, first + 1);
    fold_ring_destroy(r);
}

/* Gives servers of queue 0 requests 1, 2, ... */
static unsigned give_requests(struct fold_ring *r, unsigned from, unsigned to)
{
    unsigned given = from;
    for (unsigned i = 0; i < atomic_load(&r->count) && given < to; i++)
        if (r->servers[i].queue == 0 && atomic_load(&r->servers[i].unique) == 0)
            atomic_store(&r->servers[i].unique, ++given);
    return given;
}

static void half_of_the_entries_may_wait(void **state)
{
    (void)state;
    for (unsigned most = 2; most <= MANY; most *= 2) {
        struct fold_ring *r = new_ring(most);
        unsigned given = 0, waiting = 0, queue[MANY];
        for (;;) {
            given = give_requests(r, given, most);
            if (waiting == given || !fold_ring_wait_begin(r, waiting + 1, &queue[waiting]))
                break;
            assert_int_equal(queue[waiting], 0);
            waiting++;
            struct fold_ring_crew crew = fold_ring_crew(r, 0);
            assert_int_equal(crew.waiting, waiting);
            assert_true(2 * crew.waiting <= crew.enlisted);
            assert_true(crew.enlisted <= crew.servers && crew.servers <= most);
        }
        assert_int_equal(waiting, most / 2);
        fold_ring_wait_end(r, queue[0]);
        assert_true(fold_ring_wait_begin(r, 1, &queue[0]));
        while (waiting > 0)
            fold_ring_wait_end(r, queue[--waiting]);
        assert_int_equal(fold_ring_crew(r, 0).waiting, 0);
        for (unsigned i = 0; i < atomic_load(&r->count); i++)
            atomic_store(&r->servers[i].unique, 0);
        fold_ring_destroy(r);
    }
}

/* Threads that are counted but never come are no entries; what came by the device needs none. */
static void only_entries_count_for_waits(void **state)
{
    (void)state;
    unsigned queue = 7;
    struct fold_ring *r = new_ring(8);
    unsigned first = first_servers(r), waiting = 0;
    (void)give_requests(r, 0, first);
    assert_true(fold_ring_wait_begin(r, 4711, &queue));
    assert_int_equal(queue, FOLD_RING_NO_QUEUE);
    fold_ring_wait_end(r, queue);
    atomic_store(&refuse, true);
    fold_knobs.ring_retry_ms = 1000;
    while (waiting < first && fold_ring_wait_begin(r, waiting + 1, &queue))
        waiting++;
    assert_int_equal(waiting, first / 2);
    for (unsigned i = 0; i < atomic_load(&r->count); i++)
        atomic_store(&r->servers[i].unique, 0);
    fold_ring_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_thread_that_cannot_begin_is_not_counted, tear_down),
        cmocka_unit_test_teardown(busy_servers_get_help_after_a_failure, tear_down),
        cmocka_unit_test_teardown(a_thread_that_ended_makes_room, tear_down),
        cmocka_unit_test_teardown(after_a_failure_there_is_a_pause, tear_down),
        cmocka_unit_test_teardown(half_of_the_entries_may_wait, tear_down),
        cmocka_unit_test_teardown(only_entries_count_for_waits, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
