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
#include "fs/session.h"
#include "fs/turn.h"
#include "meta/base/gate.h"
#include "meta/base/workers.h"
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

struct task {
    struct fold_turn turn;
    fuse_req_t req;
    fuse_ino_t ino;
    size_t size;
    const struct value *value;
};

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

static int measure(struct fold_session *s, const struct task *t, struct fold_inode *inode,
                   char text[VALUE_BYTES])
{
    struct fold_usage_options opt = {.here_only = !t->value->walks};
    struct fold_usage row, usage;
    fold_ino from = inode->ino;
    unsigned token = fold_gate_enter(s->gate);
    int rc = fold_usage_measure(s->volume->store, s->volume->catalog, &from, 1, &opt, &row, &usage);
    fold_gate_leave(s->gate, token);
    if (rc == 0)
        t->value->print(&usage, text);
    return rc;
}

static int checksum(struct fold_session *s, const struct task *t, struct fold_inode *inode,
                    char text[VALUE_BYTES])
{
    uint32_t crc = 0;
    /* Who only asks for the length need not wait. */
    int rc = t->size > 0 ? fold_filesum_crc32(s, inode, t->req, &crc) : 0;
    if (rc == 0)
        (void)snprintf(text, VALUE_BYTES, "%08" PRIx32, crc);
    return rc;
}

/* FOLD_TURN_WAITS: the request was left waiting for a flush of the file (fs/turn.h). */
static int find_out(struct fold_session *s, struct task *t, char text[VALUE_BYTES])
{
    struct fold_inode *inode;
    int rc = fold_itable_get(s->inodes, t->ino, &inode);
    if (rc != 0)
        return rc;
    if (!S_ISREG(inode->type))
        rc = -ENODATA;
    else if (!s->opt.read_only && (t->value->print != NULL || t->size > 0))
        rc = fold_flush_in_turn(s, inode, &t->turn);
    if (rc != 0) {
        fold_itable_put(s->inodes, inode);
        return rc;
    }
    if (t->value->print != NULL)
        rc = measure(s, t, inode, text);
    else
        rc = checksum(s, t, inode, text);
    fold_itable_put(s->inodes, inode);
    return rc == -ENOENT ? -ESTALE : rc;
}

static void answer(void *arg)
{
    struct task *t = arg;
    char text[VALUE_BYTES];
    int rc = find_out(fold_req_session(t->req), t, text);
    if (rc == FOLD_TURN_WAITS)
        return;
    if (rc == 0 && t->size > 0 && t->size < strlen(text))
        rc = -ERANGE;
    if (rc != 0)
        fold_reply(t->req, rc);
    else if (t->size == 0)
        (void)fuse_reply_xattr(t->req, strlen(text));
    else
        (void)fuse_reply_buf(t->req, text, strlen(text));
    free(t);
}

void fold_vxattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct fold_session *s = fold_req_session(req);
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
    *t = (struct task){{.fn = answer, .arg = t}, req, ino, size, value};
    if (fold_workers_submit(s->workers, answer, t) != 0)
        answer(t);
}
