/* SPDX-License-Identifier: MIT */
/*
 * The size is that of the reserve which file data never gets (fs/space.h): while ballast is held
 * the reserve is inside of it, and when it is given up the reserve keeps file data out of what it
 * leaves.
 */
#include "fs/ballast.h"

#include "fs/space.h"
#include "meta/base/clock.h"
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/lock.h"
#include "meta/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>

#define NAME    "ballast"
#define LOOK_MS 500

/* In sizes of the reserve: what the host must have for ballast to be taken, and for it not to be
 * needed any more. */
#define TAKE_FROM  2u
#define TAKE_BELOW 8u
#define DROP_ABOVE 16u
/* Below this part of the reserve the host has next to nothing. */
#define SHORT_PART 2u

struct fold_ballast {
    int storefd;
    struct fold_lock lock; /* taking and giving up */
    _Atomic uint64_t held;
    _Atomic uint64_t looked_ms;
};

static int figures(int fd, uint64_t *reserve, uint64_t *space)
{
    struct statvfs host;
    int rc = fold_io_statvfs(fd, &host);
    if (rc < 0)
        return rc;
    *reserve = fold_space_reserve(&host);
    return fold_io_space(fd, space);
}

static bool is_short(uint64_t space, uint64_t reserve)
{
    return space < reserve / SHORT_PART;
}

void fold_ballast_rescue(int storefd)
{
    uint64_t reserve, space;
    if (figures(storefd, &reserve, &space) == 0 && is_short(space, reserve))
        (void)!fold_io_unlink(storefd, NAME);
}

int fold_ballast_open(int storefd, struct fold_ballast **out)
{
    struct fold_ballast *b = calloc(1, sizeof *b);
    if (b == NULL)
        return -ENOMEM;
    b->storefd = storefd;
    fold_lock_init(&b->lock, FOLD_RANK_LEAF, "ballast");
    FOLD_AUTO(close) int fd = fold_io_open(storefd, NAME, O_RDONLY, 0);
    struct stat st;
    int rc = fd >= 0 ? fold_io_fstat(fd, &st) : fd == -ENOENT ? 0 : fd;
    if (rc < 0) {
        fold_ballast_close(b);
        return rc;
    }
    if (fd >= 0)
        atomic_store(&b->held, (uint64_t)st.st_blocks * 512);
    *out = b;
    return 0;
}

void fold_ballast_close(struct fold_ballast *b)
{
    if (b == NULL)
        return;
    fold_lock_fini(&b->lock);
    free(b);
}

static void give_up(struct fold_ballast *b)
{
    int rc = fold_io_unlink(b->storefd, NAME);
    if (rc == 0 || rc == -ENOENT)
        atomic_store(&b->held, 0);
    else
        fold_warn("the ballast cannot be given up: %s", fold_err_text(rc));
}

/* A host that cannot set bytes aside has none: written zeros might not occupy anything. */
static void take(struct fold_ballast *b, uint64_t bytes)
{
    FOLD_AUTO(close) int fd = fold_io_open(b->storefd, NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);
    int rc = fd < 0 ? fd : fold_io_fallocate(fd, 0, 0, bytes);
    if (rc == 0)
        atomic_store(&b->held, bytes);
    else if (fd >= 0)
        (void)!fold_io_unlink(b->storefd, NAME);
}

/* Somebody may have removed the file to help himself. */
static bool still_there(const struct fold_ballast *b)
{
    struct stat st;
    return fstatat(b->storefd, NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

void fold_ballast_adjust(struct fold_ballast *b)
{
    uint64_t reserve, space;
    if (b == NULL || figures(b->storefd, &reserve, &space) < 0)
        return;
    fold_lock_take(&b->lock);
    if (atomic_load(&b->held) > 0 && !still_there(b))
        atomic_store(&b->held, 0);
    bool held = atomic_load(&b->held) > 0;
    if (held && (space > DROP_ABOVE * reserve || is_short(space, reserve)))
        give_up(b);
    else if (!held && space >= TAKE_FROM * reserve && space < TAKE_BELOW * reserve)
        take(b, reserve);
    fold_lock_drop(&b->lock);
}

void fold_ballast_yield(struct fold_ballast *b)
{
    uint64_t reserve, space, now = fold_clock_ms();
    if (b == NULL || atomic_load_explicit(&b->held, memory_order_relaxed) == 0 ||
        now - atomic_load_explicit(&b->looked_ms, memory_order_relaxed) < LOOK_MS)
        return;
    atomic_store_explicit(&b->looked_ms, now, memory_order_relaxed);
    if (figures(b->storefd, &reserve, &space) < 0 || !is_short(space, reserve))
        return;
    fold_lock_take(&b->lock);
    if (atomic_load(&b->held) > 0) {
        fold_warn("the host filesystem is full: %llu bytes of ballast given up for deleting and "
                  "collecting",
                  (unsigned long long)atomic_load(&b->held));
        give_up(b);
    }
    fold_lock_drop(&b->lock);
}

uint64_t fold_ballast_held(const struct fold_ballast *b)
{
    return b != NULL ? atomic_load_explicit(&b->held, memory_order_relaxed) : 0;
}
