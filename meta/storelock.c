/* SPDX-License-Identifier: MIT */
/*
 * Looking at the lock means having it for a moment. So whoever takes it tries again for a while
 * before it believes that the store is in use.
 */
#include "meta/storelock.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>

static int try_lock(int lockfd, bool shared)
{
    if (flock(lockfd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
        return 0;
    return errno == EWOULDBLOCK ? -FOLD_E_LOCKED : -errno;
}

int fold_storelock_take(int lockfd, bool shared)
{
    int rc = try_lock(lockfd, shared);
    for (unsigned i = 1; rc == -FOLD_E_LOCKED && i < fold_knobs.lock_tries; i++) {
        (void)poll(NULL, 0, (int)fold_knobs.lock_pause_ms);
        rc = try_lock(lockfd, shared);
    }
    return rc;
}

int fold_storelock_look(int storefd, bool shared)
{
    FOLD_AUTO(close) int fd = fold_io_open(storefd, "lock", O_RDONLY, 0);
    return fd < 0 ? fd : try_lock(fd, shared);
}
