/* SPDX-License-Identifier: MIT */
/*
 * How many servers a queue has. A queue begins with a few; where all of them wait for replies by
 * other threads, one more begins, up to a limit. Requests that wait for the kernel hold at most
 * half of a queue's entries, so that what the kernel asks meanwhile always finds one.
 */
#ifndef FOLD_FS_RING_CREW_H
#define FOLD_FS_RING_CREW_H

#include "fs/ring_server.h"

/*
 * Begins one more server of the queue unless it has `most`. -EAGAIN: it has, or the last attempt
 * failed a moment ago, or the ring ends; other errors: it could not be begun. What counts servers
 * is true afterwards in every case.
 */
int fold_ring_enlarge(struct fold_ring *r, unsigned queue, unsigned most) FOLD_MUST;

/* Called when a request waits for a reply by another thread: should all servers of the queue be
 * busy, another one takes the requests to come. */
void fold_ring_reinforce(struct fold_ring *r, unsigned queue);

/* No server begins any more; returns when none is being begun. */
void fold_ring_end_growth(struct fold_ring *r);

/* For the server's thread: waits for the start. False: the ring ends. */
bool fold_ring_await_start(struct fold_ring *r);

/* For the server's thread: the kernel took its entry. */
void fold_ring_note_enlisted(struct fold_ring_server *s);

/* For the server's thread, at its end. */
void fold_ring_note_ended(struct fold_ring_server *s);

/* Says once why the kernel did not want a server. */
void fold_ring_note_refusal(struct fold_ring *r, int rc);

#endif
