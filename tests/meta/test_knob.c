/* SPDX-License-Identifier: MIT */
/*
 * Knobs: every one can be set between its least and its standard value, and bad text changes none.
 */
#include "meta/base/knob.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int reset(void **state)
{
    (void)state;
    fold_knobs_reset();
    return 0;
}

static void test_each(void **state)
{
    (void)state;
    size_t count;
    const struct fold_knob *list = fold_knob_list(&count);
    assert_true(count > 10);
    for (size_t i = 0; i < count; i++) {
        const struct fold_knob *k = &list[i];
        char text[128];
        assert_true(k->least <= k->standard);
        assert_int_equal(*k->value, k->standard);
        (void)snprintf(text, sizeof text, "%s=%" PRIu64, k->name, k->least);
        assert_int_equal(fold_knobs_set(text), 0);
        assert_int_equal(*k->value, k->least);
        (void)snprintf(text, sizeof text, "%s=%" PRIu64, k->name, k->standard + 1);
        assert_int_equal(fold_knobs_set(text), -EINVAL);
        assert_int_equal(*k->value, k->least);
    }
    fold_knobs_reset();
    for (size_t i = 0; i < count; i++)
        assert_int_equal(*list[i].value, list[i].standard);
}

static void test_text(void **state)
{
    (void)state;
    assert_int_equal(fold_knobs_set(""), 0);
    assert_int_equal(fold_knobs_set("window_slices=3,window_bytes=4096"), 0);
    assert_int_equal(fold_knobs.window_slices, 3);
    assert_int_equal(fold_knobs.window_bytes, 4096);
    static const char *const bad[] = {
        "window_slices",
        "window_slices=",
        "window_slices=x",
        "window_slices=-1",
        "window_slices=5x",
        "=5",
        "none=5",
        "window_slices=5,none=5",
        "window_slices=5 ,",
        "window_slices =5",
        ",",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(fold_knobs_set(bad[i]), -EINVAL);
        assert_int_equal(fold_knobs.window_slices, 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_each, reset),
        cmocka_unit_test_teardown(test_text, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
