/* SPDX-License-Identifier: MIT */
/*
 * Fingerprints that follow from numbers, for the tests and the bench of the filter.
 */
#ifndef FOLD_TESTS_HASHING_FILTER_KEYS_H
#define FOLD_TESTS_HASHING_FILTER_KEYS_H

#include "hashing/filter.h"

static inline uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x7fb5d329728ea185ull;
    x = (x ^ x >> 27) * 0x81dadef4bc2dd44dull;
    return x ^ x >> 33;
}

/* The fingerprint of key number i. */
static inline struct fold_fp fp_of(uint64_t i)
{
    return (struct fold_fp){{mix(i), mix(i ^ 1ull << 63), 0, 0}};
}

#endif
