/* SPDX-License-Identifier: MIT */
/*
 * Looks at a mounted volume through the kernel's requests, and says whether it may look so.
 */
#ifndef FOLD_TESTS_SIM_JUDGE_H
#define FOLD_TESTS_SIM_JUDGE_H

#include "tests/sim/model.h"
#include "tests/sim/wire.h"

/* A part of a file that was read. */
struct sim_region {
    uint64_t off, len;
    uint8_t *bytes;
};

struct sim_sight {
    char *path;
    uint64_t ino, size;
    mode_t mode;
    struct sim_region *regions; /* of a regular file */
    size_t region_count;
};

struct sim_view {
    struct sim_arena *arena;
    struct sim_sight *sights;
    size_t count;
    char *text; /* as a snapshot has it */
};

/* How the judge's parts report: a sentence in `why`, and -1. */
#define SIM_WHY 1024

/* Walks through all names. 0, a code of the wire, or -1 with `why`. */
int sim_look(struct wire *w, struct sim_arena *a, unsigned how, struct sim_view *out, char *why);

/*
 * Reads what the file has where any version of `node` from `first` on has something (all of it,
 * if `node` is NULL). `fh`: an open handle, or UINT64_MAX to open one.
 */
int sim_look_inside(struct wire *w, struct sim_arena *a, struct sim_sight *sight,
                    const struct sim_node *node, size_t first, uint64_t fh, char *why);

/* The file is as the last of the versions, in every byte that was read. */
int sim_judge_exact(const struct sim_sight *sight, const struct sim_node *node, char *why);

/* Every byte that was read is that of one of the versions [first, end), and so is the size, or
 * between them. */
int sim_judge_mixed(const struct sim_sight *sight, const struct sim_node *node, size_t first,
                    size_t end, char *why);

/* A version of what was seen. */
struct sim_version sim_sight_version(struct sim_arena *a, const struct sim_sight *sight);

#endif
