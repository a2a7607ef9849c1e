/* SPDX-License-Identifier: MIT */
/*
 * Histories in processes of their own: one, many, or as many as it takes to shrink one.
 */
#ifndef FOLD_TESTS_SIM_RUNNER_H
#define FOLD_TESTS_SIM_RUNNER_H

#include "tests/sim/play.h"

/* Plays one program. 0, or -1 with why and where. `plant`: an enum sim_plant. `sums` may be NULL.
 */
int sim_run_one(const struct sim_program *p, bool loud, unsigned plant, char *why, size_t *step,
                struct sim_sums *sums);

struct sim_run_options {
    unsigned processes;
    unsigned seconds;      /* 0: no end by time */
    uint64_t first, count; /* seeds; 0: no end */
    const char *out;       /* directory for programs that fail */
};

/* Plays the programs of seeds until time or seeds are over. The exit code. */
int sim_run(const struct sim_run_options *opt);

/* Prints the shortest program found. The exit code: 1 if it fails, as it should. */
int sim_shrink(struct sim_program *p);

int sim_selftest(void);

#endif
