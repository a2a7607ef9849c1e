/* SPDX-License-Identifier: MIT */
/*
 * Steps: requests, and what they change in the model. A step that the kernel would refuse by
 * itself, or that has nothing to work on, is skipped.
 */
#include "tests/sim/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint8_t buffer[1u << 20]; /* of one write */

int sim_reply(struct sim_play *p, const char *what, int rc)
{
    if (rc >= 0)
        return 0;
    if (rc == WIRE_DEAD)
        return WIRE_DEAD;
    if (atomic_load(&p->shared->plan.fired) > 0)
        p->tainted = true;
    if (rc > WIRE_DEAD && p->tainted)
        return 1;
    if (rc == -ENOSPC && p->program->host_blocks != 0) {
        p->tainted = true;
        return 1;
    }
    const char *text = rc == WIRE_HANGS    ? "the daemon does not come back"
                       : rc == WIRE_SILENT ? "no reply"
                       : rc == WIRE_BROKEN ? "a reply of the wrong shape"
                                           : strerror(-rc);
    (void)snprintf(p->why, SIM_WHY, "%s: %s", what, text);
    return -1;
}

struct sim_handle *sim_slot(struct sim_play *p, uint64_t n)
{
    struct sim_handle *h = &p->slots[n % SIM_SLOTS];
    return h->node != NULL ? h : NULL;
}

bool sim_writable(const struct sim_handle *h)
{
    return h != NULL && (h->flags & O_ACCMODE) != O_RDONLY;
}

/* All directories, in a fixed order. */
static void gather_dirs(struct sim_node *dir, struct sim_node **list, size_t *count)
{
    if (*count < 64)
        list[(*count)++] = dir;
    for (size_t i = 0; i < dir->entry_count; i++)
        if (S_ISDIR(dir->entries[i].node->attrs.mode))
            gather_dirs(dir->entries[i].node, list, count);
}

struct sim_node *sim_dir(struct sim_play *p, uint64_t n)
{
    struct sim_node *list[64];
    size_t count = 0;
    gather_dirs(p->m.root, list, &count);
    return list[n % count];
}

/* Name number n; every eleventh is as long as names get. */
const char *sim_name(uint64_t n, char out[256])
{
    bool is_long = n % 11 == 10;
    char text[32];
    int len = snprintf(text, sizeof text, "%s%llu", is_long ? "long" : "n", (unsigned long long)n);
    memcpy(out, text, (size_t)len + 1);
    if (is_long) {
        memset(out + len, 'n', (size_t)(255 - len));
        out[255] = '\0';
    }
    return out;
}

/* The number the daemon gave it; looked up if the kernel does not have it. */
int sim_know(struct sim_play *p, struct sim_node *dir, const char *name, struct sim_node *node)
{
    struct fuse_entry_out e;
    if (node->lookups > 0 || node->opens > 0)
        return 0;
    int rc = sim_reply(p, "lookup", wire_lookup(&p->w, dir->ino, name, &e));
    if (rc == 0 && e.nodeid == 0) {
        (void)snprintf(p->why, SIM_WHY, "lookup of %s: no such name", name);
        return -1;
    }
    if (rc == 0) {
        node->ino = e.nodeid;
        node->lookups++;
    }
    return rc;
}

/* The end of an operation: its changes are in the model if it was answered with success, or if
 * nobody knows. */
int sim_finish(struct sim_play *p, int rc)
{
    uint64_t fired = atomic_load(&p->shared->plan.fired);
    if (rc == 1 || fired > p->fired_seen)
        sim_model_doubt(&p->m);
    p->fired_seen = fired;
    sim_model_end(&p->m, rc == 0 || rc == 1);
    return rc == 1 ? 0 : rc;
}

bool sim_too_far(uint64_t off, uint64_t len)
{
    return len == 0 || off > SIM_OFFSET_MOST || len > SIM_OFFSET_MOST - off;
}

/* An answered flush. */
void sim_stored(struct sim_play *p, struct sim_handle *h, int rc, size_t version)
{
    if (rc == 0)
        sim_node_commit(&p->m, h->node, version);
}

