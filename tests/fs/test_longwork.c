/* SPDX-License-Identifier: MIT */
/*
 * Turns of requests that take long: one of a user at a time, users in turn, never more than half of
 * the pool, interrupted ones first, short ones past all of them. Requests are the test's own: user
 * and interruption stand in them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/longwork.h"
#include "fs/session.h"
#include "meta/base/knob.h"
#include "meta/base/lock.h"
#include "meta/base/workers.h"

#include <poll.h>

enum { WORKERS = 4, MOST = 256, USERS = 8 };

struct job {
    struct fold_long work;
    struct fuse_ctx ctx;
    atomic_bool interrupted;
    unsigned steps;       /* to be done */
    unsigned ms;          /* each takes */
    unsigned done;        /* of them */
    unsigned finished_as; /* the how manieth it was, from 1; 0: not yet */
    bool gave_up;
};

static struct fold_session session;
static struct fold_lock lock;
static pthread_cond_t change;
static unsigned inside[USERS], inside_all, most_all, finished; /* guarded by lock */
static bool crowded; /* two of a user were in work at once; guarded by lock */

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
    return &((struct job *)(void *)req)->ctx;
}

int fuse_req_interrupted(fuse_req_t req)
{
    return atomic_load(&((struct job *)(void *)req)->interrupted);
}

static bool step(void *arg)
{
    struct job *j = arg;
    bool turn = j->work.queued;
    fold_lock_take(&lock);
    if (turn) {
        crowded |= inside[j->ctx.uid]++ > 0;
        inside_all++;
        most_all = FOLD_MAX(most_all, inside_all);
    }
    fold_lock_drop(&lock);
    j->gave_up = fold_long_interrupted(&j->work);
    while (!j->gave_up && j->done < j->steps) {
        (void)poll(NULL, 0, (int)j->ms);
        j->done++;
        if (fold_long_due(&j->work))
            break;
    }
    bool over = j->gave_up || j->done == j->steps;
    fold_lock_take(&lock);
    if (turn) {
        inside[j->ctx.uid]--;
        inside_all--;
    }
    if (over)
        j->finished_as = ++finished;
    pthread_cond_broadcast(&change);
    fold_lock_drop(&lock);
    return over;
}

static void begin(struct job *j, uid_t uid, unsigned steps, unsigned ms)
{
    *j = (struct job){.ctx = {.uid = uid}, .steps = steps, .ms = ms};
    j->work = (struct fold_long){.step = step, .arg = j, .req = (fuse_req_t)(void *)j};
    fold_long_start(&session, &j->work);
}

static void wait_finished(unsigned n)
{
    fold_lock_take(&lock);
    while (finished < n)
        (void)fold_lock_wait(&lock, &change, NULL);
    fold_lock_drop(&lock);
}

static int set_up(void **state)
{
    (void)state;
    fold_lock_init(&lock, FOLD_RANK_LEAF, "jobs");
    fold_cond_init(&change);
    memset(inside, 0, sizeof inside);
    inside_all = most_all = finished = 0;
    crowded = false;
    fold_knobs.long_first_ms = 2;
    fold_knobs.long_slice_ms = 5;
    assert_int_equal(fold_workers_create(WORKERS, "test-worker", &session.workers), 0);
    assert_int_equal(fold_longs_create(session.workers, WORKERS / 2, &session.longs), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fold_longs_stop(session.longs);
    fold_workers_destroy(session.workers);
    fold_longs_destroy(session.longs);
    pthread_cond_destroy(&change);
    fold_lock_fini(&lock);
    fold_knobs_reset();
    return 0;
}

static void one_of_a_user_and_half_of_the_pool(void **state)
{
    static struct job jobs[40];
    (void)state;
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(jobs); i++)
        begin(&jobs[i], i % USERS, 10, 1);
    wait_finished(FOLD_ARRAY_LEN(jobs));
    assert_false(crowded);
    assert_in_range(most_all, 1, WORKERS / 2);
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(jobs); i++)
        assert_int_equal(jobs[i].done, jobs[i].steps);
}

static void users_take_turns(void **state)
{
    static struct job much[30], little;
    (void)state;
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(much); i++)
        begin(&much[i], 1 + i % 3, 60, 1);
    begin(&little, 7, 60, 1);
    wait_finished(FOLD_ARRAY_LEN(much) + 1);
    /* Only the first of each other user may be before it. */
    assert_in_range(little.finished_as, 1, 4);
}

static void short_ones_do_not_queue(void **state)
{
    static struct job much[3], little[20];
    (void)state;
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(much); i++)
        begin(&much[i], 1, 200, 1);
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(little); i++)
        begin(&little[i], 1, 1, 0);
    wait_finished(FOLD_ARRAY_LEN(much) + FOLD_ARRAY_LEN(little));
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(little); i++)
        assert_in_range(little[i].finished_as, 1, FOLD_ARRAY_LEN(little));
}

/* Also those whose turn is far away. */
static void interrupted_ones_are_answered_first(void **state)
{
    static struct job jobs[20];
    (void)state;
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(jobs); i++)
        begin(&jobs[i], 1, 1000000, 1);
    (void)poll(NULL, 0, 200); /* all are through with their first step */
    for (unsigned n = 1; n <= FOLD_ARRAY_LEN(jobs); n++) {
        struct job *j = &jobs[n * 7 % FOLD_ARRAY_LEN(jobs)];
        atomic_store(&j->interrupted, true);
        wait_finished(n);
        assert_int_equal(j->finished_as, n);
        assert_true(j->gave_up);
    }
}

/* With no time at all each step still gets on. */
static void no_time_is_enough(void **state)
{
    static struct job jobs[MOST];
    (void)state;
    fold_knobs.long_first_ms = fold_knobs.long_slice_ms = 0;
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(jobs); i++)
        begin(&jobs[i], i % USERS, i % 50 + 1, 0);
    wait_finished(FOLD_ARRAY_LEN(jobs));
    assert_false(crowded);
    assert_in_range(most_all, 1, WORKERS / 2);
}

static void the_end_answers_all(void **state)
{
    static struct job jobs[50];
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(jobs); i++)
        begin(&jobs[i], i % USERS, 1000000, 1);
    fold_longs_stop(session.longs);
    fold_workers_destroy(session.workers);
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(jobs); i++)
        assert_true(jobs[i].finished_as > 0);
    session.workers = NULL;
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_of_a_user_and_half_of_the_pool, set_up, tear_down),
        cmocka_unit_test_setup_teardown(users_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(short_ones_do_not_queue, set_up, tear_down),
        cmocka_unit_test_setup_teardown(interrupted_ones_are_answered_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_time_is_enough, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_answers_all, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
