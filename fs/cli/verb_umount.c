/* SPDX-License-Identifier: MIT */
/*
 * foldfs umount: makes the volume durable, unmounts, and waits until the daemon has closed the
 * store. Every step has an end, whatever state the daemon is in.
 */
#include "fs/cli/verbs.h"

#include "fs/cli/client.h"
#include "fs/cli/holders.h"
#include "fs/cli/mounts.h"
#include "fs/cli/patient.h"
#include "fs/options.h"
#include "fs/utab.h"
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/say.h"
#include "meta/storelock.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#define PROBE_WAIT_S   10
#define DEFAULT_WAIT_S 300
#define OTHERS_WAIT_S  5u
/* How often a daemon that has not ended is looked at: its mount may be in use elsewhere. */
#define HOLDER_EVERY_S 2u
/* A busy mount is tried again so often, a twentieth of a second apart: who only looked is gone by
 * then. */
#define BUSY_TRIES 20u

enum { TIMEOUT = 256 };

static const struct fold_cli_option options[] = {
    {'l', "lazy", NULL, "detach now even if the mount is busy; do not wait for its end"},
    {TIMEOUT, "timeout", "SECONDS", "give up waiting after this time (default 300)"},
    {0, NULL, NULL, NULL},
};

static const struct fold_cli_option helper_options[] = {
    {'l', "lazy", NULL, "detach now even if the mount is busy; do not wait for its end"},
    {'f', "force", NULL, "accepted for umount(8), without effect"},
    {'n', "no-mtab", NULL, "accepted for umount(8), without effect"},
    {'r', "read-only", NULL, "accepted for umount(8), without effect"},
    {'v', "verbose", NULL, "accepted for umount(8), without effect"},
    {'N', "namespace", "NS", "accepted for umount(8), without effect"},
    {'t', "types", "TYPE", "accepted for umount(8), without effect"},
    {0, NULL, NULL, NULL},
};

struct unmounting {
    const struct fold_verb *verb;
    bool lazy;
    unsigned timeout_s;
    struct fold_mount mount;
    int pidfd;     /* of the daemon, -1 if not known */
    bool sync_bad; /* the daemon could not make everything durable; said already */
    bool dead;     /* the daemon had died */
    bool held;     /* something keeps the daemon alive */
    struct fold_holder holder;
    unsigned waited_s;
};

static void tick(void *arg, unsigned waited_s)
{
    const struct unmounting *u = arg;
    waited_s += u->waited_s;
    if (isatty(STDERR_FILENO) && (waited_s == 2 || waited_s % 10 == 0))
        fold_say(stderr, "foldfs: still closing the store '%s' (%u s)", u->mount.store, waited_s);
}

static int by_system_call(const char *point, bool lazy)
{
    return umount2(point, (lazy ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW) == 0 ? 0 : -errno;
}

/* Users other than root unmount through the set-uid helper of libfuse; its own words stand on
 * stderr. */
static int by_fusermount(const char *point, bool lazy)
{
    pid_t pid = fork();
    int status = 0;
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        execlp("fusermount3", "fusermount3", lazy ? "-uz" : "-u", "--", point, (char *)NULL);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid)
        return -errno;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return -ENOENT;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECANCELED;
}

/* Somebody else has unmounted it. */
static bool gone(const struct unmounting *u)
{
    struct fold_mount now = {.point = NULL};
    bool same = fold_mounts_at(u->mount.point, &now) == 0 && now.dev == u->mount.dev;
    fold_mount_free(&now);
    return !same;
}

static int detach_once(const struct unmounting *u)
{
    int rc = geteuid() == 0 ? by_system_call(u->mount.point, u->lazy)
                            : by_fusermount(u->mount.point, u->lazy);
    /* Of several that unmount at once, one does it, and all wait for the end of the daemon. */
    return (rc == -EINVAL || rc == -ENOENT || rc == -ECANCELED) && gone(u) ? 0 : rc;
}

