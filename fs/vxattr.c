/* SPDX-License-Identifier: MIT */
/*
 * What is written is stored first, but not made durable: whoever may only read the file cannot have
 * it synced. Measured by meta/usage.h inside the gate, so that no chunk goes away meanwhile. A
 * collection that moves chunks at that very time can make `unique` count one of them as it was.
 *
 * Where a chunk lies and how it is encoded was decided when its content first came, maybe in a file
 * that the caller may not read. So what depends on that is for root and the mount's owner alone:
 * whoever wrote a guess to a file of his own could see whether it was there already. The others
 * follow from the file's own bytes.
 */
#include "fs/vxattr.h"

#include "fs/filesum.h"
#include "fs/flush.h"
#include "fs/longwork.h"
#include "fs/session.h"
#include "fs/turn.h"
#include "meta/base/gate.h"
#include "meta/usage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define VALUE_BYTES 32

struct value {
    const char *name;
    bool walks;  /* the whole volume */
    bool shares; /* depends on what other files hold, or once held */
    void (*print)(const struct fold_usage *u, char out[VALUE_BYTES]); /* NULL: of the content */
};

/* A request. It begins with looking for the inode and storing what is written; then it measures. */
struct task {
    struct fold_turn turn;
    struct fold_long work;
    fuse_req_t req;
    fuse_ino_t ino;
    size_t size;
    const struct value *value;
    struct fold_inode *inode; /* found and stored; else NULL */
    bool begun;               /* of what follows, what the value needs */
    struct fold_filesum sum;
    struct fold_usage_run *run; /* with the gate held */
    unsigned gate_token;
    struct fold_usage row, usage;
};

/* What a part of the work returns when its time is up. */
#define MORE 2

/* Chunks of a file that are looked at together: what is done with them is one step. */
#define TABLE_CHUNKS (256u << 10)

static void number(char out[VALUE_BYTES], uint64_t n)
{
    (void)snprintf(out, VALUE_BYTES, "%" PRIu64, n);
}

static void print_logical(const struct fold_usage *u, char out[VALUE_BYTES])
{
    number(out, u->logical);
}

static void print_stored(const struct fold_usage *u, char out[VALUE_BYTES])
{
    number(out, u->stored);
}

static void print_unique(const struct fold_usage *u, char out[VALUE_BYTES])
{
    number(out, u->unique);
}

static void print_shared(const struct fold_usage *u, char out[VALUE_BYTES])
{
    number(out, u->stored - u->unique);
}

static void print_ratio(const struct fold_usage *u, char out[VALUE_BYTES])
{
    double ratio = u->stored > 0 ? (double)u->logical / (double)u->stored : 1.0;
    (void)snprintf(out, VALUE_BYTES, "%.2f", ratio);
}

static void print_chunks(const struct fold_usage *u, char out[VALUE_BYTES])
{
    number(out, u->chunks);
}

static void print_fragments(const struct fold_usage *u, char out[VALUE_BYTES])
{
    number(out, u->fragments);
}

static const struct value values[] = {
    {"logical", false, false, print_logical},    {"stored", false, true, print_stored},
    {"unique", true, true, print_unique},        {"shared", true, true, print_shared},
    {"ratio", false, true, print_ratio},         {"chunks", false, false, print_chunks},
    {"fragments", false, true, print_fragments}, {"crc32", false, false, NULL},
};

static const struct value *find(const char *name)
{
    for (size_t i = 0; i < FOLD_ARRAY_LEN(values); i++)
        if (strcmp(name + strlen(FOLD_VXATTR_PREFIX), values[i].name) == 0)
            return &values[i];
    return NULL;
}

/* FOLD_TURN_WAITS: the request was left waiting for a flush of the file (fs/turn.h). */
static int prepare(struct fold_session *s, struct task *t)
{
    struct fold_inode *inode;
    int rc = fold_itable_get(s->inodes, t->ino, &inode);
    if (rc != 0)
        return rc;
    if (!S_ISREG(inode->type))
        rc = -ENODATA;
    else if (!s->opt.read_only && (t->value->print != NULL || t->size > 0))
        rc = fold_flush_in_turn(s, inode, &t->turn);
    if (rc == 0)
        t->inode = inode;
    else
        fold_itable_put(s->inodes, inode);
    return rc;
}

