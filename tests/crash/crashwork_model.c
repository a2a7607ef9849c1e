/* SPDX-License-Identifier: MIT */
/*
 * The sequence of operations and what each means for the state that may be seen afterwards.
 *
 * Every content operation adds a version to its object, every name operation a binding to its
 * names. `must` of an object is raised by the acknowledgement of a sync (and of a close, where only
 * the daemon dies). Names are a history of which any prefix, not older than `floor`, may be seen.
 */
#include "tests/crash/crashwork.h"
#include "tests/support/grow.h"
#include "tests/support/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t chance(struct cw_model *m, uint64_t n)
{
    return (rig_random_mixed(&m->random) >> 20) % n;
}

void cw_start(struct cw_model *m, uint64_t seed)
{
    m->random = seed * 0x9e3779b97f4a7c15u + 88172645463325252u;
    for (int i = 0; i < CW_HANDLES; i++) {
        m->handles[i].obj = -1;
    }
}

int cw_lookup(const struct cw_model *m, int name)
{
    const struct cw_name *n = &m->names[name];
    return n->count ? n->list[n->count - 1].obj : -1;
}

void cw_path(const char *top, int name, char out[4096])
{
    snprintf(out, 4096, "%s/d%d/f%d", top, name % CW_DIRS, name);
}

void cw_dir_path(const char *top, int dir, char out[4096])
{
    snprintf(out, 4096, "%s/d%d", top, dir);
}

void cw_content(const struct cw_op *op, uint8_t *out)
{
    uint64_t kind = op->content % 5;
    uint64_t v = kind < 2 ? op->content % 97 : op->content; /* some contents come again and again */
    for (uint32_t i = 0; i < op->len; i++) {
        if (i % 8 == 0) {
            v = v * 6364136223846793005u + 1442695040888963407u;
        }
        out[i] = kind == 4 ? (uint8_t)('a' + (v >> 40) % 4) : (uint8_t)(v >> (24 + i % 8));
        out[i] = (uint8_t)(out[i] | 1); /* never zero: a zero is a byte that was not written */
    }
}

static int any_name(struct cw_model *m, bool bound)
{
    int first = (int)chance(m, CW_NAMES);
    for (int i = 0; i < CW_NAMES; i++) {
        int name = (first + i) % CW_NAMES;
        if ((cw_lookup(m, name) >= 0) == bound) {
            return name;
        }
    }
    return -1;
}

static int any_handle(struct cw_model *m, bool open)
{
    int first = (int)chance(m, CW_HANDLES);
    for (int i = 0; i < CW_HANDLES; i++) {
        int h = (first + i) % CW_HANDLES;
        if ((m->handles[h].obj >= 0) == open) {
            return h;
        }
    }
    return -1;
}

static uint64_t size_of(const struct cw_model *m, int obj)
{
    const struct cw_object *o = &m->objects[obj];
    return o->versions[o->count - 1].size;
}

static void fill_write(struct cw_model *m, struct cw_op *op)
{
    uint64_t size = size_of(m, m->handles[op->h].obj);
    op->kind = CW_WRITE;
    static const unsigned longest[] = {60, 400, 6000, 6000, 6000, 60000, 60000};
    op->len = (uint32_t)(1 + chance(m, longest[chance(m, sizeof longest / sizeof longest[0])]));
    op->off = chance(m, 3) ? size : chance(m, size + 5000); /* mostly appends */
    if (op->off + op->len > CW_SIZE) {
        op->off = chance(m, CW_SIZE - op->len);
    }
}

