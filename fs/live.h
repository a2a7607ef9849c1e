/* SPDX-License-Identifier: MIT */
/*
 * What the control socket of a live mount answers: statistics and commands.
 */
#ifndef FOLD_FS_LIVE_H
#define FOLD_FS_LIVE_H

#include "meta/base/attr.h"

struct fold_session;

/* Starts the control socket of the session. A read-only one has none in the store, which is not
 * written to: it is reached by its mount alone. */
int fold_live_start(struct fold_session *s) FOLD_MUST;

#endif
