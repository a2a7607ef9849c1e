/* SPDX-License-Identifier: MIT */
/*
 * Plays a program: steps become requests to a daemon, the model says what must come of them, and
 * daemons die and are started again as the program wants.
 */
#ifndef FOLD_TESTS_SIM_PLAY_H
#define FOLD_TESTS_SIM_PLAY_H

#include "tests/sim/judge.h"
#include "tests/sim/program.h"

#define SIM_SLOTS 8

struct sim_handle {
    struct sim_node *node; /* NULL: not open */
    uint64_t fh;
    uint32_t flags;
};

/* Sums over histories. */
struct sim_sums {
    uint64_t histories, requests, crashes, cuts, faults, checks, writes, syncs, aborts;
};

struct sim_play {
    struct sim_model m;
    struct wire w;
    struct sim_life life;
    struct sim_shared *shared;
    const struct sim_program *program;
    char dir[512];   /* of this history */
    char store[600]; /* in it */
    struct disk *disk;
    uint64_t log_read; /* how much of the log the disk has taken in */
    unsigned generation;
    struct sim_handle slots[SIM_SLOTS];
    bool tainted;                /* a call failed in this life: requests may fail */
    uint64_t fired_seen;         /* calls that had failed when the last operation ended */
    bool expecting;              /* the plan ends the process some time */
    uint64_t cut_mode, cut_seed; /* of a planned end that is a power cut */
    bool cut_planned;
    struct sim_handle beside; /* the nested write of the next step */
    struct sim_extent beside_data;
    bool beside_ready;
    size_t step;
    struct sim_sums sums;
    char why[SIM_WHY];
};

/* 0, or -1: `why` of the play says what was wrong and `step` where. Everything is cleaned up but
 * the directory if that fails. `templates`: where stores as mkfs made them are kept. */
int sim_play(struct sim_play *p, const struct sim_program *program, struct sim_shared *shared,
             const char *templates, const char *dir, bool loud);

/* Parts, in other files. All return 0, -1 with `why`, or WIRE_DEAD: the daemon has ended. */

/* steps.c */
int sim_step_run(struct sim_play *p, const struct sim_step *s);

/* What a reply means: 0 if it is success; 1 if it failed as it may; -1; WIRE_DEAD. */
int sim_reply(struct sim_play *p, const char *what, int rc);

/* life.c */
int sim_life_begin(struct sim_play *p, const char *templates);
int sim_life_start(struct sim_play *p, bool read_only);
/* The daemon has ended: the store becomes what a power cut left (`cut`), and all is judged. */
int sim_life_crash(struct sim_play *p, bool cut, uint64_t mode, uint64_t seed, bool fsck);
int sim_life_remount(struct sim_play *p, bool read_only, bool fsck);
/* Everything is read and compared. */
int sim_life_look(struct sim_play *p, unsigned how);
/* Names after a request that failed: `before` or as they are in the model. */
int sim_life_resolve(struct sim_play *p, const struct sim_snapshot *before);
void sim_life_end(struct sim_play *p);

#endif
