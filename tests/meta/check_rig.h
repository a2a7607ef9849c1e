/* SPDX-License-Identifier: MIT */
/*
 * What a check should make of the damaged volume of check_volume.h.
 */
#ifndef FOLD_TESTS_META_CHECK_RIG_H
#define FOLD_TESTS_META_CHECK_RIG_H

#include "meta/base/err.h"
#include "meta/check.h"
#include "tests/meta/check_volume.h"

static inline struct fold_check_result check(bool repair, bool data)
{
    struct fold_check_options opt = {.repair = repair, .data = data};
    struct fold_check_result r;
    assert_int_equal(fold_check_run(base, &opt, &r), 0);
    return r;
}

static inline bool has(const struct fold_check_result *r, const char *code)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->problems[i].code, code) == 0)
            return true;
    return false;
}

/* What is left of the problems, for whoever reads a failure. */
static inline void show(const struct fold_check_result *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct fold_problem *p = &r->problems[i];
        if (!p->repaired && p->severity != FOLD_SEVERITY_NOTE)
            print_error("%s: %s: %s\n", p->code, p->object, p->message);
    }
}

static inline void expect_clean(bool data)
{
    struct fold_check_result r = check(false, data);
    show(&r);
    assert_int_equal(r.errors, 0);
    fold_check_free(&r);
}

/* The damage is found, found again after a check without repair, repaired, and gone. */
static inline void expect_repaired(const char *code)
{
    for (int repair = 0; repair <= 1; repair++) {
        struct fold_check_result r = check(false, true);
        if (!has(&r, code))
            show(&r);
        assert_true(has(&r, code));
        assert_true(r.errors > 0);
        fold_check_free(&r);
    }
    struct fold_check_result r = check(true, true);
    show(&r);
    assert_true(has(&r, code));
    assert_int_equal(r.errors, r.repaired);
    fold_check_free(&r);
    expect_clean(true);
}

#endif