void sim_durable(struct sim_play *p, int rc)
{
    if (rc == 0)
        p->m.durable = p->m.op;
}

static void take_slot(struct sim_play *p, uint64_t n, struct sim_node *node, uint64_t fh,
                      uint32_t flags)
{
    node->opens++;
    p->slots[n % SIM_SLOTS] = (struct sim_handle){node, fh, flags};
}

static int close_slot(struct sim_play *p, struct sim_handle *h, bool flush)
{
    int rc = 0;
    if (flush) {
        sim_model_begin(&p->m);
        size_t version = h->node->version_count - 1;
        rc = sim_reply(p, "flush", wire_flush(&p->w, h->node->ino, h->fh));
        if (sim_writable(h))
            sim_stored(p, h, rc, version);
        rc = sim_finish(p, rc);
        if (rc != 0)
            return rc;
    }
    sim_model_begin(&p->m);
    rc = sim_reply(p, "release", wire_close(&p->w, h->node->ino, h->fh, h->flags));
    h->node->opens--;
    h->node = NULL;
    return sim_finish(p, rc);
}

static int step_open(struct sim_play *p, const uint64_t *a)
{
    static const uint32_t hows[] = {O_RDWR, O_RDWR | O_TRUNC, O_WRONLY, O_RDONLY, O_RDWR | O_DSYNC};
    uint32_t flags = hows[a[3] % 5];
    struct sim_node *dir = sim_dir(p, a[1]);
    char name[256];
    struct sim_entry *e = sim_entry_find(dir, sim_name(a[2], name));
    struct sim_handle *old = sim_slot(p, a[0]);
    uint64_t fh = 0;
    int rc = old != NULL ? close_slot(p, old, true) : 0;
    if (rc != 0)
        return rc;
    if (e != NULL) {
        if (!S_ISREG(e->node->attrs.mode) || (rc = sim_know(p, dir, name, e->node)) != 0)
            return rc == 1 ? 0 : rc;
        sim_model_begin(&p->m);
        rc = sim_reply(p, "open", wire_open(&p->w, e->node->ino, flags, &fh));
        if ((flags & O_TRUNC) != 0 && rc != 1 && rc != -1)
            sim_node_change(&p->m, e->node, sim_version_cut(&p->m.arena, sim_node_now(e->node), 0));
        if (rc == 0)
            take_slot(p, a[0], e->node, fh, flags);
        return sim_finish(p, rc);
    }
    if (flags == O_RDONLY)
        return 0;
    const struct sim_snapshot *before = p->m.snapshots[p->m.op];
    struct fuse_entry_out entry = {0};
    sim_model_begin(&p->m);
    rc =
        sim_reply(p, "create",
                  wire_create(&p->w, dir->ino, name, flags | O_CREAT, S_IFREG | 0644, &entry, &fh));
    struct sim_node *n = sim_node_new(&p->m, S_IFREG | 0644);
    sim_entry_add(&p->m, dir, name, n);
    n->ino = entry.nodeid;
    if (rc == 0) {
        n->lookups = 1;
        take_slot(p, a[0], n, fh, flags);
    }
    return rc == 1 ? sim_life_resolve(p, before) : sim_finish(p, rc);
}

static int step_unnamed(struct sim_play *p, const uint64_t *a)
{
    struct fuse_create_in in = {.flags = O_RDWR | O_TMPFILE, .mode = S_IFREG | 0644};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    struct sim_handle *old = sim_slot(p, a[0]);
    int rc = old != NULL ? close_slot(p, old, true) : 0;
    if (rc != 0)
        return rc;
    sim_model_begin(&p->m);
    rc = wire_call(&p->w, 51, sim_dir(p, a[1])->ino, &in, sizeof in, "", 1, NULL, 0);
    rc = sim_reply(p, "tmpfile", rc);
    if (rc == 0) {
        memcpy(&out, p->w.body, sizeof out);
        struct sim_node *n = sim_node_new(&p->m, S_IFREG | 0644);
        n->attrs.nlink = 0;
        n->ino = out.entry.nodeid;
        n->lookups = 1;
        take_slot(p, a[0], n, out.open.fh, O_RDWR);
    }
    return sim_finish(p, rc);
}

