/* SPDX-License-Identifier: MIT */
/*
 * Random numbers for tests and what works for them: xorshift, the same sequence on every machine.
 */
#ifndef FOLD_TESTS_SUPPORT_RANDOM_H
#define FOLD_TESTS_SUPPORT_RANDOM_H

#include <stdint.h>

/* The next number; `state`, which is the number before, must not be 0. */
static inline uint64_t rig_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* The same, mixed: for whoever takes few bits of it. */
static inline uint64_t rig_random_mixed(uint64_t *state)
{
    return rig_random(state) * UINT64_C(0x2545F4914F6CDD1D);
}

#endif
