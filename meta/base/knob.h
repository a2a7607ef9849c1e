/* SPDX-License-Identifier: MIT */
/*
 * Limits that tests shrink. A constant that bounds a count, a length or a time stands in knob.def,
 * with its value, the least value that makes sense, and what it bounds. The program runs with the
 * values given there; a test sets smaller ones, so that a small workload crosses every limit.
 */
#ifndef FOLD_META_BASE_KNOB_H
#define FOLD_META_BASE_KNOB_H

#include "meta/base/attr.h"

#include <stddef.h>

struct fold_knobs {
#define FOLD_KNOB(name, value, least, what) uint64_t name;
#include "meta/base/knob.def"
#undef FOLD_KNOB
};

/* The values in force. Fixed while threads other than the caller's run. */
extern struct fold_knobs fold_knobs;

struct fold_knob {
    const char *name;
    uint64_t standard, least;
    const char *what;
    uint64_t *value; /* inside fold_knobs */
};

/* All of them, in the order of knob.def; *count is how many there are. */
const struct fold_knob *fold_knob_list(size_t *count);

/*
 * Sets knobs from text: "name=value,name=value", values in decimal. -EINVAL for a name that does
 * not exist, a value that is no number, or one below the least or above the standard value: nothing
 * is changed then.
 */
int fold_knobs_set(const char *text) FOLD_MUST;

/* All of them back to their standard values. */
void fold_knobs_reset(void);

#endif
