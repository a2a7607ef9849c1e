/* SPDX-License-Identifier: MIT */
/*
 * When the collector of meta/collect.h runs on an open session: on demand, and by itself when
 * enough was released since the last cycle, sooner if the host runs low on space or nobody is
 * writing.
 */
#ifndef FOLD_FS_COLLECTOR_H
#define FOLD_FS_COLLECTOR_H

#include "meta/collect.h"

struct fold_collector;
struct fold_session;

/* With so many bytes released and nobody writing for so long a cycle starts. */
#define FOLD_COLLECT_IDLE_BYTES   (16ull << 20)
#define FOLD_COLLECT_IDLE_SECONDS 30u

/* What decides whether a cycle starts by itself. */
struct fold_collector_look {
    uint64_t released; /* bytes of files deleted or overwritten since the last cycle */
    uint64_t logical;  /* bytes of all files */
    unsigned idle_seconds;
    uint64_t host_free, host_blocks; /* blocks of the host filesystem */
    unsigned since_seconds;          /* the last cycle that started by itself */
    unsigned pause_seconds;          /* what fold_collector_pause said then */
};

/* True if it is time: a large part was released; or some of it and nobody is writing; or any of it
 * and the host has little left, unless that was in vain a short while ago. Pure. */
bool fold_collector_due(const struct fold_collector_look *l);

/* A cycle that freed less was in vain. */
#define FOLD_COLLECT_WORTH_BYTES (1ull << 20)
/* Pauses between cycles in vain while the host has little left: the first, and the longest. */
#define FOLD_COLLECT_PAUSE_FIRST 10u
#define FOLD_COLLECT_PAUSE_MOST  160u

/* Seconds to wait after a cycle that freed so much, when the pause before it was `before`: none if
 * it was worth it, else twice as long as before. Pure. */
unsigned fold_collector_pause(unsigned before, uint64_t freed);

/* Starts the background thread. -ENOMEM, -EAGAIN. */
int fold_collector_create(struct fold_session *s, struct fold_collector **out) FOLD_MUST;

/* Cancels a cycle that is running and ends the thread; the object stays usable for everybody else.
 * NULL is fine. */
void fold_collector_stop(struct fold_collector *c);

/* After stop. NULL is fine. */
void fold_collector_destroy(struct fold_collector *c);

/*
 * Runs a collection now, after the one that may be running; -ECANCELED if opt->cancelled says so
 * before that has ended, or later. With opt->full everything is flushed
 * first, recipes are led away from forwarded places, and the catalog gives its space back too.
 * `arg`, `progress` and `cancelled` of `opt` are used.
 */
int fold_collector_run(struct fold_collector *c, const struct fold_collect_options *opt,
                       struct fold_collect_result *out) FOLD_MUST;

/*
 * Between the two no collection runs: what is measured stays where it is. Waits for one that is
 * running to end, or until gone(arg) (may be NULL) is true: -ECANCELED, and nothing is held. A NULL
 * collector is fine. The caller holds no lock.
 */
int fold_collector_hold(struct fold_collector *c, bool (*gone)(void *arg),
                        void *arg) FOLD_MUST FOLD_NO_ANALYSIS;
void fold_collector_release(struct fold_collector *c) FOLD_NO_ANALYSIS;

/* Somebody waits for space: collects as soon as possible, and thoroughly if the first cycle does
 * not make enough room; then calls fold_waitroom_look. Cheap; any thread. NULL is fine. */
void fold_collector_press(struct fold_collector *c);

/* True while a collection may free what is worth waiting for. NULL: false. */
bool fold_collector_may_free(struct fold_collector *c);

/* `bytes` of files were deleted or overwritten. Cheap; any thread. */
void fold_collector_released(struct fold_collector *c, uint64_t bytes);

#endif
