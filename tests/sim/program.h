/* SPDX-License-Identifier: MIT */
/*
 * A history as a program: how the volume is made and mounted, and steps with numbers for arguments.
 * It can be drawn from a seed, written as text, and read again. What a step means depends on its
 * numbers alone: one that makes no sense where it comes is skipped, so that any part of a program
 * is a program.
 */
#ifndef FOLD_TESTS_SIM_PROGRAM_H
#define FOLD_TESTS_SIM_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum sim_step_kind {
#define SIM_STEP(name, args, what) SIM_STEP_##name,
#include "tests/sim/step.def"
#undef SIM_STEP
    SIM_STEP_KINDS
};

#define SIM_ARGS  6
#define SIM_STEPS 4096

struct sim_step {
    enum sim_step_kind kind;
    uint64_t a[SIM_ARGS];
};

struct sim_program {
    uint64_t seed;
    unsigned chunker, hash, codec;
    uint32_t chunk_size;
    uint64_t host_blocks, host_free;
    bool threads;
    char options[256];
    char knobs[1024];
    struct sim_step steps[SIM_STEPS];
    size_t count;
};

/* Draws the program of a seed. */
void sim_program_draw(struct sim_program *p, uint64_t seed);

void sim_program_write(const struct sim_program *p, FILE *out);
/* False with a sentence on stderr. */
bool sim_program_read(struct sim_program *p, FILE *in);

void sim_step_write(const struct sim_step *s, FILE *out);

#endif
