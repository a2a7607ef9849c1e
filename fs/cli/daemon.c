/* SPDX-License-Identifier: MIT */
/*
 * Background mounts. In the daemon a small thread of fold_daemon_start waits for the ready byte of
 * the work and then detaches: standard streams to /dev/null, log to syslog, and only then the byte
 * that lets the caller go. It is joined when the work ends.
 */
#include "fs/cli/daemon.h"

#include "fs/cli/cli.h"
#include "meta/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

struct detacher {
    int ready_fd; /* the work's byte arrives here */
    int over_fd;  /* readable when the work has ended */
    int tell_fd;  /* the waiting caller */
};

static void detach(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    fold_log_to_syslog();
    fold_log_set_level(FOLD_LOG_INFO);
    for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    if (null > STDERR_FILENO)
        close(null);
}

static void *detacher_main(void *arg)
{
    struct detacher *d = arg;
    struct pollfd p[2] = {{.fd = d->ready_fd, .events = POLLIN},
                          {.fd = d->over_fd, .events = POLLIN}};
    char byte;
    while (poll(p, 2, -1) < 0 && errno == EINTR)
        continue;
    if ((p[0].revents & POLLIN) != 0 && read(d->ready_fd, &byte, 1) == 1) {
        detach();
        if (write(d->tell_fd, &byte, 1) != 1)
            fold_debug("nobody waited for the mount");
    }
    close(d->tell_fd);
    return NULL;
}

static int start_detacher(struct detacher *d, pthread_t *thread)
{
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(thread, NULL, detacher_main, d);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

static _Noreturn void daemon_main(fold_daemon_fn fn, void *arg, int tell_fd)
{
    const uint64_t one = 1;
    int ready[2];
    pthread_t thread;
    setsid();
    if (chdir("/") != 0 || pipe2(ready, O_CLOEXEC) != 0) {
        fprintf(stderr, "foldfs: cannot set up the daemon: %s\n", strerror(errno));
        _exit(FOLD_EXIT_SYSTEM);
    }
    struct detacher d = {ready[0], eventfd(0, EFD_CLOEXEC), tell_fd};
    if (d.over_fd < 0 || start_detacher(&d, &thread) != 0) {
        fprintf(stderr, "foldfs: cannot set up the daemon: %s\n", strerror(errno));
        _exit(FOLD_EXIT_SYSTEM);
    }
    /* The terminal hears of trouble only; what is worth a note goes to syslog later. */
    fold_log_set_level(FOLD_LOG_WARN);
    int code = fn(arg, ready[1]);
    if (write(d.over_fd, &one, sizeof one) == (ssize_t)sizeof one)
        pthread_join(thread, NULL);
    exit(code);
}

int fold_daemon_start(fold_daemon_fn fn, void *arg, pid_t *pid)
{
    int tell[2];
    char byte;
    if (pipe2(tell, O_CLOEXEC) != 0) {
        fprintf(stderr, "foldfs: cannot make a pipe: %s\n", strerror(errno));
        return FOLD_EXIT_SYSTEM;
    }
    fflush(NULL);
    *pid = fork();
    if (*pid == 0) {
        close(tell[0]);
        daemon_main(fn, arg, tell[1]);
    }
    int fork_errno = errno;
    close(tell[1]);
    if (*pid < 0) {
        close(tell[0]);
        fprintf(stderr, "foldfs: cannot start the daemon: %s\n", strerror(fork_errno));
        return FOLD_EXIT_SYSTEM;
    }
    ssize_t n;
    while ((n = read(tell[0], &byte, 1)) < 0 && errno == EINTR)
        continue;
    close(tell[0]);
    if (n == 1)
        return FOLD_EXIT_OK;
    int status = 0;
    while (waitpid(*pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return WEXITSTATUS(status);
    if (WIFSIGNALED(status))
        fprintf(stderr, "foldfs: the daemon died of signal %d before the mount was ready\n",
                WTERMSIG(status));
    else
        fprintf(stderr, "foldfs: the daemon ended before the mount was ready\n");
    return FOLD_EXIT_SYSTEM;
}
