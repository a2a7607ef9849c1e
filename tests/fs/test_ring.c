/* SPDX-License-Identifier: MIT */
/*
 * The parts of the io_uring transport that need no mount: lists of processors, the ring itself,
 * payloads that change their place, and beginning and ending without a kernel on the other side.
 */
#include "fs/buf.h"
#include "fs/ring.h"
#include "fs/ring_offer.h"
#include "fs/uring.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void processors_are_counted(void **state)
{
    (void)state;
    assert_int_equal(fold_ring_count_cpus("0"), 1);
    assert_int_equal(fold_ring_count_cpus("0-1\n"), 2);
    assert_int_equal(fold_ring_count_cpus("0-3,8,10-11"), 7);
    static const char *const bad[] = {"", "\n", "-", "a", "0-", "3-1", "0;1", "0,", "0-99999"};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(bad); i++)
        assert_int_equal(fold_ring_count_cpus(bad[i]), 0);
}

/* A ring, or the end of the test where the system has none. */
static struct fold_uring *ring_or_skip(void)
{
    struct fold_uring *u = NULL;
    int rc = fold_uring_create(2, &u);
    if (rc != 0)
        skip();
    return u;
}

static void submissions_complete(void **state)
{
    (void)state;
    struct fold_uring *u = ring_or_skip();
    uint64_t data = 0;
    int result = -1;
    assert_int_equal(fold_uring_enable(u), 0);
    assert_false(fold_uring_take(u, &data, &result));
    for (uint64_t i = 1; i <= 100; i++) {
        for (uint64_t j = 0; j < 1 + i % 2; j++) {
            struct io_uring_sqe *sqe = fold_uring_next(u);
            for (size_t b = 0; b < 128; b++)
                assert_int_equal(((const uint8_t *)sqe)[b], 0);
            memset(sqe, 0, 128);
            sqe->opcode = IORING_OP_NOP;
            sqe->user_data = 10 * i + j;
            ((uint8_t *)sqe)[127] = 7; /* must be gone the next time */
        }
        assert_int_equal(fold_uring_submit(u, true), 0);
        for (uint64_t j = 0; j < 1 + i % 2; j++) {
            assert_true(fold_uring_take(u, &data, &result));
            assert_int_equal(data, 10 * i + j);
            assert_int_equal(result, 0);
        }
        assert_false(fold_uring_take(u, &data, &result));
    }
    fold_uring_destroy(u);
}

static void payloads_change_places(void **state)
{
    enum { CAP = 1 << 20, LEAD = 192 };
    (void)state;
    struct fold_bufpool *pool = NULL;
    assert_int_equal(fold_bufpool_create(CAP, LEAD, 4, &pool), 0);
    struct fold_buf *fixed = fold_bufpool_get(pool);
    void *spare = fold_bufpool_spare(pool);
    assert_non_null(fixed);
    assert_non_null(spare);
    const uint8_t *address = fixed->mem;
    for (int i = 0; i < 50; i++) {
        memset(fixed->mem, i, CAP);
        struct fold_buf *taken = fold_bufpool_get(pool);
        struct fold_buf *other =
            fold_bufpool_get(pool); /* so that not always the same one is next */
        assert_int_equal(fold_bufpool_move(pool, fixed, taken, &spare), 0);
        assert_ptr_equal(fixed->mem, address);
        assert_ptr_not_equal(taken->mem, address);
        assert_int_equal((uintptr_t)(taken->mem + LEAD) % 4096, 0);
        memset(fixed->mem, 0xff, CAP);
        for (size_t b = 0; b < CAP; b += 509)
            assert_int_equal(taken->mem[b], i);
        fold_buf_put(i % 2 == 0 ? taken : other);
        fold_buf_put(i % 2 == 0 ? other : taken);
    }
    fold_bufpool_spare_free(pool, spare);
    fold_buf_put(fixed);
    fold_bufpool_destroy(pool);
}

static void never_called(void *arg, uint8_t *request, size_t len, struct fold_buf *buf)
{
    (void)arg;
    (void)request;
    (void)len;
    (void)buf;
    fail();
}

/* What is no FUSE device refuses the entries; the ring never says that it runs. */
static void a_refusal_is_no_hang(void **state)
{
    (void)state;
    fold_uring_destroy(ring_or_skip());
    for (int started = 0; started < 2; started++) {
        FOLD_AUTO(close) int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct fold_ring *r = NULL;
        assert_int_equal(fold_ring_create(fd, 1u << 20, never_called, NULL, &r), 0);
        if (started)
            fold_ring_start(r);
        assert_false(fold_ring_running(r));
        fold_ring_stop(r);
        assert_false(fold_ring_running(r));
        fold_ring_destroy(r);
    }
    fold_ring_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processors_are_counted),
        cmocka_unit_test(submissions_complete),
        cmocka_unit_test(payloads_change_places),
        cmocka_unit_test(a_refusal_is_no_hang),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
