/* SPDX-License-Identifier: MIT */
/*
 * The host's figures are cached for half a second; between two looks what was let in is subtracted.
 */
#include "fs/space.h"

#include "fs/budget.h"
#include "fs/session.h"

#include <errno.h>
#include <stdatomic.h>

#define LOOK_MS     500
#define RESERVE_MAX (64ull << 20)

uint64_t fold_space_reserve(const struct statvfs *host)
{
    uint64_t total = (uint64_t)host->f_blocks * host->f_frsize;
    return FOLD_MIN(RESERVE_MAX, total / 32);
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void look(struct fold_session *s, uint64_t now)
{
    struct statvfs host;
    if (fstatvfs(s->volume->fd, &host) != 0)
        return;
    uint64_t usable = (uint64_t)host.f_bavail * host.f_frsize;
    uint64_t taken = fold_space_reserve(&host) + fold_budget_used(s->budget);
    atomic_store(&s->space_left, usable > taken ? (int64_t)(usable - taken) : 0);
    atomic_store(&s->space_seen_ms, now);
}

int fold_space_admit(struct fold_session *s, uint64_t len)
{
    uint64_t now = now_ms();
    if (now - atomic_load_explicit(&s->space_seen_ms, memory_order_relaxed) >= LOOK_MS)
        look(s, now);
    if (atomic_fetch_sub(&s->space_left, (int64_t)len) >= (int64_t)len)
        return 0;
    look(s, now);
    return atomic_fetch_sub(&s->space_left, (int64_t)len) >= (int64_t)len ? 0 : -ENOSPC;
}
