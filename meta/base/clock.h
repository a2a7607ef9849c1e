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

/* A deadline for fold_lock_wait: `ms` milliseconds from now. */
static inline struct timespec fold_clock_after(uint64_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

#endif
