/* SPDX-License-Identifier: MIT */
/*
 * The tracing collector: finds what no recipe names and gives its space back to the host. Nothing
 * is counted on write or delete. One cycle:
 *
 *   1. sealed segments become candidates; from now on lookups that hit one mark what they hit
 *   2. grace period; then all recipes of a snapshot are walked and what they name is marked
 *   3. segments with enough garbage are condemned: lookups no longer find their records; grace
 * period, bits read again
 *   4. live records of condemned segments are copied to new ones, durably, and a forwarding table
 * leads there
 *   5. catalog checkpoint, so that no journal record and no recipe of the past names what goes;
 * index entries removed
 *   6. files removed; long runs of dead records in segments that stay are punched (meta/punch.h);
 * forwarding tables that no recipe needs any more are retired
 *
 * A crash between any two steps leaves a consistent volume and at most garbage.
 */
#ifndef FOLD_META_COLLECT_H
#define FOLD_META_COLLECT_H

#include "meta/catalog.h"

struct fold_gate;
struct fold_workers;

struct fold_collect_progress {
    const char *step; /* static storage */
    uint64_t done, total;
};

struct fold_collect_options {
    bool full;  /* also segments with little garbage; open segments are sealed first */
    bool hurry; /* somebody waits for the space: what only saves a little is left out */
    struct fold_workers *workers; /* for the walk; NULL: the caller's thread alone */
    unsigned walkers;             /* threads that may walk at once; 0 = 1 */
    uint64_t rate;                /* bytes per second that copying may read; 0 = no limit */
    void *arg;                    /* for the functions below, each of which may be NULL */
    void (*progress)(void *arg, const struct fold_collect_progress *p);
    bool (*cancelled)(void *arg);
    bool (*busy)(void *arg); /* somebody else uses the disk just now: copying takes half of its time
                                at most */
    void (*dropped)(void *arg, const struct fold_fp *fp); /* a fingerprint left the index */
    void (*added)(void *arg, const struct fold_fp *fp);   /* one that was missing came into it */
    void (*moved)(void *arg, fold_ino ino,
                  uint64_t page_no);       /* a recipe page names places that were forwarded */
    int (*step)(void *arg, unsigned step); /* tests: called after each numbered step; a negative
                                              return ends the cycle there */
};

struct fold_collect_result {
    uint64_t extents; /* walked */
    uint64_t walk_ms;
    uint64_t walk_cpu_us;      /* of all threads that walked */
    uint64_t segments_seen;    /* candidates, each once */
    uint64_t segments_removed; /* of them */
    uint64_t segments_copied;  /* removed after their live records were copied */
    uint64_t copied_bytes;     /* stored bytes of those */
    uint64_t freed_bytes;      /* file bytes removed */
    uint64_t segments_punched; /* kept, but runs of dead records in them are gone */
    uint64_t punched_bytes;    /* what the host got back from those */
    uint64_t garbage_bytes;    /* stored bytes found dead and left in place */
    uint64_t tables_retired;
    uint64_t reindexed; /* stored chunks that the index had lost and has again */
};

/*
 * Runs one cycle (or several, if memory for the bitmaps does not cover all segments). One at a
 * time: the caller sees to it. Operations that hold locations must be inside `gate`; the caller
 * must not. -ECANCELED, -ENOSPC, -EIO, ...: what was begun is undone or left as garbage; the volume
 * is consistent.
 */
int fold_collect_run(struct fold_store *store, struct fold_catalog *catalog, struct fold_gate *gate,
                     const struct fold_collect_options *opt,
                     struct fold_collect_result *out) FOLD_MUST;

#endif
