/* SPDX-License-Identifier: MIT */
/*
 * Waiting with an end, by process descriptors.
 */
#include "fs/cli/patient.h"

#include "meta/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define FUSE_MAGIC 0x65735546

int fold_patient_pidfd(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd >= 0 ? fd : -errno;
}

int fold_patient_exit(int pidfd, unsigned timeout_s, fold_patient_tick tick, void *tick_arg)
{
    uint64_t start = fold_clock_ms();
    for (unsigned said = 0;;) {
        struct pollfd p = {.fd = pidfd, .events = POLLIN};
        int n = poll(&p, 1, 250);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        unsigned waited = (unsigned)((fold_clock_ms() - start) / 1000);
        if (waited >= timeout_s)
            return -ETIMEDOUT;
        if (tick != NULL && waited > said) {
            said = waited;
            tick(tick_arg, waited);
        }
    }
}

int fold_patient_call(int (*fn)(void *arg), void *arg, unsigned timeout_s, fold_patient_tick tick,
                      void *tick_arg)
{
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        int rc = fn(arg);
        _exit(rc < 0 && rc > -256 ? -rc : 0);
    }
    int status = 0;
    FOLD_AUTO(close) int pidfd = fold_patient_pidfd(pid);
    int rc = pidfd >= 0 ? fold_patient_exit(pidfd, timeout_s, tick, tick_arg) : pidfd;
    if (rc != 0) {
        kill(pid, SIGKILL);
        /* A child stuck in the kernel for good is left to init. */
        if (pidfd >= 0 && fold_patient_exit(pidfd, 1, NULL, NULL) == 0)
            waitpid(pid, &status, 0);
        return rc;
    }
    if (waitpid(pid, &status, 0) != pid)
        return -errno;
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

static int probe(void *arg)
{
    struct statfs st;
    if (statfs(arg, &st) != 0)
        return -errno;
    return st.f_type == FUSE_MAGIC ? 0 : -ENODEV;
}

int fold_patient_probe(const char *path, unsigned timeout_s)
{
    FOLD_AUTO(free) char *copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    return fold_patient_call(probe, copy, timeout_s, NULL, NULL);
}
