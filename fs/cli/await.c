/* SPDX-License-Identifier: MIT */
/*
 * The daemon itself says whether it is closing. One whose mount has just gone may not have noticed
 * yet: whether the mount is still there is then for the kernel to say.
 */
#include "fs/cli/await.h"

#include "fs/cli/client.h"
#include "fs/cli/holders.h"
#include "fs/cli/mounts.h"
#include "meta/base/clock.h"
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/storelock.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#define LOOK_EVERY_MS 20
/* Until a daemon that is closing must be through. */
#define CLOSING_WAIT_MS 300000u
/* Waiting is said after this time. */
#define SILENT_MS 2000u
/* A daemon that does not answer any more needs this long at most to release the lock, if it is
 * ending. */
#define ENDING_MS 3000u
/* For a daemon to notice that its mount has gone. */
#define NOTICE_MS 300u

struct awaiting {
    const struct fold_verb *verb;
    const char *store;
    int storefd;
    bool shared;
    bool said;
    uint64_t waited_ms;
    char *why;
    size_t why_size;
};

static int in_use(struct awaiting *a, const char *how)
{
    (void)snprintf(a->why, a->why_size, "the store '%s' is in use: %s", a->store, how);
    return -FOLD_E_LOCKED;
}

/* A daemon serves a mount, somewhere. 0: not any more, as it seems. */
static int served(struct awaiting *a, const struct fold_daemon *d)
{
    char how[4352];
    FOLD_AUTO(free) char *point = NULL;
    struct fold_holder holder;
    if (fold_mounts_place(AT_FDCWD, "/proc/self/mountinfo", d->dev, &point) == 0) {
        (void)snprintf(how, sizeof how, "it is mounted on '%s'", point);
        return in_use(a, how);
    }
    if (a->waited_ms < NOTICE_MS)
        return 0;
    if (fold_holders_find(d->dev, &holder) == 0) {
        char who[128];
        fold_holder_describe(&holder, who, sizeof who);
        fold_holder_free(&holder);
        (void)snprintf(how, sizeof how, "%s still has it mounted", who);
        return in_use(a, how);
    }
    if (a->waited_ms < ENDING_MS)
        return 0;
    (void)snprintf(how, sizeof how, "process %ld serves it, mounted where it cannot be seen",
                   (long)d->pid);
    return in_use(a, how);
}

static int closing(struct awaiting *a, const struct fold_daemon *d)
{
    char how[64];
    if (!a->said && a->waited_ms >= SILENT_MS) {
        a->said = true;
        fold_cli_fail(a->verb, 0, "waiting for process %ld, which is closing the store '%s'",
                      (long)d->pid, a->store);
    }
    if (a->waited_ms < CLOSING_WAIT_MS)
        return 0;
    (void)snprintf(how, sizeof how, "process %ld is still closing it", (long)d->pid);
    return in_use(a, how);
}

/* Nobody answers in the store: a daemon at its very beginning or end, one that only reads, or
 * another program. */
static int silent(struct awaiting *a, int rc)
{
    char how[4352];
    struct fold_mount mount = {.point = NULL};
    struct fold_target target = FOLD_TARGET_NONE;
    if (rc == -ETIMEDOUT)
        return in_use(a, "its daemon does not answer");
    int found = 0;
    if (fold_mounts_of(a->store, &mount) == 0 && fold_target_of_mount(&mount, &target) == 0 &&
        target.fd >= 0) {
        (void)snprintf(how, sizeof how, "it is mounted on '%s'", mount.point);
        found = in_use(a, how);
    }
    fold_target_free(&target);
    fold_mount_free(&mount);
    if (found == 0 && a->waited_ms >= ENDING_MS)
        found = in_use(a, "another process has it open");
    return found;
}

/* 0: wait on. */
static int look(struct awaiting *a)
{
    struct fold_daemon d = {.pid = 0};
    int rc = fold_client_about(a->storefd, &d);
    if (rc != 0)
        return silent(a, rc);
    char how[64];
    (void)snprintf(how, sizeof how, "process %ld works on it", (long)d.pid);
    rc = d.state == FOLD_DAEMON_CLOSING   ? closing(a, &d)
         : d.state == FOLD_DAEMON_SERVING ? served(a, &d)
                                          : in_use(a, how);
    return rc;
}

int fold_store_await(const struct fold_verb *verb, const char *store, bool shared, char *why,
                     size_t why_size)
{
    const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000l};
    FOLD_AUTO(close) int fd = fold_io_open(AT_FDCWD, store, O_PATH | O_DIRECTORY, 0);
    struct awaiting a = {.verb = verb,
                         .store = store,
                         .storefd = fd,
                         .shared = shared,
                         .why = why,
                         .why_size = why_size};
    uint64_t start = fold_clock_ms();
    while (fd >= 0 && fold_storelock_look(fd, shared) == -FOLD_E_LOCKED) {
        int rc = look(&a);
        if (rc != 0)
            return rc;
        nanosleep(&pause, NULL);
        a.waited_ms = fold_clock_ms() - start;
    }
    return 0;
}
