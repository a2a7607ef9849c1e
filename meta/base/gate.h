/* SPDX-License-Identifier: MIT */
/*
 * Grace periods. Operations that hold locations of chunks outside of the catalog (a flush between
 * lookup and commit, a copy of extents, a read between recipe and reply) pass through the gate;
 * whoever is going to take chunks away waits until all that were inside have left. Entering never
 * blocks. The scheme is that of sleepable read-copy-update: two sets of counters and a flip (P.
 * McKenney, "Sleepable RCU", 2006).
 */
#ifndef FOLD_META_BASE_GATE_H
#define FOLD_META_BASE_GATE_H

#include "meta/base/attr.h"

struct fold_gate;

int fold_gate_create(struct fold_gate **out) FOLD_MUST;

/* Nobody may be inside. NULL is fine. */
void fold_gate_destroy(struct fold_gate *g);

/* Returns the token that leave wants; enter and leave may be on different threads. */
unsigned fold_gate_enter(struct fold_gate *g);
void fold_gate_leave(struct fold_gate *g, unsigned token);

/* Returns when everyone who entered before the call has left. The caller must not be inside. */
void fold_gate_wait(struct fold_gate *g);

#endif