static int step_fsync(struct sim_play *p, const uint64_t *a, bool durably)
{
    struct sim_handle *h = sim_slot(p, a[0]);
    if (!sim_writable(h))
        return 0;
    sim_model_begin(&p->m);
    size_t version = h->node->version_count - 1;
    int rc = durably ? wire_fsync(&p->w, h->node->ino, h->fh, false)
                     : wire_flush(&p->w, h->node->ino, h->fh);
    rc = sim_reply(p, durably ? "fsync" : "flush", rc);
    sim_stored(p, h, rc, version);
    if (durably)
        sim_durable(p, rc);
    return sim_finish(p, rc);
}

static int step_beside(struct sim_play *p, const uint64_t *a)
{
    struct sim_handle *h = sim_slot(p, a[0]);
    if (!sim_writable(h) || sim_too_far(a[1], a[2]) || a[2] > sizeof buffer ||
        (h->flags & O_DSYNC) != 0)
        return 0;
    p->beside = *h;
    p->beside_data = (struct sim_extent){a[1], a[2], a[3] % SIM_PATTERNS, a[4], a[5]};
    p->beside_ready = true;
    return 0;
}

static int step_fsyncdir(struct sim_play *p, const uint64_t *a)
{
    struct sim_node *dir = sim_dir(p, a[0]);
    struct fuse_open_in open = {.flags = O_RDONLY | O_DIRECTORY};
    struct fuse_open_out opened;
    int rc = wire_call(&p->w, FUSE_OPENDIR, dir->ino, &open, sizeof open, NULL, 0, NULL, 0);
    rc = sim_reply(p, "opendir", rc);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    memcpy(&opened, p->w.body, sizeof opened);
    sim_model_begin(&p->m);
    rc = sim_reply(p, "fsyncdir", wire_fsync(&p->w, dir->ino, opened.fh, true));
    sim_durable(p, rc);
    rc = sim_finish(p, rc);
    struct fuse_release_in close = {.fh = opened.fh};
    if (rc == 0)
        rc = sim_reply(
            p, "releasedir",
            wire_call(&p->w, FUSE_RELEASEDIR, dir->ino, &close, sizeof close, NULL, 0, NULL, 0));
    return rc == 1 ? 0 : rc;
}

static int step_order(struct sim_play *p, enum sim_order order)
{
    static const char *const names[] = {"",       "sync",  "due",        "collect", "gc",
                                        "refold", "scrub", "checkpoint", "close"};
    sim_model_begin(&p->m);
    size_t most = p->m.op;
    int rc = sim_reply(p, names[order], wire_order(&p->w, order));
    if (order == SIM_SYNC && rc == 0) {
        sim_model_commit_all(&p->m);
        p->m.durable = most;
    }
    return sim_finish(p, rc);
}

