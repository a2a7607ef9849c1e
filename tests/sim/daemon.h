/* SPDX-License-Identifier: MIT */
/*
 * The processes of a history that run foldfs itself. Each function forks; what it runs ends with
 * the process.
 */
#ifndef FOLD_TESTS_SIM_DAEMON_H
#define FOLD_TESTS_SIM_DAEMON_H

#include "tests/sim/shared.h"

#include <sys/types.h>

struct sim_life {
    struct sim_shared *shared;
    const char *store;   /* absolute path */
    const char *options; /* of the mount */
    const char *knobs;
    uint64_t seed; /* of the order of tasks */
    bool threads;  /* the worker pool has threads, as in the program */
    bool loud;     /* the log goes to stderr */
};

/* Starts a daemon. `down` and `up`: pipes that a byte is sent through when the other has something
 * to do; the daemon sends the first when its session is open (shared->ready). */
pid_t sim_daemon_start(const struct sim_life *life, int *down, int *up);

/* mkfs in a process of its own. 0 or a negative code. */
int sim_mkfs(struct sim_shared *shared, const char *store, unsigned chunker, unsigned hash,
             unsigned codec, uint32_t chunk_size);

/* fsck in a process of its own: the number of problems, described in shared->text; or negative. */
int sim_fsck(const struct sim_life *life);

#endif
