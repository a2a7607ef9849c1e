/* SPDX-License-Identifier: MIT */
/*
 * What is taken for a stream, and how far ahead of it reading goes.
 */
#include "fs/readahead.h"
#include "tests/support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)

static void a_stream_is_followed_further_and_further(void **state)
{
    (void)state;
    struct fold_readahead a = {0};
    uint64_t asked = 0, before = 0;
    for (uint64_t off = 0; off < 64 * MIB; off += MIB) {
        uint64_t from = 0, len = 0, end = off + MIB;
        assert_int_equal(fold_readahead_note(&a, off, end), end);
        if (fold_readahead_range(&a, end, end, &from, &len)) {
            assert_int_equal(from, off == 0 ? end : asked);
            asked = from + len;
            assert_true(asked - end >= before);
            before = asked - end;
        }
        assert_true(asked > end); /* nothing is met that was not asked for */
        assert_true(asked <= end + 16 * MIB);
    }
    assert_int_equal(before, 16 * MIB);
}

static void scattered_reads_ask_for_nothing(void **state)
{
    (void)state;
    struct fold_readahead a = {0};
    uint64_t rng = 88172645463325252u, asked = 0, from, len;
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t off = (rig_random(&rng) >> 20) % (128 * MIB / 4096) * 4096;
        uint64_t run = fold_readahead_note(&a, off, off + 4096);
        if (fold_readahead_range(&a, off + 4096, run, &from, &len))
            asked += len;
    }
    assert_int_equal(asked, 0);
}

static void requests_may_overtake_each_other(void **state)
{
    (void)state;
    static const unsigned order[] = {1, 0, 2, 5, 4, 3, 7, 6};
    struct fold_readahead a = {0};
    uint64_t run = 0;
    for (unsigned i = 0; i < 8; i++) {
        run = fold_readahead_note(&a, order[i] * MIB, (order[i] + 1) * MIB);
        assert_int_equal(run, (i + 1) * MIB);
    }
    assert_int_equal(fold_readahead_note(&a, 40 * MIB, 41 * MIB), 0);
    assert_int_equal(fold_readahead_note(&a, 41 * MIB, 42 * MIB), MIB);
}

static void small_requests_must_show_themselves(void **state)
{
    (void)state;
    struct fold_readahead a = {0};
    uint64_t from = 0, len = 0, end = 0, run = 0;
    do {
        assert_int_equal(end, run);
        run = fold_readahead_note(&a, end, end + 4 * KIB);
        end += 4 * KIB;
    } while (end < MIB && !fold_readahead_range(&a, end, run, &from, &len));
    assert_int_equal(end, 16 * KIB);
    assert_int_equal(from, end);
    assert_int_equal(len, 64 * KIB);
}

static void a_jump_begins_anew(void **state)
{
    (void)state;
    struct fold_readahead a = {0};
    uint64_t from = 0, len = 0;
    for (uint64_t off = 0; off < 8 * MIB; off += MIB) {
        uint64_t run = fold_readahead_note(&a, off, off + MIB);
        (void)fold_readahead_range(&a, off + MIB, run, &from, &len);
    }
    assert_int_equal(fold_readahead_note(&a, 500 * MIB, 501 * MIB), 0);
    assert_false(fold_readahead_range(&a, 501 * MIB, 0, &from, &len));
    uint64_t run = fold_readahead_note(&a, 501 * MIB, 502 * MIB);
    assert_true(fold_readahead_range(&a, 502 * MIB, run, &from, &len));
    assert_int_equal(from, 502 * MIB);
    assert_int_equal(len, 4 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_followed_further_and_further),
        cmocka_unit_test(scattered_reads_ask_for_nothing),
        cmocka_unit_test(requests_may_overtake_each_other),
        cmocka_unit_test(small_requests_must_show_themselves),
        cmocka_unit_test(a_jump_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
