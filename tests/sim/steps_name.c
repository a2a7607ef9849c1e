/* SPDX-License-Identifier: MIT */
/*
 * Steps about names and attributes. A change that failed may have been carried out or not, but not
 * by half: the names are looked at.
 */
#include "tests/sim/steps.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static uint8_t buffer[65536]; /* of a value */

static struct sim_node *node_at(struct sim_play *p, uint64_t dir, uint64_t name)
{
    char text[256];
    struct sim_entry *e = sim_entry_find(sim_dir(p, dir), sim_name(name, text));
    return e != NULL ? e->node : NULL;
}

/* What a change of names needs: before and after. */
#define CHANGE(what, call, changes)                                                                \
    do {                                                                                           \
        const struct sim_snapshot *before = p->m.snapshots[p->m.op];                               \
        sim_model_begin(&p->m);                                                                    \
        rc = sim_reply(p, what, call);                                                             \
        p->m.names_changed = true;                                                                 \
        changes;                                                                                   \
        return rc == 1 ? sim_life_resolve(p, before) : sim_finish(p, rc);                          \
    } while (0)

/* A name of the node has gone. */
static void drop_link(struct sim_node *n)
{
    n->attrs.nlink -= S_ISDIR(n->attrs.mode) ? 2 : 1;
}

static int step_rename(struct sim_play *p, const uint64_t *a)
{
    struct sim_node *dir = sim_dir(p, a[0]), *dir2 = sim_dir(p, a[2]);
    char name[256], name2[256];
    struct sim_entry *e = sim_entry_find(dir, sim_name(a[1], name));
    struct sim_entry *e2 = sim_entry_find(dir2, sim_name(a[3], name2));
    uint32_t flags = (uint32_t)(a[4] % 3); /* 1: NOREPLACE, 2: EXCHANGE */
    if (e == NULL || (e2 != NULL && flags == 1) || (e2 == NULL && flags == 2))
        return 0;
    struct sim_node *n = e->node, *n2 = e2 != NULL ? e2->node : NULL;
    bool is_dir = S_ISDIR(n->attrs.mode), is_dir2 = n2 != NULL && S_ISDIR(n2->attrs.mode);
    if (n == n2 || (is_dir && sim_node_below(dir2, n)) || (is_dir2 && sim_node_below(dir, n2)))
        return 0;
    if (n2 != NULL && flags != 2 && (is_dir != is_dir2 || n2->entry_count > 0))
        return 0;
    int rc = sim_know(p, dir, name, n);
    if (rc == 0 && n2 != NULL)
        rc = sim_know(p, dir2, name2, n2);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    struct fuse_rename2_in in = {.newdir = dir2->ino, .flags = flags};
    CHANGE("rename",
           wire_call(&p->w, FUSE_RENAME2, dir->ino, &in, sizeof in, name, strlen(name) + 1, name2,
                     strlen(name2) + 1),
           {
               sim_entry_remove(&p->m, dir, name);
               if (n2 != NULL)
                   sim_entry_remove(&p->m, dir2, name2);
               if (n2 != NULL && flags != 2)
                   drop_link(n2);
               sim_entry_add(&p->m, dir2, name2, n);
               if (flags == 2)
                   sim_entry_add(&p->m, dir, name, n2);
           });
}

static int make_link(struct sim_play *p, struct sim_node *n, uint64_t to_dir, uint64_t to_name)
{
    struct sim_node *dir2 = sim_dir(p, to_dir);
    char name2[256];
    struct fuse_link_in in = {.oldnodeid = n->ino};
    int rc;
    if (sim_entry_find(dir2, sim_name(to_name, name2)) != NULL)
        return 0;
    CHANGE(
        "link",
        wire_call(&p->w, FUSE_LINK, dir2->ino, &in, sizeof in, name2, strlen(name2) + 1, NULL, 0), {
            n->attrs.nlink++;
            n->lookups += rc == 0;
            sim_entry_add(&p->m, dir2, name2, n);
        });
}

static int step_link(struct sim_play *p, const uint64_t *a)
{
    struct sim_node *n = node_at(p, a[0], a[1]);
    char name[256];
    if (n == NULL || S_ISDIR(n->attrs.mode))
        return 0;
    int rc = sim_know(p, sim_dir(p, a[0]), sim_name(a[1], name), n);
    return rc != 0 ? (rc == 1 ? 0 : rc) : make_link(p, n, a[2], a[3]);
}

static int step_linkopen(struct sim_play *p, const uint64_t *a)
{
    struct sim_handle *h = sim_slot(p, a[0]);
    /* A file that lost its last name stays without one; one that never had any may get one, which
     * the tags of the model do not tell apart: only named ones are linked here. */
    return h != NULL && h->node->attrs.nlink > 0 ? make_link(p, h->node, a[1], a[2]) : 0;
}