static void end_measure(struct fold_session *s, struct task *t)
{
    if (t->run == NULL)
        return;
    fold_usage_end(t->run);
    t->run = NULL;
    t->begun = false;
    fold_gate_leave(s->gate, t->gate_token);
}

static int begin_measure(struct fold_session *s, struct task *t)
{
    struct fold_usage_options opt = {.here_only = !t->value->walks,
                                     .table_chunks = t->value->walks ? 0 : TABLE_CHUNKS};
    fold_ino from = t->inode->ino;
    t->gate_token = fold_gate_enter(s->gate);
    int rc = fold_usage_begin(s->volume->store, s->volume->catalog, &from, 1, &opt, &t->row,
                              &t->usage, &t->run);
    if (rc != 0)
        fold_gate_leave(s->gate, t->gate_token);
    return rc;
}

static int measure(struct fold_session *s, struct task *t, char text[VALUE_BYTES])
{
    int rc = t->begun ? 0 : begin_measure(s, t);
    t->begun = rc == 0;
    while (rc == 0) {
        rc = fold_usage_step(t->run);
        if (rc <= 0)
            break;
        rc = fold_long_interrupted(&t->work) ? -EINTR : 0;
        if (rc == 0 && fold_long_due(&t->work))
            return MORE;
    }
    end_measure(s, t);
    if (rc == 0)
        t->value->print(&t->usage, text);
    return rc;
}

static int checksum(struct fold_session *s, struct task *t, char text[VALUE_BYTES])
{
    /* Who only asks for the length need not wait. */
    int rc = t->begun || t->size == 0 ? 0 : fold_filesum_begin(s, t->inode, &t->sum);
    t->begun = true;
    if (rc == 0 && t->size > 0)
        rc = fold_filesum_step(s, t->inode, &t->work, &t->sum);
    if (rc == FOLD_FILESUM_MORE)
        return MORE;
    if (rc == 0)
        (void)snprintf(text, VALUE_BYTES, "%08" PRIx32, t->sum.crc);
    return rc;
}

static void answer(struct task *t, int rc, const char *text)
{
    struct fold_session *s = fold_req_session(t->req);
    if (t->inode != NULL)
        fold_itable_put(s->inodes, t->inode);
    if (rc == 0 && t->size > 0 && t->size < strlen(text))
        rc = -ERANGE;
    if (rc != 0)
        fold_reply(t->req, rc == -ENOENT ? -ESTALE : rc);
    else if (t->size == 0)
        (void)fuse_reply_xattr(t->req, strlen(text));
    else
        (void)fuse_reply_buf(t->req, text, strlen(text));
    free(t);
}

static bool step(void *arg)
{
    struct task *t = arg;
    struct fold_session *s = fold_req_session(t->req);
    char text[VALUE_BYTES];
    int rc = t->inode != NULL ? 0 : prepare(s, t);
    if (rc == FOLD_TURN_WAITS)
        return true;
    if (rc == 0)
        rc = t->value->print != NULL ? measure(s, t, text) : checksum(s, t, text);
    if (rc == MORE) {
        /* Many may wait for their turns; the gate is for the one that has it. */
        if (!t->work.queued)
            end_measure(s, t);
        return false;
    }
    answer(t, rc, text);
    return true;
}

static void start(void *arg)
{
    struct task *t = arg;
    fold_long_start(fold_req_session(t->req), &t->work);
}

void fold_vxattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    const struct value *value = find(name);
    uid_t uid = fuse_req_ctx(req)->uid;
    if (value == NULL || (value->shares && uid != 0 && uid != geteuid())) {
        fold_reply(req, value == NULL ? -ENODATA : -EPERM);
        return;
    }
    struct task *t = malloc(sizeof *t);
    if (t == NULL) {
        fold_reply(req, -ENOMEM);
        return;
    }
    *t = (struct task){.turn = {.fn = start, .arg = t},
                       .work = {.step = step, .arg = t, .req = req},
                       .req = req,
                       .ino = ino,
                       .size = size,
                       .value = value};
    start(t);
}