static int detach(void *arg)
{
    const struct unmounting *u = arg;
    const struct timespec pause = {.tv_nsec = 50000000};
    int rc = detach_once(u);
    for (unsigned i = 0; rc == -EBUSY && i < BUSY_TRIES; i++) {
        nanosleep(&pause, NULL);
        rc = detach_once(u);
    }
    return rc;
}

/*
 * Asks the daemon to write everything back while it can still say that it failed. -ETIMEDOUT if it
 * does not answer; any other failure is said and noted.
 */
static int sync_first(struct unmounting *u)
{
    char why[256];
    struct fold_target target = FOLD_TARGET_NONE;
    int rc = fold_target_of_mount(&u->mount, &target);
    if (rc == -ETIMEDOUT)
        return u->lazy ? 0 : rc;
    if (rc != 0 || target.fd < 0) {
        fold_target_free(&target);
        return 0;
    }
    u->pidfd = target.pidfd;
    target.pidfd = -1;
    rc = u->lazy ? 0
                 : fold_client_call(target.fd, "sync", NULL, u->timeout_s, NULL, NULL, NULL, why,
                                    sizeof why);
    fold_target_free(&target);
    if (rc == -ETIMEDOUT)
        return rc;
    if (rc != 0 && rc != -ENOSYS && rc != -EPIPE && rc != -EROFS && rc != -ESHUTDOWN) {
        fold_cli_fail(u->verb, 0, "'%s': not everything could be made durable: %s", u->mount.point,
                      why);
        u->sync_bad = true;
    }
    return 0;
}

/* True if the store is held by no writer, or by nobody at all, or is not there any more. */
static bool released(const struct fold_mount *m)
{
    FOLD_AUTO(close) int fd = fold_io_open(AT_FDCWD, m->store, O_PATH | O_DIRECTORY, 0);
    return fd < 0 || fold_storelock_look(fd, !m->read_only) != -FOLD_E_LOCKED;
}

static int wait_some(struct unmounting *u, unsigned timeout_s)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    if (u->pidfd >= 0)
        return fold_patient_exit(u->pidfd, timeout_s, tick, u);
    for (unsigned turns = 0; !released(&u->mount); turns++) {
        if (turns / 50 >= timeout_s)
            return -ETIMEDOUT;
        if (turns % 50 == 49)
            tick(u, (turns + 1) / 50);
        nanosleep(&pause, NULL);
    }
    return 0;
}

/*
 * Waits for the end of the daemon. One that something else keeps alive is not waited for: that may
 * last. Where the daemon is not known there is only the lock of the store to go by; others may have
 * it as well, if this daemon only read or has died.
 */
static int wait_closed(struct unmounting *u)
{
    if (u->pidfd < 0 && (u->mount.read_only || u->dead)) {
        int rc = wait_some(u, FOLD_MIN(OTHERS_WAIT_S, u->timeout_s));
        return rc == -ETIMEDOUT ? 0 : rc;
    }
    for (;;) {
        unsigned step_s = FOLD_MIN(HOLDER_EVERY_S, u->timeout_s - u->waited_s);
        int rc = wait_some(u, step_s);
        if (rc != -ETIMEDOUT)
            return rc;
        u->waited_s += step_s;
        u->held = fold_holders_find(u->mount.dev, &u->holder) == 0;
        if (u->held || u->waited_s >= u->timeout_s)
            return rc;
    }
}

/* Not all that was asked for was done in time. */
static int said_late(const struct unmounting *u)
{
    const char *point = u->mount.point;
    char who[128];
    if (!u->held)
        return fold_cli_fail(
            u->verb, FOLD_EXIT_MOUNT,
            "the daemon of '%s' did not finish within %u seconds; it goes on in the background",
            point, u->timeout_s);
    fold_holder_describe(&u->holder, who, sizeof who);
    return fold_cli_fail(
        u->verb, FOLD_EXIT_MOUNT,
        "'%s' is unmounted here, but %s still has the volume mounted; the store is "
        "closed when that ends",
        point, who);
}