static int step_remove(struct sim_play *p, const uint64_t *a, bool is_dir)
{
    struct sim_node *dir = sim_dir(p, a[0]), *n = node_at(p, a[0], a[1]);
    char name[256];
    if (n == NULL || S_ISDIR(n->attrs.mode) != is_dir || n->entry_count > 0)
        return 0;
    int rc = sim_know(p, dir, sim_name(a[1], name), n);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    CHANGE(is_dir ? "rmdir" : "unlink",
           wire_call(&p->w, is_dir ? FUSE_RMDIR : FUSE_UNLINK, dir->ino, name, strlen(name) + 1,
                     NULL, 0, NULL, 0),
           {
               sim_entry_remove(&p->m, dir, name);
               drop_link(n);
           });
}

static int step_make(struct sim_play *p, const struct sim_step *s)
{
    struct sim_node *dir = sim_dir(p, s->a[0]);
    char name[256], target[4096];
    int rc;
    if (sim_entry_find(dir, sim_name(s->a[1], name)) != NULL)
        return 0;
    mode_t mode = s->kind == SIM_STEP_mkdir     ? S_IFDIR | 0755
                  : s->kind == SIM_STEP_symlink ? S_IFLNK | 0777
                                                : S_IFIFO | 0600;
    struct sim_node *n = sim_node_new(&p->m, mode);
    struct fuse_entry_out entry = {0};
    struct fuse_mkdir_in dir_in = {.mode = 0755};
    struct fuse_mknod_in nod_in = {.mode = mode};
    size_t len = 1 + s->a[2] % 4000;
    memset(target, 't', len);
    target[len] = '\0';
    if (S_ISLNK(mode))
        n->target = sim_text(&p->m.arena, target);
    if (S_ISDIR(mode))
        n->parent = dir;
    CHANGE("making a name",
           S_ISDIR(mode)   ? wire_call(&p->w, FUSE_MKDIR, dir->ino, &dir_in, sizeof dir_in, name,
                                       strlen(name) + 1, NULL, 0)
           : S_ISLNK(mode) ? wire_call(&p->w, FUSE_SYMLINK, dir->ino, name, strlen(name) + 1,
                                       target, len + 1, NULL, 0)
                           : wire_call(&p->w, FUSE_MKNOD, dir->ino, &nod_in, sizeof nod_in, name,
                                       strlen(name) + 1, NULL, 0),
           {
               if (rc == 0 && p->w.body_len >= sizeof entry)
                   memcpy(&entry, p->w.body, sizeof entry);
               n->ino = entry.nodeid;
               n->lookups = rc == 0;
               sim_entry_add(&p->m, dir, name, n);
           });
}

static int step_xattr(struct sim_play *p, const uint64_t *a, bool set)
{
    struct sim_node *dir = sim_dir(p, a[0]), *n = node_at(p, a[0], a[1]);
    char name[256], key[16];
    size_t k = a[2] % SIM_XATTRS, len = a[3] % 3000;
    if (n == NULL || S_ISLNK(n->attrs.mode) || S_ISFIFO(n->attrs.mode) ||
        (!set && !n->attrs.xattrs[k].set))
        return 0;
    int rc = sim_know(p, dir, sim_name(a[1], name), n);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    (void)snprintf(key, sizeof key, "user.x%zu", k);
    struct {
        uint32_t size, flags;
    } in = {(uint32_t)len, 0};
    if (set)
        sim_fill(SIM_RANDOM, a[4], 0, buffer, len);
    CHANGE("xattr",
           set ? wire_call(&p->w, FUSE_SETXATTR, n->ino, &in, sizeof in, key, strlen(key) + 1,
                           buffer, len)
               : wire_call(&p->w, FUSE_REMOVEXATTR, n->ino, key, strlen(key) + 1, NULL, 0, NULL, 0),
           {
               n->attrs.xattrs[k].set = set;
               n->attrs.xattrs[k].len = (uint32_t)len;
               n->attrs.xattrs[k].seed = a[4];
           });
}

static int step_chmod(struct sim_play *p, const uint64_t *a)
{
    struct sim_node *dir = sim_dir(p, a[0]), *n = node_at(p, a[0], a[1]);
    char name[256];
    if (n == NULL || S_ISLNK(n->attrs.mode))
        return 0;
    int rc = sim_know(p, dir, sim_name(a[1], name), n);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    mode_t mode = (n->attrs.mode & S_IFMT) | (a[2] & 0777);
    struct fuse_setattr_in in = {.valid = FATTR_MODE, .mode = mode};
    CHANGE("chmod", wire_setattr(&p->w, n->ino, &in), n->attrs.mode = mode);
}

int sim_step_names(struct sim_play *p, const struct sim_step *s)
{
    const uint64_t *a = s->a;
    switch (s->kind) {
    case SIM_STEP_rename:
        return step_rename(p, a);
    case SIM_STEP_link:
        return step_link(p, a);
    case SIM_STEP_linkopen:
        return step_linkopen(p, a);
    case SIM_STEP_unlink:
        return step_remove(p, a, false);
    case SIM_STEP_rmdir:
        return step_remove(p, a, true);
    case SIM_STEP_mkdir:
    case SIM_STEP_symlink:
    case SIM_STEP_mknod:
        return step_make(p, s);
    case SIM_STEP_setxattr:
        return step_xattr(p, a, true);
    case SIM_STEP_delxattr:
        return step_xattr(p, a, false);
    case SIM_STEP_chmod:
        return step_chmod(p, a);
    default:
        return 0;
    }
}
