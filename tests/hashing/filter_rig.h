/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the filter share: putting many keys in, and asking for them.
 */
#ifndef FOLD_TESTS_HASHING_FILTER_RIG_H
#define FOLD_TESTS_HASHING_FILTER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/hashing/filter_keys.h"

#include <fcntl.h>
#include <stdio.h>

#define BATCH 1024

static inline struct fold_filter *filter_of(uint64_t keys)
{
    struct fold_filter *f = NULL;
    assert_int_equal(fold_filter_create_exact(keys, &f), 0);
    return f;
}

static inline void insert_range(struct fold_filter *f, uint64_t from, uint64_t to)
{
    struct fold_fp fps[BATCH];
    for (uint64_t i = from; i < to; i += BATCH) {
        size_t n = FOLD_MIN(to - i, BATCH);
        for (size_t k = 0; k < n; k++)
            fps[k] = fp_of(i + k);
        assert_int_equal(fold_filter_insert_batch(f, fps, n), 0);
    }
}

/* How many of the keys are answered with "maybe". */
static inline uint64_t count_maybe(const struct fold_filter *f, uint64_t from, uint64_t to)
{
    struct fold_fp fps[BATCH];
    uint64_t maybe[BATCH / 64];
    uint64_t count = 0;
    for (uint64_t i = from; i < to; i += BATCH) {
        size_t n = FOLD_MIN(to - i, BATCH);
        for (size_t k = 0; k < n; k++)
            fps[k] = fp_of(i + k);
        memset(maybe, 0xa5, sizeof maybe);
        fold_filter_probe(f, fps, n, maybe);
        for (size_t w = 0; w < (n + 63) / 64; w++)
            count += (uint64_t)__builtin_popcountll(maybe[w]);
    }
    return count;
}

static inline struct fold_filter_info info_of(const struct fold_filter *f)
{
    struct fold_filter_info info;
    fold_filter_info(f, &info);
    return info;
}

/* A directory of its own; returns it open. */
static inline int temp_dir(char path[32])
{
    (void)snprintf(path, 32, "/tmp/fold-filter-XXXXXX");
    assert_non_null(mkdtemp(path));
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    return fd;
}

#endif
