/* SPDX-License-Identifier: MIT */
/*
 * Requests whose work is not bounded by their own size: a checksum of a file, a count over its
 * recipe, allocating or emptying a range, looking for a hole. Each begins on the worker pool at
 * once, and most are through in no time. One that is not after `long_first_ms` waits its turn, and
 * goes on in slices of at most `long_slice_ms`, between which the pool serves others. Of one user
 * one such request is in work at a time, the users take turns, and together they never have more
 * than half of the workers. Whoever is interrupted or killed is answered at the next chance.
 */
#ifndef FOLD_FS_LONGWORK_H
#define FOLD_FS_LONGWORK_H

#include "fs/reply.h"

struct fold_longs;
struct fold_longs_user;
struct fold_workers;

/* Part of what is allocated for the request; the caller sets the first group. */
struct fold_long {
    /*
     * Does a part of the work, on a worker, and returns once fold_long_due. True: there is nothing
     * to go on with; the request has been answered and may be gone, or somebody else will start it
     * anew (FOLD_TURN_WAITS and its like). False: to be called again.
     */
    bool (*step)(void *arg);
    void *arg;
    fuse_req_t req; /* tells the user, and whether it was interrupted */

    bool queued; /* it waits for its turn or has it: this is not the first step any more */
    struct fold_longs *all;
    struct fold_longs_user *user;
    uint64_t until_ms;
    unsigned hurries; /* as of its beginning */
    struct fold_long *next;
};

/* Begins. */
void fold_long_start(struct fold_session *s, struct fold_long *l);

/* The step is to return. Cheap enough to be asked every few milliseconds. */
bool fold_long_due(const struct fold_long *l);

/* The asker has given up, or the mount ends: the step is to answer -EINTR. */
bool fold_long_interrupted(const struct fold_long *l);

/* At most `at_once` are in work on this pool, whoever they belong to. */
int fold_longs_create(struct fold_workers *workers, unsigned at_once,
                      struct fold_longs **out) FOLD_MUST;

/* Those in work or waiting now are interrupted: the mount is to end, and their callers have it in
 * use. Later ones are not. */
void fold_longs_hurry(struct fold_longs *all);

/* All are interrupted: the pool, when it is destroyed, is soon through with them. NULL is fine. */
void fold_longs_stop(struct fold_longs *all);

/* After the pool has gone. NULL is fine. */
void fold_longs_destroy(struct fold_longs *all);

#endif
