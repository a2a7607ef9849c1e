/* SPDX-License-Identifier: MIT */
/*
 * Names change in place; a snapshot is made after each operation that changed them. Contents are
 * kept in all versions.
 */
#include "tests/sim/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void sim_model_init(struct sim_model *m)
{
    *m = (struct sim_model){.unsure = UINT64_MAX};
    m->root = sim_node_new(m, S_IFDIR | 0755);
    m->root->ino = 1;
    m->root->attrs.nlink = 2;
    m->root->parent = m->root;
    m->names_changed = true;
    sim_model_end(m, true);
}

void sim_model_fini(struct sim_model *m)
{
    sim_arena_clear(&m->arena);
}

void sim_model_begin(struct sim_model *m)
{
    m->op++;
}

void sim_model_end(struct sim_model *m, bool acked)
{
    if (acked)
        m->acked = m->op;
    while (m->snapshot_count <= m->op) {
        struct sim_snapshot *s;
        if (m->names_changed || m->snapshot_count == 0)
            s = sim_model_snapshot(m);
        else
            s = m->snapshots[m->snapshot_count - 1];
        m->names_changed = false;
        m->snapshots = sim_grow(&m->arena, m->snapshots, m->snapshot_count, sizeof *m->snapshots);
        m->snapshots[m->snapshot_count++] = s;
    }
    if (m->names_changed) {
        m->snapshots[m->op] = sim_model_snapshot(m);
        m->names_changed = false;
    }
}

struct sim_node *sim_node_new(struct sim_model *m, mode_t mode)
{
    struct sim_node *n = sim_alloc(&m->arena, sizeof *n);
    m->nodes = sim_grow(&m->arena, m->nodes, m->node_count, sizeof *m->nodes);
    m->nodes[m->node_count++] = n;
    n->attrs.mode = mode;
    n->doubt = SIZE_MAX;
    n->attrs.nlink = S_ISDIR(mode) ? 2 : 1;
    if (S_ISREG(mode))
        sim_node_change(m, n, (struct sim_version){0});
    return n;
}

struct sim_entry *sim_entry_find(const struct sim_node *dir, const char *name)
{
    for (size_t i = 0; i < dir->entry_count; i++)
        if (strcmp(dir->entries[i].name, name) == 0)
            return &dir->entries[i];
    return NULL;
}

void sim_entry_add(struct sim_model *m, struct sim_node *dir, const char *name,
                   struct sim_node *node)
{
    dir->entries = sim_grow(&m->arena, dir->entries, dir->entry_count, sizeof *dir->entries);
    dir->entries[dir->entry_count++] = (struct sim_entry){sim_text(&m->arena, name), node};
    if (S_ISDIR(node->attrs.mode)) {
        node->parent = dir;
        dir->attrs.nlink++;
    }
    m->names_changed = true;
}

void sim_entry_remove(struct sim_model *m, struct sim_node *dir, const char *name)
{
    struct sim_entry *e = sim_entry_find(dir, name);
    if (S_ISDIR(e->node->attrs.mode))
        dir->attrs.nlink--;
    /* The array keeps its room: it may have been grown for this many already. */
    struct sim_entry *copy = sim_alloc(&m->arena, (dir->entry_count * 2 + 2) * sizeof *copy);
    size_t n = 0;
    for (size_t i = 0; i < dir->entry_count; i++)
        if (&dir->entries[i] != e)
            copy[n++] = dir->entries[i];
    dir->entries = copy;
    dir->entry_count = n;
    m->names_changed = true;
}

bool sim_node_below(const struct sim_node *node, const struct sim_node *dir)
{
    for (; node != dir; node = node->parent)
        if (node == node->parent)
            return false;
    return true;
}

void sim_node_change(struct sim_model *m, struct sim_node *n, struct sim_version v)
{
    v.op = m->op;
    n->versions = sim_grow(&m->arena, n->versions, n->version_count, sizeof *n->versions);
    n->versions[n->version_count++] = v;
}

void sim_node_commit(struct sim_model *m, struct sim_node *n, size_t version)
{
    n->commits = sim_grow(&m->arena, n->commits, n->commit_count, sizeof *n->commits);
    n->commits[n->commit_count++] = (struct sim_commit){m->op, version};
}

void sim_model_doubt(struct sim_model *m)
{
    for (size_t i = 0; i < m->node_count; i++) {
        struct sim_node *n = m->nodes[i];
        size_t known = n->commit_count > 0 ? n->commits[n->commit_count - 1].version : 0;
        if (n->doubt == SIZE_MAX && known + 1 < n->version_count)
            n->doubt = known;
    }
}

static void commit_below(struct sim_model *m, struct sim_node *dir)
{
    for (size_t i = 0; i < dir->entry_count; i++) {
        struct sim_node *n = dir->entries[i].node;
        if (S_ISDIR(n->attrs.mode))
            commit_below(m, n);
        else if (S_ISREG(n->attrs.mode))
            sim_node_commit(m, n, n->version_count - 1);
    }
}