/* The kernel drops what it knows of files that are not open. */
static int forget_below(struct sim_play *p, struct sim_node *dir)
{
    for (size_t i = 0; i < dir->entry_count; i++) {
        struct sim_node *n = dir->entries[i].node;
        struct fuse_forget_in in = {.nlookup = n->lookups};
        int rc = S_ISDIR(n->attrs.mode) ? forget_below(p, n) : 0;
        if (rc == 0 && n->lookups > 0 && n->opens == 0 && !S_ISDIR(n->attrs.mode)) {
            rc = wire_call(&p->w, FUSE_FORGET, n->ino, &in, sizeof in, NULL, 0, NULL, 0);
            n->lookups = 0;
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int step_fault(struct sim_play *p, const uint64_t *a)
{
    struct sim_plan *plan = &p->shared->plan;
    enum sim_fault f = (enum sim_fault)(a[0] % 16);
    p->cut_planned = f >= 8; /* the same, and the power goes with the process */
    f = f >= 8 ? SIM_KILL + (f & 1) : f;
    if (f == SIM_NO_FAULT || f > SIM_ENOMEM)
        return 0;
    p->cut_seed = a[2] ^ (a[0] << 32);
    p->cut_mode = a[3];
    atomic_store(&plan->fault, SIM_NO_FAULT);
    atomic_store(&plan->calls, (unsigned)(a[1] & 31));
    atomic_store(&plan->wait, a[2]);
    atomic_store(&plan->repeat, a[3] > 0 ? a[3] : 1);
    atomic_store(&plan->fault, f);
    p->expecting = f == SIM_KILL || f == SIM_KILL_HALF;
    return 0;
}

static int run(struct sim_play *p, const struct sim_step *s)
{
    const uint64_t *a = s->a;
    switch (s->kind) {
    case SIM_STEP_open:
        return step_open(p, a);
    case SIM_STEP_unnamed:
        return step_unnamed(p, a);
    case SIM_STEP_close:
        return sim_slot(p, a[0]) ? close_slot(p, sim_slot(p, a[0]), true) : 0;
    case SIM_STEP_release:
        return sim_slot(p, a[0]) ? close_slot(p, sim_slot(p, a[0]), false) : 0;
    case SIM_STEP_fsync:
        return step_fsync(p, a, true);
    case SIM_STEP_flush:
        return step_fsync(p, a, false);
    case SIM_STEP_beside:
        return step_beside(p, a);
    case SIM_STEP_fsyncdir:
        return step_fsyncdir(p, a);
    case SIM_STEP_sync:
        return step_order(p, SIM_SYNC);
    case SIM_STEP_due:
        return step_order(p, SIM_DUE);
    case SIM_STEP_collect:
        return step_order(p, SIM_COLLECT);
    case SIM_STEP_collectall:
        return step_order(p, SIM_COLLECT_ALL);
    case SIM_STEP_refold:
        return step_order(p, SIM_REFOLD);
    case SIM_STEP_scrub:
        return step_order(p, SIM_SCRUB);
    case SIM_STEP_checkpoint:
        return step_order(p, SIM_CHECKPOINT);
    case SIM_STEP_look:
        return sim_life_look(p, (unsigned)a[0]);
    case SIM_STEP_forget:
        return forget_below(p, p->m.root);
    case SIM_STEP_fault:
        return step_fault(p, a);
    case SIM_STEP_host:
        p->shared->host_free = a[0];
        return 0;
    default:
        return sim_step_content(p, s);
    }
}

/* Takes in what became of a write that was beside the step. */
static int take_beside(struct sim_play *p, int rc)
{
    const struct sim_extent *x = &p->beside_data;
    struct sim_node *n = p->beside.node;
    int result;
    if (!wire_nested(&p->w, &result))
        return rc;
    if (rc != WIRE_DEAD && sim_reply(p, "a write beside", result) == -1)
        return -1;
    sim_model_begin(&p->m);
    sim_node_change(
        &p->m, n,
        sim_version_put(&p->m.arena, sim_node_now(n), x->off, x->len, x->pattern, x->seed, x->pos));
    sim_model_end(&p->m, rc != WIRE_DEAD);
    return rc;
}

int sim_step_run(struct sim_play *p, const struct sim_step *s)
{
    bool may_nest =
        (s->kind == SIM_STEP_fsync || s->kind == SIM_STEP_flush || s->kind == SIM_STEP_sync ||
         s->kind == SIM_STEP_due || s->kind == SIM_STEP_refold || s->kind == SIM_STEP_collectall);
    bool nests = p->beside_ready && may_nest;
    p->beside_ready = p->beside_ready && s->kind == SIM_STEP_beside;
    if (nests) {
        const struct sim_extent *x = &p->beside_data;
        sim_fill(x->pattern, x->seed, x->pos, buffer, x->len);
        wire_nest(&p->w, p->beside.node->ino, p->beside.fh, x->off, buffer, (uint32_t)x->len);
    }
    int rc = run(p, s);
    return nests && rc != -1 ? take_beside(p, rc) : rc;
}
