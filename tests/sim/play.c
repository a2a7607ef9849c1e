/* SPDX-License-Identifier: MIT */
/*
 * One history from mkfs to the last comparison.
 */
#include "tests/sim/play.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define TIMEOUT_MS 20000

/* The daemon has ended in the middle of a step. */
static int ended(struct sim_play *p)
{
    bool fired = atomic_load(&p->shared->plan.fired) > 0;
    int sig = WIFSIGNALED(p->w.status) ? WTERMSIG(p->w.status) : 0;
    /* RocksDB gives up where it has no memory, and at a second error of one file. */
    bool gave_up = fired && !p->expecting && sig == SIGABRT;
    p->sums.aborts += gave_up;
    if (!gave_up && !(p->expecting && fired && sig == SIGKILL)) {
        (void)snprintf(p->why, SIM_WHY, "the daemon has ended by itself, signal %d", sig);
        return -1;
    }
    bool cut = p->cut_planned && !gave_up;
    return sim_life_crash(p, cut, p->cut_mode, p->cut_seed, p->cut_seed % 4 == 0);
}

static int step(struct sim_play *p, const struct sim_step *s)
{
    const uint64_t *a = s->a;
    switch (s->kind) {
    case SIM_STEP_kill:
        return sim_life_crash(p, false, 0, 0, a[0] % 4 == 0);
    case SIM_STEP_cut:
        return sim_life_crash(p, true, a[1], a[2], a[0] % 4 == 0);
    case SIM_STEP_remount:
        return sim_life_remount(p, a[0] % 2 == 1, a[0] % 4 >= 2);
    default:
        return sim_step_run(p, s);
    }
}

static int play_all(struct sim_play *p)
{
    int rc = sim_life_start(p, false);
    for (p->step = 0; rc == 0 && p->step < p->program->count; p->step++) {
        rc = step(p, &p->program->steps[p->step]);
        if (rc == WIRE_DEAD)
            rc = ended(p);
        if (rc != 0)
            return rc;
    }
    if (rc == 0)
        rc = sim_life_look(p, 3);
    if (rc == 0)
        rc = sim_life_remount(p, false, true);
    if (rc == 0)
        rc = sim_life_look(p, 2);
    return rc == WIRE_DEAD ? ended(p) : rc;
}

int sim_play(struct sim_play *p, const struct sim_program *program, struct sim_shared *shared,
             const char *templates, const char *dir, bool loud)
{
    memset(p, 0, sizeof *p);
    p->program = program;
    p->shared = shared;
    p->w.timeout_ms = TIMEOUT_MS;
    p->w.shared = shared;
    p->life.loud = loud;
    (void)snprintf(p->dir, sizeof p->dir, "%s", dir);
    sim_model_init(&p->m);
    int rc = sim_life_begin(p, templates);
    if (rc == 0)
        rc = play_all(p);
    if (rc != 0 && p->why[0] == '\0')
        (void)snprintf(p->why, SIM_WHY, "code %d of the wire", rc);
    p->sums.histories = 1;
    p->sums.requests = (uint64_t)p->w.requests;
    p->sums.faults += atomic_load(&shared->plan.fired);
    p->sums.writes = atomic_load(&shared->writes);
    p->sums.syncs = atomic_load(&shared->syncs);
    sim_life_end(p);
    sim_model_fini(&p->m);
    return rc == 0 ? 0 : -1;
}