void sim_model_commit_all(struct sim_model *m)
{
    commit_below(m, m->root);
}

void sim_xattr_text(char out[64], size_t number, const uint8_t *value, size_t len)
{
    uint32_t sum = 2166136261u;
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ value[i]) * 16777619u;
    (void)snprintf(out, 64, " x%zu=%zu:%08x", number, len, sum);
}

char *sim_item_text(struct sim_arena *a, const char *path, const struct sim_attrs *attrs,
                    const char *xattrs, const char *target, size_t label)
{
    size_t size = strlen(path) + strlen(xattrs) + (target != NULL ? strlen(target) : 0) + 128;
    char *text = sim_alloc(a, size);
    (void)snprintf(text, size, "%s %o links %u owner %u device %u%s%s%s #%zu\n", path, attrs->mode,
                   attrs->nlink, attrs->uid, attrs->rdev, xattrs, target != NULL ? " -> " : "",
                   target != NULL ? target : "", label);
    return text;
}

static void list_below(struct sim_model *m, struct sim_snapshot *s, struct sim_node *dir,
                       const char *path)
{
    for (size_t i = 0; i < dir->entry_count; i++) {
        struct sim_entry *e = &dir->entries[i];
        size_t size = strlen(path) + strlen(e->name) + 2;
        char *full = sim_alloc(&m->arena, size);
        (void)snprintf(full, size, "%s/%s", path, e->name);
        s->items = sim_grow(&m->arena, s->items, s->count, sizeof *s->items);
        s->items[s->count++] = (struct sim_item){full, e->node, e->node->attrs};
        if (S_ISDIR(e->node->attrs.mode))
            list_below(m, s, e->node, full);
    }
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct sim_item *)a)->path, ((const struct sim_item *)b)->path);
}

struct sim_snapshot *sim_model_snapshot(struct sim_model *m)
{
    struct sim_snapshot *s = sim_alloc(&m->arena, sizeof *s);
    list_below(m, s, m->root, "");
    if (s->count > 0)
        qsort(s->items, s->count, sizeof *s->items, by_path);
    size_t total = 1;
    char **lines = sim_alloc(&m->arena, (s->count + 1) * sizeof *lines);
    for (size_t i = 0; i < s->count; i++) {
        const struct sim_item *item = &s->items[i];
        char xattrs[SIM_XATTRS * 64] = "", one[64];
        static uint8_t value[1 << 16];
        size_t label = 0;
        while (s->items[label].node != item->node)
            label++;
        for (size_t k = 0; k < SIM_XATTRS; k++) {
            if (!item->attrs.xattrs[k].set)
                continue;
            sim_fill(SIM_RANDOM, item->attrs.xattrs[k].seed, 0, value, item->attrs.xattrs[k].len);
            sim_xattr_text(one, k, value, item->attrs.xattrs[k].len);
            (void)snprintf(xattrs + strlen(xattrs), sizeof xattrs - strlen(xattrs), "%s", one);
        }
        lines[i] =
            sim_item_text(&m->arena, item->path, &item->attrs, xattrs, item->node->target, label);
        total += strlen(lines[i]);
    }
    s->text = sim_alloc(&m->arena, total);
    char *to = s->text;
    for (size_t i = 0; i < s->count; i++) {
        size_t len = strlen(lines[i]);
        memcpy(to, lines[i], len);
        to += len;
    }
    return s;
}

void sim_model_restore(struct sim_model *m, const struct sim_snapshot *s)
{
    m->root->entries = NULL;
    m->root->entry_count = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct sim_node *n = s->items[i].node;
        n->attrs = s->items[i].attrs;
        n->entries = NULL;
        n->entry_count = 0;
    }
    for (size_t i = 0; i < s->count; i++) {
        const char *path = s->items[i].path, *name = strrchr(path, '/') + 1;
        struct sim_node *dir = m->root;
        for (size_t k = 0; k < i; k++)
            if (strncmp(s->items[k].path, path, (size_t)(name - path - 1)) == 0 &&
                s->items[k].path[name - path - 1] == '\0')
                dir = s->items[k].node;
        uint32_t nlink = dir->attrs.nlink;
        sim_entry_add(m, dir, name, s->items[i].node);
        dir->attrs.nlink = nlink;
    }
    m->root->attrs.nlink = 2;
    for (size_t i = 0; i < m->root->entry_count; i++)
        m->root->attrs.nlink += S_ISDIR(m->root->entries[i].node->attrs.mode);
    m->names_changed = true;
}

void sim_node_versions(const struct sim_node *n, uint64_t p, size_t *first, size_t *end)
{
    *first = 0;
    for (size_t i = 0; i < n->commit_count; i++)
        if (n->commits[i].op <= p && n->commits[i].version > *first)
            *first = n->commits[i].version;
    *first = n->doubt < *first ? n->doubt : *first;
    *end = *first + 1;
    while (*end < n->version_count && n->versions[*end].op <= p + 1)
        ++*end;
}
