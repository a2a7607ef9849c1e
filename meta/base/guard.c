/* SPDX-License-Identifier: MIT */
/*
 * The SIGBUS handler behind FOLD_GUARDED. The handler runs with SIGBUS unblocked (SA_NODEFER), so
 * the jump out of it needs no system call to restore the signal mask. A fault outside any guard
 * restores the default action and returns: the access faults again and the process dies as it would
 * have without us.
 */
#include "meta/base/guard.h"

#include <signal.h>

__thread sigjmp_buf *fold_guard_jump;

static void on_bus_error(int sig, siginfo_t *info FOLD_UNUSED, void *context FOLD_UNUSED)
{
    sigjmp_buf *to = fold_guard_jump;
    if (to != NULL) {
        fold_guard_jump = NULL;
        siglongjmp(*to, 1);
    }
    struct sigaction act = {.sa_handler = SIG_DFL};
    sigemptyset(&act.sa_mask);
    (void)sigaction(sig, &act, NULL);
}

void fold_guard_install(void)
{
    struct sigaction act = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&act.sa_mask);
    (void)sigaction(SIGBUS, &act, NULL);
}

int fold_guard_copy(void *dst, const uint8_t *src, size_t len)
{
    int rc;
    FOLD_GUARDED(rc, memcpy(dst, src, len));
    return rc;
}
