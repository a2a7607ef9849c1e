/* SPDX-License-Identifier: MIT */
/*
 * Steps about the content of open files.
 */
#include "tests/sim/steps.h"

#include "tests/support/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uint8_t buffer[1u << 20]; /* of one request */

/* One write request. */
static int put(struct sim_play *p, struct sim_handle *h, uint64_t off, uint64_t len,
               enum sim_pattern pattern, uint64_t seed, uint64_t pos)
{
    sim_fill(pattern, seed, pos, buffer, len);
    sim_model_begin(&p->m);
    int n = wire_write(&p->w, h->node->ino, h->fh, off, buffer, (uint32_t)len, h->flags);
    int rc = sim_reply(p, "write", n);
    if (rc == 0 && (uint64_t)n != len) {
        (void)snprintf(p->why, SIM_WHY, "write: %d of %llu bytes", n, (unsigned long long)len);
        return -1;
    }
    if (rc != -1)
        sim_node_change(
            &p->m, h->node,
            sim_version_put(&p->m.arena, sim_node_now(h->node), off, len, pattern, seed, pos));
    if ((h->flags & O_DSYNC) != 0) {
        sim_stored(p, h, rc, h->node->version_count - 1);
        sim_durable(p, rc);
    }
    return sim_finish(p, rc);
}

static int step_write(struct sim_play *p, const uint64_t *a)
{
    struct sim_handle *h = sim_slot(p, a[0]);
    uint64_t off = a[1], left = a[2], pos = a[5];
    if (!sim_writable(h) || sim_too_far(off, left) || left > 16u << 20)
        return 0;
    while (left > 0) { /* as the kernel splits it */
        uint64_t n = left < sizeof buffer ? left : sizeof buffer;
        int rc = put(p, h, off, n, a[3] % SIM_PATTERNS, a[4], pos);
        if (rc != 0)
            return rc;
        off += n;
        pos += n;
        left -= n;
    }
    return 0;
}

