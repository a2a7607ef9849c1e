/* SPDX-License-Identifier: MIT */
/*
 * What files really take: how much of the stored data they name, and how much of that nothing else
 * names. Exact for what does not change while it is measured; what does may be counted as it was or
 * as it is.
 *
 * The work is a walk over all recipes of the volume (none if only this side is asked for), repeated
 * if the given files name more chunks than the table holds.
 */
#ifndef FOLD_META_USAGE_H
#define FOLD_META_USAGE_H

#include "meta/catalog.h"

struct fold_usage {
    uint64_t files;   /* regular files, each once whatever its names */
    uint64_t size;    /* sum of their sizes */
    uint64_t logical; /* bytes of them that are data, not holes */
    uint64_t chunks;  /* distinct chunks they name */
    uint64_t raw;     /* bytes of those chunks before compression */
    uint64_t stored;  /* bytes they occupy, compressed and framed */
    uint64_t
        unique; /* of `stored`: chunks that no other file names; what deleting these would free */
    uint64_t
        fragments; /* pieces of the files that do not lie just behind each other in the store */
};

struct fold_usage_options {
    bool here_only; /* `unique` is not wanted: no walk over the volume */
    size_t
        table_chunks; /* chunks looked at in one round, 48 to 96 bytes of memory each; 0 = 2 Mi */
    void *arg;        /* for the functions, each of which may be NULL */
    void (*progress)(void *arg, const char *step, uint64_t done, uint64_t total);
    bool (*cancelled)(void *arg);
};

/*
 * Measures the n inodes `from`, directories with everything below, a row of `rows` each (all zero
 * where from[i] is 0), and all of them together in *total, where nothing counts twice. What is
 * dirty in memory is not seen: flush before. No collection may run meanwhile. -ENOENT, -ENOMEM,
 * -ECANCELED, -FOLD_E_BAD_RECIPE.
 */
int fold_usage_measure(struct fold_store *store, struct fold_catalog *c, const fold_ino *from,
                       size_t n, const struct fold_usage_options *opt, struct fold_usage *rows,
                       struct fold_usage *total) FOLD_MUST;

/*
 * The same in steps of a few milliseconds each, but for the walk over the volume, which is one.
 * Rows, total and what `opt` points to stay the caller's; no collection runs between begin and end.
 */
struct fold_usage_run;
int fold_usage_begin(struct fold_store *store, struct fold_catalog *c, const fold_ino *from,
                     size_t n, const struct fold_usage_options *opt, struct fold_usage *rows,
                     struct fold_usage *total, struct fold_usage_run **out) FOLD_MUST;

/* 1: there is more to do; 0: rows and total are complete; the errors of fold_usage_measure. */
int fold_usage_step(struct fold_usage_run *u) FOLD_MUST;

/* NULL is fine. */
void fold_usage_end(struct fold_usage_run *u);

#endif
