/* SPDX-License-Identifier: MIT */
/*
 * The kernel's side: one daemon, and requests to it in the bytes of the FUSE protocol. Each
 * function sends one request and waits for all it leads to. They return 0 or a positive count, a
 * negative errno of the daemon's reply, or one of the codes below.
 */
#ifndef FOLD_TESTS_SIM_WIRE_H
#define FOLD_TESTS_SIM_WIRE_H

#include "tests/sim/daemon.h"

#include <linux/fuse.h>

#define WIRE_DEAD   (-100000) /* the daemon has ended */
#define WIRE_HANGS  (-100001) /* it does not come back */
#define WIRE_SILENT (-100002) /* it came back without a reply */
#define WIRE_BROKEN (-100003) /* a reply of the wrong shape */

struct wire {
    struct sim_shared *shared;
    pid_t pid;  /* 0: none */
    int status; /* of the one before, as wait tells it */
    int down, up;
    uint64_t unique;
    int64_t requests; /* sent so far */
    int timeout_ms;
    const uint8_t *body; /* of the last reply */
    size_t body_len;
    uint64_t nested_unique; /* of a request put beside the next one; 0 if there is none */
    bool nested_done;
    int nested_result;
};

/* Starts a daemon and exchanges INIT. WIRE_DEAD, or the code of an open that failed. */
int wire_start(struct wire *w, const struct sim_life *life);

/* Ends the daemon's process at once and forgets it. */
void wire_kill(struct wire *w);

/* Another order than a request. SIM_CLOSE returns what closing returned, and the daemon is gone. */
int wire_order(struct wire *w, enum sim_order order);

/* A request with up to three parts; the reply's body lies in w->body until the next request. */
int wire_call(struct wire *w, uint32_t opcode, uint64_t node, const void *a, size_t a_len,
              const void *b, size_t b_len, const void *c, size_t c_len);

int wire_lookup(struct wire *w, uint64_t dir, const char *name, struct fuse_entry_out *out);
int wire_getattr(struct wire *w, uint64_t node, struct fuse_attr *out);
int wire_setattr(struct wire *w, uint64_t node, const struct fuse_setattr_in *in);
int wire_open(struct wire *w, uint64_t node, uint32_t flags, uint64_t *fh);
int wire_create(struct wire *w, uint64_t dir, const char *name, uint32_t flags, uint32_t mode,
                struct fuse_entry_out *entry, uint64_t *fh);
int wire_read(struct wire *w, uint64_t node, uint64_t fh, uint64_t off, uint32_t len);
int wire_write(struct wire *w, uint64_t node, uint64_t fh, uint64_t off, const void *data,
               uint32_t len, uint32_t flags);

/* Puts a write beside the next order or request: it comes in while that stores data, or never;
 * afterwards wire_nested says which. */
void wire_nest(struct wire *w, uint64_t node, uint64_t fh, uint64_t off, const void *data,
               uint32_t len);
bool wire_nested(struct wire *w, int *result);

int wire_close(struct wire *w, uint64_t node, uint64_t fh, uint32_t flags);
int wire_flush(struct wire *w, uint64_t node, uint64_t fh);
int wire_fsync(struct wire *w, uint64_t node, uint64_t fh, bool dir);

#endif
