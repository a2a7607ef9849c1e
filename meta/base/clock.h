/* SPDX-License-Identifier: MIT */
/*
 * Time for measuring how long something took or how old it is. Not the time of day.
 */
#ifndef FOLD_META_BASE_CLOCK_H
#define FOLD_META_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds since some moment in the past; a few milliseconds coarse and very cheap. */
static inline uint64_t fold_clock_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

#endif