/* An operation on a handle; false if none is open. */
static bool handle_op(struct cw_model *m, struct cw_op *op)
{
    op->h = any_handle(m, true);
    if (op->h < 0) {
        return false;
    }
    uint64_t size = size_of(m, m->handles[op->h].obj);
    uint64_t kind = chance(m, 100);
    if (kind < 50) {
        fill_write(m, op);
    } else if (kind < 55) {
        op->kind = CW_TRUNCATE;
        op->off = chance(m, chance(m, 2) ? size + 1 : CW_SIZE);
    } else if (kind < 59) {
        op->kind = CW_PUNCH;
        op->off = chance(m, size + 1);
        op->len = (uint32_t)(1 + chance(m, 30000));
    } else if (kind < 64) {
        op->a = any_name(m, true);
        int from = op->a >= 0 ? cw_lookup(m, op->a) : -1;
        op->kind = CW_COPY;
        if (from < 0 || from == m->handles[op->h].obj || size_of(m, from) == 0) {
            fill_write(m, op);
            return true;
        }
        op->from = chance(m, size_of(m, from));
        op->len = (uint32_t)(1 + chance(m, size_of(m, from) - op->from));
        op->off = chance(m, CW_SIZE - op->len + 1);
    } else if (kind < 74) {
        op->kind = kind < 70 ? CW_FSYNC : CW_FDATASYNC;
    } else {
        op->kind = CW_CLOSE;
    }
    return true;
}

void cw_next(struct cw_model *m, struct cw_op *op)
{
    memset(op, 0, sizeof *op);
    op->content = chance(m, 1u << 30);
    if (m->ops < CW_DIRS) {
        op->kind = CW_MKDIR;
        op->a = (int)m->ops;
        return;
    }
    for (;;) {
        uint64_t kind = chance(m, 100);
        op->h = any_handle(m, false);
        op->a = any_name(m, true);
        op->b = any_name(m, chance(m, 2) == 0);
        if (kind < 12 && op->h >= 0 && (op->b = any_name(m, false)) >= 0) {
            op->kind = CW_CREATE;
            op->sync = chance(m, 8) == 0;
        } else if (kind >= 12 && kind < 22 && op->h >= 0 && op->a >= 0) {
            op->kind = CW_OPEN;
            op->trunc = chance(m, 3) == 0;
            op->sync = chance(m, 8) == 0;
        } else if (kind >= 22 && kind < 84) {
            if (!handle_op(m, op)) {
                continue;
            }
        } else if (kind >= 84 && kind < 92 && op->a >= 0 && op->b >= 0 && op->a != op->b &&
                   cw_lookup(m, op->a) != cw_lookup(m, op->b)) {
            op->kind = CW_RENAME;
        } else if (kind >= 92 && kind < 95 && op->a >= 0) {
            op->kind = CW_UNLINK;
        } else if (kind >= 95 && kind < 97 && op->a >= 0 && (op->b = any_name(m, false)) >= 0) {
            op->kind = CW_LINK;
        } else if (kind >= 97) {
            op->kind = CW_FSYNCDIR;
            op->a = (int)chance(m, CW_DIRS);
        } else {
            continue;
        }
        return;
    }
}

static struct cw_version *add_version(struct cw_model *m, int obj, uint64_t size)
{
    struct cw_object *o = &m->objects[obj];
    o->versions = rig_grow(o->versions, o->count, sizeof o->versions[0]);
    struct cw_version *v = &o->versions[o->count++];
    *v = (struct cw_version){.size = size, .op = m->ops, .group = o->group};
    if (m->contents) {
        v->data = calloc(1, size + 1);
        if (!v->data) {
            abort();
        }
        if (o->count > 1) {
            const struct cw_version *old = v - 1;
            memcpy(v->data, old->data, old->size < size ? old->size : size);
        }
    }
    return v;
}

static void bind(struct cw_model *m, int name, int obj, unsigned version)
{
    struct cw_name *n = &m->names[name];
    n->list = rig_grow(n->list, n->count, sizeof n->list[0]);
    n->list[n->count++] = (struct cw_binding){obj, m->ops, version};
    if (obj >= 0) {
        m->objects[obj].named = m->ops;
    }
}

