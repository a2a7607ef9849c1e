/* SPDX-License-Identifier: MIT */
/*
 * Checks a store that is not mounted, every structure against every other, and repairs what can be
 * repaired: superblock, segment files, forwarding tables, fingerprint index, catalog tables, the
 * tree, recipes, totals. Without repair nothing on disk changes. What cannot be repaired without
 * inventing data (bytes of a chunk that are gone) is left as it is: reading it goes on giving EIO.
 */
#ifndef FOLD_META_CHECK_H
#define FOLD_META_CHECK_H

#include "meta/types.h"

enum fold_severity {
    FOLD_SEVERITY_NOTE,    /* nothing is wrong: the leftovers of a crash, rot in garbage */
    FOLD_SEVERITY_WARNING, /* data that is derived from other data disagrees with it */
    FOLD_SEVERITY_ERROR
};

struct fold_problem {
    const char *code; /* "dentry.dangling"; static storage */
    enum fold_severity severity;
    bool repaired;
    char *object;  /* "inode 12", "segment 0000000a" */
    char *message; /* a sentence */
};

struct fold_check_options {
    bool repair;
    bool rebuild_index; /* throw the fingerprint index away and make it from the segments; implies
                           writing */
    bool data;          /* read all chunks and verify their checksums */
    void *arg;
    void (*progress)(void *arg, const char *step, uint64_t done, uint64_t total); /* may be NULL */
};

struct fold_check_result {
    struct fold_problem *problems;
    size_t count;
    uint64_t dropped;  /* problems beyond the most that are kept; they count as not repaired */
    uint64_t errors;   /* warnings and errors found, repaired or not */
    uint64_t repaired; /* of them */
    uint64_t inodes;   /* checked */
    uint64_t entries;  /* of directories */
    uint64_t extents;
    uint64_t chunks;
    uint64_t segments;
    uint64_t bytes_verified; /* payload, with `data` */
};

/*
 * Checks the store at `path`, which must not be in use (-FOLD_E_LOCKED). 0 if the check could be
 * carried out, whatever it found. -FOLD_E_NOT_A_STORE, -FOLD_E_NEWER_FORMAT, -ENOMEM, ...: it could
 * not. `out` is to be freed in every case.
 */
int fold_check_run(const char *path, const struct fold_check_options *opt,
                   struct fold_check_result *out) FOLD_MUST;
void fold_check_free(struct fold_check_result *r);

#endif
