/* SPDX-License-Identifier: MIT */
/*
 * The host's figures are cached for half a second; between two looks what was let in is subtracted.
 * Others may have taken the host's space by the time it is stored, so that is asked for again then,
 * with fresh figures wherever much is to be stored.
 */
#include "fs/space.h"

#include "fs/ballast.h"
#include "fs/budget.h"
#include "fs/session.h"
#include "meta/base/clock.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"

#include <errno.h>
#include <stdatomic.h>

#define LOOK_MS 500
/* Small claims believe figures of the host that are not older. */
#define CLAIM_LOOK_MS 20

uint64_t fold_space_reserve(const struct statvfs *host)
{
    uint64_t total = (uint64_t)host->f_blocks * host->f_frsize;
    uint64_t reserve =
        FOLD_MAX(fold_knobs.reserve_bytes_min, FOLD_MIN(fold_knobs.reserve_bytes, total / 16));
    return FOLD_MIN(reserve, total / 4);
}

uint32_t fold_space_segment_bytes(const struct statvfs *host)
{
    uint64_t total = (uint64_t)host->f_blocks * host->f_frsize;
    uint32_t bytes = fold_knobs.segment_bytes;
    while (bytes > fold_knobs.segment_bytes_min && bytes > total / 64)
        bytes /= 2;
    return bytes;
}

/* What the host has free for others than root, less the reserve. */
static int beyond_reserve(struct fold_session *s, uint64_t *bytes, uint64_t *reserve)
{
    struct statvfs host;
    uint64_t usable;
    int rc = fold_io_statvfs(s->volume->fd, &host);
    if (rc < 0)
        return rc;
    if (__builtin_mul_overflow((uint64_t)host.f_bavail, (uint64_t)host.f_frsize, &usable) ||
        usable > INT64_MAX)
        usable = INT64_MAX;
    *reserve = fold_space_reserve(&host);
    uint64_t kept = *reserve - FOLD_MIN(*reserve, fold_ballast_held(s->ballast));
    *bytes = usable > kept ? usable - kept : 0;
    return 0;
}

/* The same, less what is dirty, and less what the catalog needs to give space back after names and
 * recipes were deleted. */
static int left(struct fold_session *s, uint64_t *bytes)
{
    uint64_t beyond, reserve, taken = fold_budget_used(s->budget);
    int rc = beyond_reserve(s, &beyond, &reserve);
    taken += fold_catalog_merge_room(s->volume->catalog);
    if (rc == 0)
        *bytes = beyond > taken ? beyond - taken : 0;
    return rc;
}

static void look(struct fold_session *s, uint64_t now)
{
    uint64_t bytes;
    fold_ballast_adjust(s->ballast);
    if (left(s, &bytes) < 0)
        return;
    atomic_store(&s->space_left, (int64_t)bytes);
    atomic_store(&s->space_seen_ms, now);
}

int fold_space_figures(struct fold_session *s, struct fold_space *out)
{
    struct fold_store_info info;
    uint64_t bytes = 0;
    int rc = left(s, &bytes);
    if (rc < 0)
        return rc;
    fold_store_info(s->volume->store, &info);
    out->used = info.segment_bytes + info.index_bytes + fold_catalog_bytes(s->volume->catalog);
    out->left = bytes;
    return 0;
}

uint64_t fold_space_room(struct fold_session *s)
{
    look(s, fold_clock_ms());
    int64_t bytes = atomic_load(&s->space_left);
    return bytes > 0 ? (uint64_t)bytes : 0;
}

bool fold_space_has(struct fold_session *s, uint64_t len)
{
    uint64_t now = fold_clock_ms();
    if (now - atomic_load_explicit(&s->space_seen_ms, memory_order_relaxed) < LOOK_MS &&
        atomic_load_explicit(&s->space_left, memory_order_relaxed) >= (int64_t)len)
        return true;
    return fold_space_room(s) >= len;
}

int fold_space_admit(struct fold_session *s, uint64_t len)
{
    uint64_t now = fold_clock_ms();
    if (now - atomic_load_explicit(&s->space_seen_ms, memory_order_relaxed) >= LOOK_MS)
        look(s, now);
    if (atomic_fetch_sub(&s->space_left, (int64_t)len) >= (int64_t)len)
        return 0;
    look(s, now);
    return atomic_fetch_sub(&s->space_left, (int64_t)len) >= (int64_t)len ? 0 : -ENOSPC;
}

int fold_space_admit_freeing(struct fold_session *s, uint64_t len)
{
    struct statvfs host;
    if (fold_space_has(s, len))
        return 0;
    int rc = fold_io_statvfs(s->volume->fd, &host);
    if (rc < 0)
        return rc;
    uint64_t have = (uint64_t)host.f_bavail * host.f_frsize + fold_ballast_held(s->ballast);
    return have >= fold_space_reserve(&host) / 2 + len ? 0 : -ENOSPC;
}

int fold_space_claim(struct fold_session *s, uint64_t len)
{
    uint64_t now = fold_clock_ms(), beyond, reserve;
    if (len == 0)
        return 0;
    uint64_t claimed = atomic_fetch_add(&s->space_claimed, len) + len;
    if (claimed < fold_knobs.small_claim_bytes) {
        if (atomic_load(&s->space_left) > 0 &&
            now - atomic_load_explicit(&s->space_seen_ms, memory_order_relaxed) < CLAIM_LOOK_MS)
            return 0;
        look(s, now);
    }
    /* Of what others claim some may be stored already: half the reserve is the margin for that. */
    if (beyond_reserve(s, &beyond, &reserve) == 0 &&
        (beyond < len || beyond + reserve / 2 < claimed)) {
        atomic_fetch_sub(&s->space_claimed, len);
        return -ENOSPC;
    }
    return 0;
}

void fold_space_unclaim(struct fold_session *s, uint64_t len)
{
    atomic_fetch_sub(&s->space_claimed, len);
}
