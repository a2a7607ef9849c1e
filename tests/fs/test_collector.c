/* SPDX-License-Identifier: MIT */
/* When a collection starts by itself: on much garbage, on some when idle, on any when the host is
 * nearly full. */
#include "fs/collector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static struct fold_collector_look plenty(uint64_t released, uint64_t logical, unsigned idle)
{
    return (struct fold_collector_look){.released = released,
                                        .logical = logical,
                                        .idle_seconds = idle,
                                        .host_free = 1000,
                                        .host_blocks = 2000};
}

static void much_garbage(void **state)
{
    (void)state;
    struct fold_collector_look l = plenty(256 * MIB, 0, 0);
    assert_true(fold_collector_due(&l));
    l = plenty(256 * MIB - 1, 0, 0);
    assert_false(fold_collector_due(&l));
    l = plenty(999 * MIB, 8000 * MIB, 0); /* less than an eighth */
    assert_false(fold_collector_due(&l));
    l = plenty(1000 * MIB, 8000 * MIB, 0);
    assert_true(fold_collector_due(&l));
}

static void idle(void **state)
{
    (void)state;
    struct fold_collector_look l =
        plenty(FOLD_COLLECT_IDLE_BYTES, 8000 * MIB, FOLD_COLLECT_IDLE_SECONDS);
    assert_true(fold_collector_due(&l));
    l.idle_seconds--;
    assert_false(fold_collector_due(&l));
    l = plenty(FOLD_COLLECT_IDLE_BYTES - 1, 8000 * MIB, 100000);
    assert_false(fold_collector_due(&l));
}

static void little_left(void **state)
{
    (void)state;
    struct fold_collector_look l = plenty(1, 8000 * MIB, 0);
    l.host_free = 100;
    assert_false(fold_collector_due(&l));
    l.host_free = 99;
    assert_true(fold_collector_due(&l));
    l.released = 0; /* nothing to be had */
    assert_false(fold_collector_due(&l));
}

/* While the host has little left, what frees nothing is tried less and less often. */
static void in_vain(void **state)
{
    (void)state;
    struct fold_collector_look l = plenty(1, 8000 * MIB, 0);
    l.host_free = 99;
    l.pause_seconds = fold_collector_pause(0, FOLD_COLLECT_WORTH_BYTES - 1);
    assert_int_equal(l.pause_seconds, FOLD_COLLECT_PAUSE_FIRST);
    assert_false(fold_collector_due(&l));
    l.since_seconds = FOLD_COLLECT_PAUSE_FIRST - 1;
    assert_false(fold_collector_due(&l));
    l.since_seconds++;
    assert_true(fold_collector_due(&l));
    unsigned looks = 0;
    for (unsigned pause = 0; pause < FOLD_COLLECT_PAUSE_MOST; looks++) {
        unsigned next = fold_collector_pause(pause, 0);
        assert_true(next > pause);
        pause = next;
    }
    assert_int_equal(looks, 5);
    assert_int_equal(fold_collector_pause(FOLD_COLLECT_PAUSE_MOST, 0), FOLD_COLLECT_PAUSE_MOST);
    /* It paid: the next is due at once. And much garbage does not wait for a pause to end. */
    assert_int_equal(fold_collector_pause(FOLD_COLLECT_PAUSE_MOST, FOLD_COLLECT_WORTH_BYTES), 0);
    l = plenty(256 * MIB, 0, 0);
    l.pause_seconds = FOLD_COLLECT_PAUSE_MOST;
    assert_true(fold_collector_due(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(much_garbage),
        cmocka_unit_test(idle),
        cmocka_unit_test(little_left),
        cmocka_unit_test(in_vain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
