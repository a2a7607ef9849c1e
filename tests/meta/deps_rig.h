/* SPDX-License-Identifier: MIT */
/*
 * Asking a store for its dependencies where that cannot fail.
 */
#ifndef FOLD_TESTS_META_DEPS_RIG_H
#define FOLD_TESTS_META_DEPS_RIG_H

#include "blob_rig.h"

/* Number of dependencies that were named. */
static inline size_t rig_deps(struct fold_store *s, struct fold_dep deps[FOLD_STORE_MAX_DEPS])
{
    size_t n;
    assert_int_equal(fold_store_deps(s, deps, &n), 0);
    return n;
}

#endif