static void begin_content(struct cw_model *m, const struct cw_op *op)
{
    int obj = m->handles[op->h].obj;
    /* Ranges are punched and copied in what is stored, so all that was written before is: a rewrite
     * that does such things is more than one step. */
    if (op->kind == CW_PUNCH || op->kind == CW_COPY) {
        m->objects[obj].group = 0;
    }
    if (op->kind == CW_COPY) {
        m->objects[cw_lookup(m, op->a)].group = 0;
    }
    uint64_t size = size_of(m, obj);
    uint64_t end = op->off + op->len;
    struct cw_version *v;
    switch (op->kind) {
    case CW_WRITE:
        v = add_version(m, obj, end > size ? end : size);
        if (m->contents) {
            cw_content(op, v->data + op->off);
        }
        break;
    case CW_COPY:
        v = add_version(m, obj, end > size ? end : size);
        if (m->contents) {
            const struct cw_object *from = &m->objects[cw_lookup(m, op->a)];
            memcpy(v->data + op->off, from->versions[from->count - 1].data + op->from, op->len);
        }
        break;
    case CW_TRUNCATE:
        add_version(m, obj, op->off);
        break;
    default:
        v = add_version(m, obj, size);
        if (m->contents && op->off < size) {
            memset(v->data + op->off, 0, end < size ? op->len : size - op->off);
        }
        break;
    }
}

static void begin_open(struct cw_model *m, const struct cw_op *op)
{
    int obj = op->kind == CW_OPEN ? cw_lookup(m, op->a) : m->object_count;
    m->handles[op->h] = (struct cw_handle){obj, op->sync};
    if (op->kind == CW_CREATE) {
        if (m->object_count++ == CW_OBJECTS) {
            abort();
        }
        add_version(m, obj, 0);
        bind(m, op->b, obj, 0);
    } else if (op->trunc) {
        if (size_of(m, obj) > 0 && !m->objects[obj].group) {
            m->objects[obj].group = ++m->group_count;
            m->groups_open[m->group_count % CW_OBJECTS] = true;
        }
        add_version(m, obj, 0);
    }
}

void cw_begin(struct cw_model *m, const struct cw_op *op)
{
    int from = op->kind == CW_RENAME || op->kind == CW_LINK ? cw_lookup(m, op->a) : -1;
    switch (op->kind) {
    case CW_CREATE:
    case CW_OPEN:
        begin_open(m, op);
        break;
    case CW_WRITE:
    case CW_TRUNCATE:
    case CW_PUNCH:
    case CW_COPY:
        begin_content(m, op);
        break;
    case CW_RENAME:
        bind(m, op->b, from, cw_lookup(m, op->b) >= 0 ? m->objects[from].count - 1 : 0);
        m->objects[from].group = 0; /* what replaced another file may be seen as it was then */
        bind(m, op->a, -1, 0);
        break;
    case CW_LINK:
        bind(m, op->b, from, 0);
        break;
    case CW_UNLINK:
        bind(m, op->a, -1, 0);
        break;
    default:
        break;
    }
    m->ops++;
}

static void raise(struct cw_model *m, int obj)
{
    struct cw_object *o = &m->objects[obj];
    o->must = o->count - 1;
    o->group = 0; /* what is durable may be seen, in the middle of a rewrite too */
    if (m->floor <= o->named) {
        m->floor = o->named + 1;
    }
}

void cw_ack(struct cw_model *m, const struct cw_op *op)
{
    struct cw_handle *h = op->h >= 0 ? &m->handles[op->h] : NULL; /* names have none */
    switch (op->kind) {
    case CW_FSYNC:
    case CW_FDATASYNC:
        raise(m, h->obj);
        break;
    case CW_WRITE:
        if (h->sync) {
            raise(m, h->obj);
        }
        break;
    case CW_CLOSE:
        if (!m->power) {
            raise(m, h->obj);
        }
        m->groups_open[m->objects[h->obj].group % CW_OBJECTS] = false;
        m->objects[h->obj].group = 0;
        h->obj = -1;
        break;
    case CW_FSYNCDIR:
        m->floor = m->ops;
        break;
    default:
        break;
    }
    if (!m->power) {
        m->floor = m->ops;
    }
}

void cw_settle(struct cw_model *m)
{
    m->floor = m->ops;
    for (int i = 0; i < m->object_count; i++) {
        if (!m->objects[i].group) {
            m->objects[i].must = m->objects[i].count - 1;
        }
    }
}
