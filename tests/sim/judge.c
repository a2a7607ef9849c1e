/* SPDX-License-Identifier: MIT */
/*
 * A file that is large because of holes is read where there is, was or may be something; the rest
 * of its holes is not read.
 */
#include "tests/sim/judge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ALL_BYTES  (2u << 20) /* files up to this size are read whole */
#define MARGIN     4096u      /* around an extent that is read, too */
#define READ_BYTES (1u << 20)

static int say(char *why, const char *path, const char *what, uint64_t a, uint64_t b)
{
    (void)snprintf(why, SIM_WHY, "%.300s: %s (%llu, %llu)", path, what, (unsigned long long)a,
                   (unsigned long long)b);
    return -1;
}

/* An error reply of a request that must not fail. */
static int failed(char *why, const char *path, const char *what, int rc)
{
    if (rc <= WIRE_DEAD)
        return rc;
    (void)snprintf(why, SIM_WHY, "%.300s: %s: %s", path, what, strerror(-rc));
    return -1;
}

/* The names in a directory, sorted. */
struct names {
    char **list;
    size_t count;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int take_entries(struct wire *w, struct sim_arena *a, bool plus, uint64_t *off,
                        struct names *out)
{
    const uint8_t *at = w->body, *end = w->body + w->body_len;
    size_t lead = plus ? sizeof(struct fuse_entry_out) : 0;
    while (at < end) {
        struct fuse_dirent d;
        char name[256];
        if ((size_t)(end - at) < lead + FUSE_NAME_OFFSET)
            return WIRE_BROKEN;
        memcpy(&d, at + lead, FUSE_NAME_OFFSET);
        if (d.namelen > 255 || (size_t)(end - at) < lead + FUSE_NAME_OFFSET + d.namelen)
            return WIRE_BROKEN;
        memcpy(name, at + lead + FUSE_NAME_OFFSET, d.namelen);
        name[d.namelen] = '\0';
        at += FUSE_REC_ALIGN(lead + FUSE_NAME_OFFSET + d.namelen);
        *off = d.off;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        out->list = sim_grow(a, out->list, out->count, sizeof *out->list);
        out->list[out->count++] = sim_text(a, name);
    }
    return 0;
}

static int list(struct wire *w, struct sim_arena *a, uint64_t dir, unsigned how, struct names *out)
{
    struct fuse_open_in open = {.flags = O_RDONLY | O_DIRECTORY};
    struct fuse_open_out opened;
    int rc = wire_call(w, FUSE_OPENDIR, dir, &open, sizeof open, NULL, 0, NULL, 0);
    if (rc != 0)
        return rc;
    if (w->body_len < sizeof opened)
        return WIRE_BROKEN;
    memcpy(&opened, w->body, sizeof opened);
    struct fuse_read_in in = {.fh = opened.fh, .size = how & 2 ? 4096 : 512};
    bool plus = (how & 1) != 0;
    do {
        rc = wire_call(w, plus ? FUSE_READDIRPLUS : FUSE_READDIR, dir, &in, sizeof in, NULL, 0,
                       NULL, 0);
        if (rc == 0 && w->body_len > 0)
            rc = take_entries(w, a, plus, &in.offset, out);
    } while (rc == 0 && w->body_len > 0);
    struct fuse_release_in close = {.fh = opened.fh};
    int closed = wire_call(w, FUSE_RELEASEDIR, dir, &close, sizeof close, NULL, 0, NULL, 0);
    if (out->count > 0)
        qsort(out->list, out->count, sizeof *out->list, by_name);
    return rc != 0 ? rc : closed;
}

static int look_xattrs(struct wire *w, uint64_t ino, char out[SIM_XATTRS * 64])
{
    struct fuse_getxattr_in in = {.size = 4096};
    char names[4096], text[64];
    int rc = wire_call(w, FUSE_LISTXATTR, ino, &in, sizeof in, NULL, 0, NULL, 0);
    if (rc != 0)
        return rc;
    size_t len = w->body_len;
    memcpy(names, w->body, len);
    out[0] = '\0';
    for (size_t k = 0; k < SIM_XATTRS; k++) {
        char name[16];
        bool listed = false;
        (void)snprintf(name, sizeof name, "user.x%zu", k);
        for (size_t i = 0; i < len; i += strlen(names + i) + 1)
            listed = listed || strcmp(names + i, name) == 0;
        if (!listed)
            continue;
        in.size = 65536;
        rc = wire_call(w, FUSE_GETXATTR, ino, &in, sizeof in, name, strlen(name) + 1, NULL, 0);
        if (rc != 0)
            return rc;
        sim_xattr_text(text, k, w->body, w->body_len);
        (void)snprintf(out + strlen(out), SIM_XATTRS * 64 - strlen(out), "%s", text);
    }
    return 0;
}

/* One name: its line of text. */
static int look_at(struct wire *w, struct sim_view *v, uint64_t dir, const char *path,
                   struct sim_sight *sight, char **line, char *why)
{
    struct fuse_entry_out e;
    char xattrs[SIM_XATTRS * 64], *target = NULL;
    int rc = wire_lookup(w, dir, strrchr(path, '/') + 1, &e);
    if (rc == 0 && e.nodeid == 0)
        rc = -ENOENT;
    if (rc != 0)
        return failed(why, path, "listed, but looked up", rc);
    rc = look_xattrs(w, e.nodeid, xattrs);
    if (rc != 0)
        return failed(why, path, "extended attributes", rc);
    if (S_ISLNK(e.attr.mode)) {
        rc = wire_call(w, FUSE_READLINK, e.nodeid, NULL, 0, NULL, 0, NULL, 0);
        if (rc != 0)
            return failed(why, path, "readlink", rc);
        target = sim_alloc(v->arena, w->body_len + 1);
        memcpy(target, w->body, w->body_len);
    }
    size_t label = v->count;
    for (size_t i = 0; i < v->count; i++)
        if (v->sights[i].ino == e.nodeid) {
            label = i;
            break;
        }
    struct sim_attrs attrs = {
        .mode = e.attr.mode, .nlink = e.attr.nlink, .uid = e.attr.uid, .rdev = e.attr.rdev};
    *line = sim_item_text(v->arena, path, &attrs, xattrs, target, label);
    *sight = (struct sim_sight){.path = sim_text(v->arena, path),
                                .ino = e.nodeid,
                                .size = e.attr.size,
                                .mode = e.attr.mode};
    return 0;
}

struct walk {
    struct sim_view *view;
    char **lines;
    unsigned how;
};

static int walk_below(struct wire *w, struct walk *k, uint64_t dir, const char *path, char *why)
{
    struct sim_view *v = k->view;
    struct names names = {0};
    int rc = list(w, v->arena, dir, k->how, &names);
    if (rc != 0)
        return failed(why, path, "listing", rc);
    for (size_t i = 0; i < names.count; i++) {
        char full[4096];
        (void)snprintf(full, sizeof full, "%s/%s", path, names.list[i]);
        v->sights = sim_grow(v->arena, v->sights, v->count, sizeof *v->sights);
        k->lines = sim_grow(v->arena, k->lines, v->count, sizeof *k->lines);
        rc = look_at(w, v, dir, full, &v->sights[v->count], &k->lines[v->count], why);
        if (rc != 0)
            return rc;
        struct sim_sight *s = &v->sights[v->count++];
        if (S_ISDIR(s->mode) && strlen(full) > 2000)
            return say(why, path, "directories without end", 0, 0);
        if (S_ISDIR(s->mode) && (rc = walk_below(w, k, s->ino, full, why)) != 0)
            return rc;
    }
    return 0;
}

int sim_look(struct wire *w, struct sim_arena *a, unsigned how, struct sim_view *out, char *why)
{
    struct walk k = {.view = out, .how = how};
    *out = (struct sim_view){.arena = a};
    int rc = walk_below(w, &k, 1, "", why);
    if (rc != 0)
        return rc;
    size_t total = 1;
    for (size_t i = 0; i < out->count; i++)
        total += strlen(k.lines[i]);
    char *to = out->text = sim_alloc(a, total);
    for (size_t i = 0; i < out->count; i++) {
        size_t len = strlen(k.lines[i]);
        memcpy(to, k.lines[i], len);
        to += len;
    }
    return 0;
}

static void add_region(struct sim_arena *a, struct sim_sight *s, uint64_t from, uint64_t end)
{
    end = end < s->size ? end : s->size;
    if (from >= end)
        return;
    s->regions = sim_grow(a, s->regions, s->region_count, sizeof *s->regions);
    s->regions[s->region_count++] = (struct sim_region){.off = from, .len = end - from};
}

static int by_offset(const void *a, const void *b)
{
    const struct sim_region *x = a, *y = b;
    return (x->off > y->off) - (x->off < y->off);
}

/* Which parts to read. */
static void plan_regions(struct sim_arena *a, struct sim_sight *s, const struct sim_node *node,
                         size_t first)
{
    s->region_count = 0;
    if (s->size <= ALL_BYTES || node == NULL) {
        add_region(a, s, 0, s->size < 64u << 20 ? s->size : 64u << 20);
        return;
    }
    add_region(a, s, 0, MARGIN);
    add_region(a, s, s->size - MARGIN, s->size);
    for (size_t k = first; k < node->version_count; k++)
        for (size_t i = 0; i < node->versions[k].count; i++) {
            const struct sim_extent *x = &node->versions[k].x[i];
            uint64_t from = x->off > MARGIN ? x->off - MARGIN : 0;
            add_region(a, s, from, x->off + x->len + MARGIN);
        }
    qsort(s->regions, s->region_count, sizeof *s->regions, by_offset);
    size_t n = 0;
    for (size_t i = 1; i < s->region_count; i++) {
        struct sim_region *r = &s->regions[n], *next = &s->regions[i];
        uint64_t end = next->off + next->len;
        if (next->off <= r->off + r->len)
            r->len = end > r->off + r->len ? end - r->off : r->len;
        else
            s->regions[++n] = *next;
    }
    s->region_count = n + 1;
}

int sim_look_inside(struct wire *w, struct sim_arena *a, struct sim_sight *s,
                    const struct sim_node *node, size_t first, uint64_t fh, char *why)
{
    bool opened = fh == UINT64_MAX;
    int rc = opened ? wire_open(w, s->ino, O_RDONLY | O_NOATIME, &fh) : 0;
    if (rc != 0)
        return failed(why, s->path, "open", rc);
    plan_regions(a, s, node, first);
    for (size_t i = 0; i < s->region_count; i++) {
        struct sim_region *r = &s->regions[i];
        r->bytes = sim_alloc(a, r->len);
        for (uint64_t at = 0; at < r->len;) {
            uint32_t want = r->len - at < READ_BYTES ? (uint32_t)(r->len - at) : READ_BYTES;
            int n = wire_read(w, s->ino, fh, r->off + at, want);
            if (n < 0) {
                (void)snprintf(why, SIM_WHY, "at %llu", (unsigned long long)(r->off + at));
                return failed(why, s->path, "read", n);
            }
            if ((uint32_t)n != want)
                return say(why, s->path, "a short read: offset, bytes", r->off + at, (uint64_t)n);
            memcpy(r->bytes + at, w->body, want);
            at += want;
        }
    }
    rc = opened ? wire_close(w, s->ino, fh, O_RDONLY | O_NOATIME) : 0;
    return rc != 0 ? failed(why, s->path, "close", rc) : 0;
}

int sim_judge_exact(const struct sim_sight *s, const struct sim_node *node, char *why)
{
    return sim_judge_mixed(s, node, node->version_count - 1, node->version_count, why);
}

/* One region, in pieces. */
static int judge_region(const struct sim_sight *s, const struct sim_region *r,
                        const struct sim_node *node, size_t first, size_t end, char *why)
{
    static uint8_t is[65536], may[65536];
    for (uint64_t at = 0; at < r->len;) {
        size_t n = r->len - at < sizeof is ? (size_t)(r->len - at) : sizeof is;
        const uint8_t *got = r->bytes + at;
        bool fits = false;
        memset(may, 0, n);
        for (size_t v = end; !fits && v > first; v--) {
            sim_version_read(&node->versions[v - 1], r->off + at, is, n);
            fits = memcmp(is, got, n) == 0;
            for (size_t i = 0; !fits && i < n; i++)
                may[i] |= is[i] == got[i];
        }
        for (size_t i = 0; !fits && i < n; i++) {
            if (may[i])
                continue;
            sim_version_read(&node->versions[end - 1], r->off + at + i, is, 1);
            (void)snprintf(why, SIM_WHY,
                           "%.300s: the byte at %llu is %02x, not %02x; size %llu, versions of "
                           "operations %llu to %llu",
                           s->path, (unsigned long long)(r->off + at + i), got[i], is[0],
                           (unsigned long long)s->size,
                           (unsigned long long)node->versions[first].op,
                           (unsigned long long)node->versions[end - 1].op);
            return -1;
        }
        at += n;
    }
    return 0;
}

int sim_judge_mixed(const struct sim_sight *s, const struct sim_node *node, size_t first,
                    size_t end, char *why)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (size_t v = first; v < end; v++) {
        uint64_t size = node->versions[v].size;
        least = size < least ? size : least;
        most = size > most ? size : most;
    }
    if (s->size < least || s->size > most) {
        (void)snprintf(why, SIM_WHY,
                       "%.300s: its size is %llu, not %llu to %llu; versions of operations %llu to "
                       "%llu",
                       s->path, (unsigned long long)s->size, (unsigned long long)least,
                       (unsigned long long)most, (unsigned long long)node->versions[first].op,
                       (unsigned long long)node->versions[end - 1].op);
        return -1;
    }
    for (size_t i = 0; i < s->region_count; i++)
        if (judge_region(s, &s->regions[i], node, first, end, why) != 0)
            return -1;
    return 0;
}

struct sim_version sim_sight_version(struct sim_arena *a, const struct sim_sight *s)
{
    struct sim_version v = {.size = s->size, .count = s->region_count};
    v.x = sim_alloc(a, (v.count + 1) * sizeof *v.x);
    for (size_t i = 0; i < v.count; i++)
        v.x[i] = (struct sim_extent){.off = s->regions[i].off,
                                     .len = s->regions[i].len,
                                     .pattern = SIM_BYTES,
                                     .seed = (uintptr_t)s->regions[i].bytes};
    return v;
}
