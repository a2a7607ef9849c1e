/* SPDX-License-Identifier: MIT */
/*
 * The pipes only say that it is the other's turn; their end says that the daemon has died.
 */
#include "tests/sim/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void forget(struct wire *w)
{
    if (w->pid == 0)
        return;
    close(w->down);
    close(w->up);
    (void)waitpid(w->pid, &w->status, 0);
    w->pid = 0;
}

/* Waits until the daemon has done what it was told. */
static int wait_turn(struct wire *w)
{
    struct pollfd p = {.fd = w->up, .events = POLLIN};
    char c;
    int n = poll(&p, 1, w->timeout_ms);
    if (n == 0)
        return WIRE_HANGS;
    if (read(w->up, &c, 1) == 1)
        return 0;
    forget(w);
    return WIRE_DEAD;
}

void wire_kill(struct wire *w)
{
    if (w->pid != 0)
        kill(w->pid, SIGKILL);
    forget(w);
}

static int pass(struct wire *w)
{
    char c = 0;
    if (w->pid == 0 || write(w->down, &c, 1) != 1)
        return WIRE_DEAD;
    return wait_turn(w);
}

int wire_order(struct wire *w, enum sim_order order)
{
    w->shared->order = order;
    int rc = pass(w);
    if (rc != 0)
        return rc;
    rc = w->shared->result;
    if (order == SIM_CLOSE) {
        if (!w->shared->closed)
            rc = WIRE_SILENT;
        forget(w);
    }
    return rc;
}

static size_t put(uint8_t *to, size_t at, const void *data, size_t len)
{
    if (len > 0)
        memcpy(to + at, data, len);
    return at + len;
}

static size_t compose(uint8_t *to, uint32_t opcode, uint64_t unique, uint64_t node, const void *a,
                      size_t a_len, const void *b, size_t b_len, const void *c, size_t c_len)
{
    struct fuse_in_header h = {.opcode = opcode, .unique = unique, .nodeid = node};
    h.pid = (uint32_t)getpid();
    h.len = (uint32_t)(sizeof h + a_len + b_len + c_len);
    size_t at = put(to, 0, &h, sizeof h);
    at = put(to, at, a, a_len);
    at = put(to, at, b, b_len);
    return put(to, at, c, c_len);
}

/* Looks through the replies for that of a request. */
static int find_reply(struct wire *w, uint64_t unique, const uint8_t **body, size_t *len)
{
    struct fuse_out_header h;
    for (size_t at = 0; at + sizeof h <= w->shared->reply_used; at += h.len) {
        memcpy(&h, w->shared->reply + at, sizeof h);
        if (h.len < sizeof h || h.len > w->shared->reply_used - at)
            return WIRE_BROKEN;
        if (h.unique == unique) {
            *body = w->shared->reply + at + sizeof h;
            *len = h.len - sizeof h;
            return h.error;
        }
    }
    return WIRE_SILENT;
}

static void note_nested(struct wire *w)
{
    const uint8_t *body;
    size_t len;
    if (w->nested_unique == 0)
        return;
    int rc = find_reply(w, w->nested_unique, &body, &len);
    if (rc != WIRE_SILENT) {
        w->nested_done = true;
        w->nested_result = rc;
    }
}

int wire_call(struct wire *w, uint32_t opcode, uint64_t node, const void *a, size_t a_len,
              const void *b, size_t b_len, const void *c, size_t c_len)
{
    bool silent = opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET;
    uint64_t unique = w->unique += 2;
    w->requests++;
    w->shared->order = SIM_REQUEST;
    w->shared->request_len =
        (uint32_t)compose(w->shared->request, opcode, unique, node, a, a_len, b, b_len, c, c_len);
    w->body_len = 0;
    int rc = pass(w);
    if (rc != 0 || silent)
        return rc;
    note_nested(w);
    return find_reply(w, unique, &w->body, &w->body_len);
}

static int call1(struct wire *w, uint32_t opcode, uint64_t node, const void *a, size_t a_len)
{
    return wire_call(w, opcode, node, a, a_len, NULL, 0, NULL, 0);
}

/* The body has this shape. */
static int take(struct wire *w, int rc, void *out, size_t len)
{
    if (rc != 0)
        return rc;
    if (w->body_len < len)
        return WIRE_BROKEN;
    memcpy(out, w->body, len);
    return 0;
}