static int said(const struct unmounting *u, int rc)
{
    const char *point = u->mount.point;
    switch (-rc) {
    case EBUSY:
        return fold_cli_fail(
            u->verb, FOLD_EXIT_MOUNT,
            "'%s' is busy; end the programs that use it ('fuser -vm %s' names them)", point, point);
    case EPERM:
    case EACCES:
        return fold_cli_fail(u->verb, FOLD_EXIT_USAGE,
                             "no permission to unmount '%s'; do it as root", point);
    case ECANCELED:
        return FOLD_EXIT_MOUNT;
    case ENOENT:
        return fold_cli_fail(
            u->verb, FOLD_EXIT_SYSTEM,
            "unmounting without being root needs fusermount3; install the package fuse3");
    case ETIMEDOUT:
        return said_late(u);
    default:
        return fold_cli_fail(u->verb, fold_cli_mount_code(rc), "cannot unmount '%s': %s", point,
                             strerror(-rc));
    }
}

static int unmount(struct unmounting *u)
{
    if (sync_first(u) != 0)
        return fold_cli_fail(u->verb, FOLD_EXIT_MOUNT,
                             "the daemon of '%s' does not answer; nothing was unmounted ('foldfs "
                             "umount -l' detaches it)",
                             u->mount.point);
    u->dead = u->pidfd < 0 && fold_patient_probe(u->mount.point, PROBE_WAIT_S) == -ENOTCONN;
    int rc = fold_patient_call(detach, u, u->timeout_s, tick, u);
    if (rc == -EBUSY && u->dead && !u->lazy) {
        u->lazy = true;
        rc = fold_patient_call(detach, u, u->timeout_s, tick, u);
    }
    if (rc == 0)
        fold_utab_remove(u->mount.point); /* a daemon that had died did not */
    if (rc == 0 && !u->lazy)
        rc = wait_closed(u);
    if (rc != 0)
        return said(u, rc);
    if (u->dead)
        fold_say(stderr,
                 "foldfs: the daemon of '%s' had died; what it had not written is recovered at the "
                 "next mount",
                 u->mount.store);
    return u->sync_bad ? FOLD_EXIT_SYSTEM : FOLD_EXIT_OK;
}

static int set(struct unmounting *u, int id, const char *value)
{
    uint64_t n;
    if (id == 'l')
        u->lazy = true;
    if (id != TIMEOUT)
        return 0;
    if (value[strspn(value, "0123456789")] != '\0' || fold_size_parse(value, &n) != 0 || n == 0 ||
        n > 86400)
        return fold_cli_misuse(u->verb, "'%s' is not a number of seconds (1 to 86400)", value);
    u->timeout_s = (unsigned)n;
    return 0;
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    struct unmounting u = {.verb = verb, .timeout_s = DEFAULT_WAIT_S, .pidfd = -1};
    struct fold_cli cli;
    const char *value;
    int id;
    fold_cli_begin(&cli, verb, argc, argv);
    while ((id = fold_cli_next(&cli, &value)) != FOLD_CLI_END) {
        if (id == FOLD_CLI_EXIT)
            return cli.exit;
        int code = set(&u, id, value);
        if (code != 0)
            return code;
    }
    char **operands = fold_cli_operands(&cli, 1, 1, NULL);
    if (operands == NULL)
        return cli.exit;
    int rc = fold_mounts_at(operands[0], &u.mount);
    if (rc != 0)
        return fold_cli_fail(verb, FOLD_EXIT_MOUNT, "no foldfs is mounted on '%s'", operands[0]);
    int code = unmount(&u);
    fold_mount_free(&u.mount);
    fold_holder_free(&u.holder);
    if (u.pidfd >= 0)
        close(u.pidfd);
    return code;
}

const struct fold_verb fold_verb_umount = {
    .name = "umount",
    .synopsis = "[OPTIONS] MOUNTPOINT",
    .summary = "unmount; returns when everything is durable and the store is closed",
    .options = options,
    .run = run,
};

const struct fold_verb fold_verb_umount_helper = {
    .name = "umount",
    .synopsis = "MOUNTPOINT [-flnrv] [-N NS] [-t TYPE]",
    .summary = "unmount, as umount(8) asks for it",
    .options = helper_options,
    .run = run,
};
