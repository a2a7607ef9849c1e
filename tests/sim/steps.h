/* SPDX-License-Identifier: MIT */
/*
 * What the steps share.
 */
#ifndef FOLD_TESTS_SIM_STEPS_H
#define FOLD_TESTS_SIM_STEPS_H

#include "tests/sim/play.h"

#define SIM_OFFSET_MOST (1ull << 62) /* no step goes beyond */

/* An open slot; NULL if it is not. */
struct sim_handle *sim_slot(struct sim_play *p, uint64_t n);

/* Directory number n of those that exist. */
struct sim_node *sim_dir(struct sim_play *p, uint64_t n);

/* Name number n; every eleventh is as long as names get. */
const char *sim_name(uint64_t n, char out[256]);

/* The number the daemon gave the node; looked up if the kernel does not have it. Like sim_reply. */
int sim_know(struct sim_play *p, struct sim_node *dir, const char *name, struct sim_node *node);

/* The end of an operation: its changes are in the model, unless its reply said otherwise. */
int sim_finish(struct sim_play *p, int rc);

/* A call failed in this life, whether a reply said so or not. */
static inline bool sim_tainted(const struct sim_play *p)
{
    return p->tainted || atomic_load(&p->shared->plan.fired) > 0;
}

bool sim_writable(const struct sim_handle *h);

/* No file reaches there, or nothing to do. */
bool sim_too_far(uint64_t off, uint64_t len);

/* A flush was answered with `rc`: this version is stored. */
void sim_stored(struct sim_play *p, struct sim_handle *h, int rc, size_t version);

/* Everything up to this operation is durable, if it was answered well. */
void sim_durable(struct sim_play *p, int rc);

/* Steps about contents, and those about names. */
int sim_step_content(struct sim_play *p, const struct sim_step *s);
int sim_step_names(struct sim_play *p, const struct sim_step *s);

#endif
