/* SPDX-License-Identifier: MIT */
/*
 * Where requests that would be refused for lack of space wait while a collection may free some. No
 * thread waits with them: they are called when there is room, when nothing more can be hoped for,
 * or when they have waited long enough. Thread-safe.
 */
#ifndef FOLD_FS_WAITROOM_H
#define FOLD_FS_WAITROOM_H

#include "meta/base/attr.h"

#include <stdbool.h>

struct fold_session;
struct fold_waitroom;

/* With a thread that calls those who waited. -ENOMEM, -EAGAIN. */
int fold_waitroom_create(struct fold_session *s, struct fold_waitroom **out) FOLD_MUST;

/* Calls everybody; from now on nobody waits. NULL is fine. */
void fold_waitroom_close(struct fold_waitroom *w);

/* After close. NULL is fine. */
void fold_waitroom_destroy(struct fold_waitroom *w);

/* True if a request that needs so many bytes should wait: there is no room for it, and a collection
 * may make some. Cheap where there is room. NULL: false. */
bool fold_waitroom_advises(struct fold_waitroom *w, uint64_t bytes);

/*
 * Calls fn(arg) when it is time, on the room's own thread, which must not be kept waiting; asks for
 * a collection. False, and fn is not called: the room is full or closed.
 */
bool fold_waitroom_enter(struct fold_waitroom *w, uint64_t bytes, void (*fn)(void *arg), void *arg);

/*
 * For a thread of the worker pool with accepted data that cannot be stored: sleeps until so many
 * bytes may be claimed (fs/space.h). False: there is nothing to hope for, or it is later than
 * `since_ms`, when the thread began to try, and the time that a request waits. The caller is not
 * inside the session's gate and holds no lock but FLUSH.
 */
bool fold_waitroom_linger(struct fold_waitroom *w, uint64_t bytes, uint64_t since_ms);

/* A collection ended, or will not come. NULL is fine. */
void fold_waitroom_look(struct fold_waitroom *w);

/* True if what those who wait need is more than there is. NULL: false. */
bool fold_waitroom_short(struct fold_waitroom *w);

#endif