int wire_start(struct wire *w, const struct sim_life *life)
{
    w->shared = life->shared;
    w->unique = 0;
    w->nested_unique = 0;
    w->pid = sim_daemon_start(life, &w->down, &w->up);
    int rc = wait_turn(w);
    if (rc == 0 && !w->shared->ready) {
        rc = w->shared->result;
        forget(w);
        return rc != 0 ? rc : WIRE_BROKEN;
    }
    if (rc != 0)
        return rc;
    struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION,
                              .minor = FUSE_KERNEL_MINOR_VERSION,
                              .max_readahead = 1u << 20};
    in.flags = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES |
               FUSE_DONT_MASK | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |
               FUSE_PARALLEL_DIROPS | FUSE_POSIX_ACL | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS |
               FUSE_EXPLICIT_INVAL_DATA | FUSE_HANDLE_KILLPRIV_V2 | FUSE_INIT_EXT;
    in.flags2 = 1u << 4; /* direct I/O beside mappings */
    return call1(w, FUSE_INIT, 0, &in, sizeof in);
}

int wire_lookup(struct wire *w, uint64_t dir, const char *name, struct fuse_entry_out *out)
{
    return take(w, call1(w, FUSE_LOOKUP, dir, name, strlen(name) + 1), out, sizeof *out);
}

int wire_getattr(struct wire *w, uint64_t node, struct fuse_attr *out)
{
    struct fuse_getattr_in in = {0};
    struct fuse_attr_out got;
    int rc = take(w, call1(w, FUSE_GETATTR, node, &in, sizeof in), &got, sizeof got);
    if (rc == 0)
        *out = got.attr;
    return rc;
}

int wire_setattr(struct wire *w, uint64_t node, const struct fuse_setattr_in *in)
{
    return call1(w, FUSE_SETATTR, node, in, sizeof *in);
}

int wire_open(struct wire *w, uint64_t node, uint32_t flags, uint64_t *fh)
{
    struct fuse_open_in in = {.flags = flags};
    struct fuse_open_out out;
    int rc = take(w, call1(w, FUSE_OPEN, node, &in, sizeof in), &out, sizeof out);
    if (rc == 0)
        *fh = out.fh;
    return rc;
}

int wire_create(struct wire *w, uint64_t dir, const char *name, uint32_t flags, uint32_t mode,
                struct fuse_entry_out *entry, uint64_t *fh)
{
    struct fuse_create_in in = {.flags = flags, .mode = mode};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    int rc = wire_call(w, FUSE_CREATE, dir, &in, sizeof in, name, strlen(name) + 1, NULL, 0);
    rc = take(w, rc, &out, sizeof out);
    if (rc == 0) {
        *entry = out.entry;
        *fh = out.open.fh;
    }
    return rc;
}

int wire_read(struct wire *w, uint64_t node, uint64_t fh, uint64_t off, uint32_t len)
{
    struct fuse_read_in in = {.fh = fh, .offset = off, .size = len};
    int rc = call1(w, FUSE_READ, node, &in, sizeof in);
    if (rc == 0 && w->body_len > len)
        return WIRE_BROKEN;
    return rc == 0 ? (int)w->body_len : rc;
}

int wire_write(struct wire *w, uint64_t node, uint64_t fh, uint64_t off, const void *data,
               uint32_t len, uint32_t flags)
{
    struct fuse_write_in in = {.fh = fh, .offset = off, .size = len, .flags = flags};
    struct fuse_write_out out;
    int rc = wire_call(w, FUSE_WRITE, node, &in, sizeof in, data, len, NULL, 0);
    rc = take(w, rc, &out, sizeof out);
    return rc == 0 ? (int)out.size : rc;
}

void wire_nest(struct wire *w, uint64_t node, uint64_t fh, uint64_t off, const void *data,
               uint32_t len)
{
    struct fuse_write_in in = {.fh = fh, .offset = off, .size = len, .flags = 2};
    w->nested_unique = w->unique += 2;
    w->nested_done = false;
    w->shared->nested_len = (uint32_t)compose(w->shared->nested, FUSE_WRITE, w->nested_unique, node,
                                              &in, sizeof in, data, len, NULL, 0);
}

bool wire_nested(struct wire *w, int *result)
{
    note_nested(w);
    bool done = w->nested_unique != 0 && (w->nested_done || w->shared->nested_len == 0);
    *result = w->nested_done ? w->nested_result : WIRE_SILENT;
    w->nested_unique = 0;
    w->shared->nested_len = 0;
    return done;
}

int wire_close(struct wire *w, uint64_t node, uint64_t fh, uint32_t flags)
{
    struct fuse_release_in in = {.fh = fh, .flags = flags};
    return call1(w, FUSE_RELEASE, node, &in, sizeof in);
}

int wire_flush(struct wire *w, uint64_t node, uint64_t fh)
{
    struct fuse_flush_in in = {.fh = fh};
    return call1(w, FUSE_FLUSH, node, &in, sizeof in);
}

int wire_fsync(struct wire *w, uint64_t node, uint64_t fh, bool dir)
{
    struct fuse_fsync_in in = {.fh = fh};
    return call1(w, dir ? FUSE_FSYNCDIR : FUSE_FSYNC, node, &in, sizeof in);
}
