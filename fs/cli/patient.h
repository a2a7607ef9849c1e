/* SPDX-License-Identifier: MIT */
/*
 * Calls that may never return, made in a child process: a system call into a mount whose daemon is
 * stuck cannot be given up from within.
 */
#ifndef FOLD_FS_CLI_PATIENT_H
#define FOLD_FS_CLI_PATIENT_H

#include "meta/base/attr.h"

#include <stdbool.h>
#include <sys/types.h>

/* Says how long we have waited so far; called about once a second, NULL for silence. */
typedef void (*fold_patient_tick)(void *arg, unsigned waited_s);

/*
 * Runs fn(arg) in a child and returns what it returned (0 or -errno), or -ETIMEDOUT after
 * `timeout_s`; the child is then killed, or left behind if even that is impossible. No other
 * threads may exist.
 */
int fold_patient_call(int (*fn)(void *arg), void *arg, unsigned timeout_s, fold_patient_tick tick,
                      void *tick_arg) FOLD_MUST;

/* Waits until process `pidfd` (as pidfd_open gives it) has ended. 0 or -ETIMEDOUT. */
int fold_patient_exit(int pidfd, unsigned timeout_s, fold_patient_tick tick,
                      void *tick_arg) FOLD_MUST;

/* A descriptor that becomes readable when `pid` ends, or -errno. */
int fold_patient_pidfd(pid_t pid) FOLD_MUST;

/* Asks the filesystem at `path` (statfs): 0 if a FUSE mount answers, -ENOTCONN for a dead one,
 * -ENODEV for another type. */
int fold_patient_probe(const char *path, unsigned timeout_s) FOLD_MUST;

#endif
