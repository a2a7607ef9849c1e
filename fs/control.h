/* SPDX-License-Identifier: MIT */
/*
 * The control sockets of a daemon (fs/endpoint.h), open to root and to the daemon's own user.
 *
 * A connection carries one request, a line of JSON {"verb": "...", "args": {...}}, and is answered
 * by lines of JSON: any number of {"progress": ...}, then one {"ok": true, "result": ...} or
 * {"ok": false, "code": n, "name": "...", "message": "..."}.
 */
#ifndef FOLD_FS_CONTROL_H
#define FOLD_FS_CONTROL_H

#include "meta/base/attr.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct fold_control;
struct fold_control_reply;

/*
 * Answers one request. `args` is an object (maybe empty), borrowed. Runs in a thread of the control
 * object; several requests run at once (also of one verb), so that a long one does not keep the
 * others waiting. A negative return becomes the final error of the request, 0 the final result.
 */
typedef int (*fold_control_fn)(void *session, json_t *args, struct fold_control_reply *reply);

struct fold_control_verb {
    const char *verb; /* static storage */
    fold_control_fn fn;
    bool to_the_end; /* is answered after fold_control_quiesce, too; must not take long */
};

/*
 * Serves requests until stop, by the socket of the store directory `storefd` (not kept), or by none
 * if that is -1. `verbs` and `session` must live as long. A socket left behind by a dead daemon is
 * replaced. -EADDRINUSE if another daemon answers there; -errno.
 */
int fold_control_start(int storefd, const struct fold_control_verb *verbs, size_t n, void *session,
                       struct fold_control **out) FOLD_MUST;

/* From now on serves those who come by the mount `dev`, too. Once. -errno. */
int fold_control_serve_mount(struct fold_control *c, dev_t dev) FOLD_MUST;

/* Cancels running requests and waits for their end; on return none runs, and only verbs that say
 * `to_the_end` are answered (-ESHUTDOWN otherwise). NULL is fine. Not from a handler. */
void fold_control_quiesce(struct fold_control *c);

/* The same, then ends the rest and removes the sockets. NULL is fine. Not from a handler; before
 * the store is unlocked. */
void fold_control_stop(struct fold_control *c);

/* From a handler: sends a progress line; takes over `progress`. -EPIPE if the client is gone or
 * does not read, -ECANCELED at stop. */
int fold_control_progress(struct fold_control_reply *reply, json_t *progress);

/* From a handler: sets the result of the final line; takes over `result`. The last call counts;
 * none means null. */
void fold_control_result(struct fold_control_reply *reply, json_t *result);

/* From a handler: true if the work should end early because the client left, does not read what it
 * is told, or the control object stops. */
bool fold_control_cancelled(struct fold_control_reply *reply);

#endif