/* Many small writes that leave gaps, or not. */
static int step_scatter(struct sim_play *p, const uint64_t *a)
{
    struct sim_handle *h = sim_slot(p, a[0]);
    uint64_t count = a[3] % 1024, len = a[2] % 65536, order = a[4] % 4, state = a[5] | 1;
    uint64_t gap = order == 3 ? len * 3 : len;
    uint64_t index[1024];
    if (!sim_writable(h) || len == 0 || sim_too_far(a[1], gap * (count + 1)))
        return 0;
    for (uint64_t i = 0; i < count; i++)
        index[i] = order == 1 ? count - 1 - i : i;
    for (uint64_t i = count; order == 2 && i > 1; i--) {
        uint64_t k = rig_random_mixed(&state) % i, t = index[i - 1];
        index[i - 1] = index[k];
        index[k] = t;
    }
    for (uint64_t i = 0; i < count; i++) {
        int rc = put(p, h, a[1] + index[i] * gap, len, SIM_RANDOM, a[5] + index[i] % 5, 0);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int step_read(struct sim_play *p, const uint64_t *a)
{
    struct sim_handle *h = sim_slot(p, a[0]);
    uint32_t len = (uint32_t)(a[2] % (sizeof buffer + 1));
    if (h == NULL || (h->flags & O_ACCMODE) == O_WRONLY || sim_too_far(a[1], len))
        return 0;
    int n = wire_read(&p->w, h->node->ino, h->fh, a[1], len);
    int rc = sim_reply(p, "read", n);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    const struct sim_version *v = sim_node_now(h->node);
    uint64_t there = v->size > a[1] ? v->size - a[1] : 0;
    if (sim_tainted(p))
        return 0;
    if ((uint64_t)n != (there < len ? there : len)) {
        (void)snprintf(p->why, SIM_WHY, "read at %llu: %d bytes of a file of %llu",
                       (unsigned long long)a[1], n, (unsigned long long)v->size);
        return -1;
    }
    sim_version_read(v, a[1], buffer, (size_t)n);
    for (int i = 0; i < n; i++)
        if (buffer[i] != p->w.body[i]) {
            (void)snprintf(p->why, SIM_WHY, "read: the byte at %llu is %02x, not %02x",
                           (unsigned long long)a[1] + (unsigned)i, p->w.body[i], buffer[i]);
            return -1;
        }
    return 0;
}

static int step_size(struct sim_play *p, const uint64_t *a)
{
    struct sim_handle *h = sim_slot(p, a[0]);
    if (!sim_writable(h) || a[1] > SIM_OFFSET_MOST)
        return 0;
    struct fuse_setattr_in in = {.valid = FATTR_SIZE | FATTR_FH, .size = a[1], .fh = h->fh};
    sim_model_begin(&p->m);
    int rc = sim_reply(p, "truncate", wire_setattr(&p->w, h->node->ino, &in));
    if (rc != -1)
        sim_node_change(&p->m, h->node, sim_version_cut(&p->m.arena, sim_node_now(h->node), a[1]));
    return sim_finish(p, rc);
}

static int step_range(struct sim_play *p, const uint64_t *a)
{
    static const uint32_t modes[] = {
        0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
        FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    struct sim_handle *h = sim_slot(p, a[0]);
    uint32_t mode = modes[a[1] % 5];
    bool punches = (mode & FALLOC_FL_PUNCH_HOLE) != 0;
    if (!sim_writable(h) || sim_too_far(a[2], a[3]) || (!punches && a[3] > 16u << 20))
        return 0;
    struct fuse_fallocate_in in = {.fh = h->fh, .offset = a[2], .length = a[3], .mode = mode};
    sim_model_begin(&p->m);
    int rc = wire_call(&p->w, FUSE_FALLOCATE, h->node->ino, &in, sizeof in, NULL, 0, NULL, 0);
    rc = sim_reply(p, "fallocate", rc);
    struct sim_version v = *sim_node_now(h->node);
    if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0)
        v = sim_version_punch(&p->m.arena, &v, a[2], a[3]);
    if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && v.size < a[2] + a[3])
        v.size = a[2] + a[3];
    if (rc != -1)
        sim_node_change(&p->m, h->node, v);
    return sim_finish(p, rc);
}

/* All bytes of [from, end) are zeros. */
static bool all_zero(const struct sim_version *v, uint64_t from, uint64_t end)
{
    static uint8_t part[65536];
    for (size_t i = 0; i < v->count; i++) {
        uint64_t at = v->x[i].off > from ? v->x[i].off : from;
        uint64_t stop = v->x[i].off + v->x[i].len < end ? v->x[i].off + v->x[i].len : end;
        while (at < stop) {
            size_t n = stop - at < sizeof part ? (size_t)(stop - at) : sizeof part;
            sim_version_read(v, at, part, n);
            for (size_t k = 0; k < n; k++)
                if (part[k] != 0)
                    return false;
            at += n;
        }
    }
    return true;
}

static int step_seek(struct sim_play *p, const uint64_t *a)
{
    struct sim_handle *h = sim_slot(p, a[0]);
    bool data = a[2] % 2 == 0;
    if (h == NULL || a[1] > SIM_OFFSET_MOST)
        return 0;
    struct fuse_lseek_in in = {.fh = h->fh, .offset = a[1], .whence = data ? SEEK_DATA : SEEK_HOLE};
    struct fuse_lseek_out out = {0};
    int rc = wire_call(&p->w, FUSE_LSEEK, h->node->ino, &in, sizeof in, NULL, 0, NULL, 0);
    const struct sim_version *v = sim_node_now(h->node);
    bool none = rc == -ENXIO;
    rc = none ? 0 : sim_reply(p, "lseek", rc);
    if (rc != 0 || sim_tainted(p))
        return rc == 1 ? 0 : rc;
    if (!none)
        memcpy(&out, p->w.body, sizeof out);
    uint64_t at = out.offset;
    bool right;
    if (none)
        right = a[1] >= v->size || (data && all_zero(v, a[1], v->size));
    else if (data)
        right = at >= a[1] && at < v->size && all_zero(v, a[1], at);
    else
        right = at >= a[1] && at <= v->size && a[1] < v->size &&
                all_zero(v, at, at - at % 4096 + 4096 < v->size ? at - at % 4096 + 4096 : v->size);
    if (right)
        return 0;
    (void)snprintf(p->why, SIM_WHY, "lseek(%llu, SEEK_%s): %s%llu; size %llu",
                   (unsigned long long)a[1], data ? "DATA" : "HOLE", none ? "none, " : "",
                   (unsigned long long)at, (unsigned long long)v->size);
    return -1;
}

static int step_copy(struct sim_play *p, const uint64_t *a)
{
    struct sim_handle *from = sim_slot(p, a[0]), *to = sim_slot(p, a[2]);
    if (from == NULL || !sim_writable(to) || (from->flags & O_ACCMODE) == O_WRONLY ||
        sim_too_far(a[1], a[4]) || sim_too_far(a[3], a[4]))
        return 0;
    if (from->node->doubt != SIZE_MAX)
        return 0; /* what would be copied is not known */
    const struct sim_version *source = sim_node_now(from->node);
    uint64_t len = a[1] < source->size ? source->size - a[1] : 0;
    len = len < a[4] ? len : a[4];
    if (from->node == to->node && a[1] < a[3] + len && a[3] < a[1] + len)
        return 0;
    struct fuse_copy_file_range_in in = {.fh_in = from->fh,
                                         .off_in = a[1],
                                         .nodeid_out = to->node->ino,
                                         .fh_out = to->fh,
                                         .off_out = a[3],
                                         .len = a[4]};
    struct fuse_write_out out = {0};
    sim_model_begin(&p->m);
    int rc =
        wire_call(&p->w, FUSE_COPY_FILE_RANGE, from->node->ino, &in, sizeof in, NULL, 0, NULL, 0);
    rc = sim_reply(p, "copy_file_range", rc);
    if (rc == 0) {
        memcpy(&out, p->w.body, sizeof out);
        if (out.size != len && !sim_tainted(p)) {
            (void)snprintf(p->why, SIM_WHY, "copy_file_range: %u bytes of %llu", out.size,
                           (unsigned long long)len);
            return -1;
        }
        len = out.size;
    }
    if (rc != -1)
        sim_node_change(
            &p->m, to->node,
            sim_version_copy(&p->m.arena, sim_node_now(to->node), a[3], source, a[1], len));
    return sim_finish(p, rc);
}

int sim_step_content(struct sim_play *p, const struct sim_step *s)
{
    const uint64_t *a = s->a;
    switch (s->kind) {
    case SIM_STEP_write:
        return step_write(p, a);
    case SIM_STEP_scatter:
        return step_scatter(p, a);
    case SIM_STEP_read:
        return step_read(p, a);
    case SIM_STEP_size:
        return step_size(p, a);
    case SIM_STEP_range:
        return step_range(p, a);
    case SIM_STEP_seek:
        return step_seek(p, a);
    case SIM_STEP_copy:
        return step_copy(p, a);
    default:
        return sim_step_names(p, s);
    }
}
