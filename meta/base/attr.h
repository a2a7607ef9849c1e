/* SPDX-License-Identifier: MIT */
/*
 * Compiler attributes and cleanup helpers used everywhere above the kernels.
 * Also poisons the string functions that cannot be used safely.
 */
#ifndef FOLD_META_BASE_ATTR_H
#define FOLD_META_BASE_ATTR_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLD_MUST         __attribute__((warn_unused_result))
#define FOLD_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define FOLD_UNUSED       __attribute__((unused))
#define FOLD_LIKELY(x)    __builtin_expect(!!(x), 1)
#define FOLD_UNLIKELY(x)  __builtin_expect(!!(x), 0)
#define FOLD_CACHELINE    64

#define FOLD_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define FOLD_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define FOLD_MAX(a, b)    ((a) > (b) ? (a) : (b))

#if defined(__clang__)
#define FOLD_CAPABILITY(x) __attribute__((capability(x)))
#define FOLD_REQUIRES(...) __attribute__((requires_capability(__VA_ARGS__)))
#define FOLD_ACQUIRE(...)  __attribute__((acquire_capability(__VA_ARGS__)))
#define FOLD_RELEASE(...)  __attribute__((release_capability(__VA_ARGS__)))
#define FOLD_TRY(...)      __attribute__((try_acquire_capability(__VA_ARGS__)))
#define FOLD_NO_ANALYSIS   __attribute__((no_thread_safety_analysis))
#else
#define FOLD_CAPABILITY(x)
#define FOLD_REQUIRES(...)
#define FOLD_ACQUIRE(...)
#define FOLD_RELEASE(...)
#define FOLD_TRY(...)
#define FOLD_NO_ANALYSIS
#endif

/* FOLD_AUTO(free) char *p = ...;  runs the matching fold_auto_<name> at scope end. */
#define FOLD_AUTO(name) __attribute__((cleanup(fold_auto_##name)))

static inline void fold_auto_free(void *p)
{
    void *mem;
    memcpy(&mem, p, sizeof mem);
    free(mem);
}

static inline void fold_auto_close(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

#endif
