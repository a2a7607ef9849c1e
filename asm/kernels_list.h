/* SPDX-License-Identifier: MIT */
/*
 * Every kernel at every level this machine has, with its speed if asked for: what `foldfs kernels`
 * prints.
 */
#ifndef FOLD_ASM_KERNELS_LIST_H
#define FOLD_ASM_KERNELS_LIST_H

#include "asm/kernels.h"

#include <stdbool.h>

struct fold_kernel_row {
    enum fold_kernel kernel;
    enum fold_level level;
    const char *name;
    const char *level_name;
    bool selected;    /* the process uses this one: the level's own, under FOLDFS_CPU */
    const char *unit; /* of the rate: "GB/s", "Mkeys/s" or "Mcalls/s" */
    double rate;      /* 0 if not measured */
};

/* At most as many rows as this. */
#define FOLD_KERNEL_ROWS (FOLD_KERNELS * FOLD_LEVELS)

/*
 * Fills `rows` (room for FOLD_KERNEL_ROWS) and returns their number. A kernel that has no version
 * of its own at a level has no row there. With `bench` each row is timed on one core, 0.1 s each; a
 * rate stays 0 without memory for it.
 */
size_t fold_kernels_list(bool bench, struct fold_kernel_row *rows);

/* Rate of one kernel out of a table made by fold_kernels_select, in the unit of its row. 0 without
 * memory. */
double fold_kernel_rate(const struct fold_kernels *k, enum fold_kernel kernel);

/* "GB/s", "Mkeys/s" or "Mcalls/s". */
const char *fold_kernel_unit(enum fold_kernel kernel);

#endif
