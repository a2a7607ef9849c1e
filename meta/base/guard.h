/* SPDX-License-Identifier: MIT */
/*
 * Reading from a mapping whose file may be truncated or whose disk may fail: a SIGBUS inside a
 * guarded region turns into -EIO instead of killing the process. Guards do not nest and must not
 * hold locks the jump would skip. Locals assigned inside the region are indeterminate after a
 * fault: keep guarded statements in small functions.
 *
 *     FOLD_GUARDED(rc, *crc = crc32c(map, len));      rc is 0, or -EIO after a fault
 */
#ifndef FOLD_META_BASE_GUARD_H
#define FOLD_META_BASE_GUARD_H

#include "meta/base/attr.h"

#include <errno.h>
#include <setjmp.h>

/* Installs the process-wide SIGBUS handler; faults outside a guard keep their default action. Any
 * number of times. */
void fold_guard_install(void);

/* Where a fault on this thread jumps to; NULL outside a guard. Only for the macro below. */
extern __thread sigjmp_buf *fold_guard_jump;

/*
 * The handler leaves the signal mask as it is, so the jump need not restore it. ThreadSanitizer
 * puts a handler of its own before ours, which masks everything.
 */
#if defined(__SANITIZE_THREAD__)
#define FOLD_GUARD_SAVE_MASK 1
#else
#define FOLD_GUARD_SAVE_MASK 0
#endif

/* The barriers keep the compiler from moving the guarded reads out of the armed region. */
#define FOLD_GUARDED(rc, statement)                                                                \
    do {                                                                                           \
        sigjmp_buf fold_guard_buf_;                                                                \
        if (sigsetjmp(fold_guard_buf_, FOLD_GUARD_SAVE_MASK) == 0) {                               \
            fold_guard_jump = &fold_guard_buf_;                                                    \
            __asm__ volatile("" ::: "memory");                                                     \
            statement;                                                                             \
            __asm__ volatile("" ::: "memory");                                                     \
            (rc) = 0;                                                                              \
        } else {                                                                                   \
            (rc) = -EIO;                                                                           \
        }                                                                                          \
        fold_guard_jump = NULL;                                                                    \
    } while (0)

/* Copies out of a mapping. 0, or -EIO after a fault; `dst` has any bytes then. */
int fold_guard_copy(void *dst, const uint8_t *src, size_t len) FOLD_MUST;

#endif
