/* SPDX-License-Identifier: MIT */
/*
 * Putting a mount into the background: the caller learns how it went before the daemon lets go of
 * the terminal.
 */
#ifndef FOLD_FS_CLI_DAEMON_H
#define FOLD_FS_CLI_DAEMON_H

#include "meta/base/attr.h"

#include <sys/types.h>

/*
 * The work of the daemon: serves until the mount ends. Writes one zero byte to `ready_fd` once it
 * is ready. Says on stderr what is wrong and returns the exit code for it.
 */
typedef int (*fold_daemon_fn)(void *arg, int ready_fd);

/*
 * Runs fn(arg) in a new session in the background. Returns 0 in the caller once it is ready (*pid
 * is the daemon), otherwise the daemon's exit code, or one of its own with a sentence on stderr.
 * The daemon keeps stderr until it is ready; then standard streams go to /dev/null and the log to
 * syslog. Never returns in the daemon. Call before other threads exist.
 */
int fold_daemon_start(fold_daemon_fn fn, void *arg, pid_t *pid) FOLD_MUST;

#endif
