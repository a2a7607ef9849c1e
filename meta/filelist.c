/* SPDX-License-Identifier: MIT */
/*
 * Depth first with a stack of directories of our own; a hash table from inode to the row that met
 * it last tells names of one file apart from files.
 */
#include "meta/filelist.h"

#include "meta/base/grow.h"
#include "meta/base/knob.h"
#include "meta/dentry.h"
#include "meta/inode.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

struct met {
    fold_ino ino; /* 0: free */
    uint32_t row;
};

struct walk {
    struct fold_catalog *catalog;
    struct fold_filelist *list;
    struct met *table; /* power of two */
    size_t slots, used;
    fold_ino *stack; /* directories still to be read */
    size_t depth, stack_cap;
    uint32_t row;
};

static struct met *slot_of(struct met *table, size_t slots, fold_ino ino)
{
    size_t i = (size_t)((ino * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (slots - 1);
    while (table[i].ino != 0 && table[i].ino != ino)
        i = (i + 1) & (slots - 1);
    return &table[i];
}

static int grow_table(struct walk *w)
{
    size_t slots = w->slots > 0 ? w->slots * 2 : 256;
    struct met *table = calloc(slots, sizeof *table);
    if (table == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < w->slots; i++)
        if (w->table[i].ino != 0)
            *slot_of(table, slots, w->table[i].ino) = w->table[i];
    free(w->table);
    w->table = table;
    w->slots = slots;
    return 0;
}

enum meeting { FIRST, IN_OTHER_ROW, IN_THIS_ROW };

/* Notes that the row met `ino`; an enum meeting or -ENOMEM. */
static int meet(struct walk *w, fold_ino ino)
{
    if (w->used * 3 >= w->slots * 2) {
        int rc = grow_table(w);
        if (rc != 0)
            return rc;
    }
    struct met *m = slot_of(w->table, w->slots, ino);
    int how = m->ino == 0 ? FIRST : m->row == w->row ? IN_THIS_ROW : IN_OTHER_ROW;
    w->used += m->ino == 0;
    *m = (struct met){ino, w->row};
    return how;
}

static int add_file(struct walk *w, const struct fold_attr *attr)
{
    struct fold_filelist *l = w->list;
    int how = meet(w, attr->ino);
    if (how < 0 || how == IN_THIS_ROW)
        return how < 0 ? how : 0;
    if (FOLD_GROW(l->files, l->cap, l->count + 1, 64) < 0)
        return -ENOMEM;
    l->files[l->count++] = (struct fold_filelist_entry){attr->ino, attr->size, attr->mapped, w->row,
                                                        how == IN_OTHER_ROW};
    return 0;
}

static int push(struct walk *w, fold_ino dir)
{
    if (FOLD_GROW(w->stack, w->stack_cap, w->depth + 1, 64) < 0)
        return -ENOMEM;
    w->stack[w->depth++] = dir;
    return 0;
}

static int visit(struct walk *w, const struct fold_dentry *d)
{
    struct fold_attr attr;
    if (d->type == DT_DIR)
        return push(w, d->ino);
    if (d->type != DT_REG)
        return 0;
    int rc = fold_inode_load(w->catalog, d->ino, &attr);
    return rc == 0 ? add_file(w, &attr) : rc == -ENOENT ? 0 : rc; /* removed meanwhile */
}

static int read_dir(struct walk *w, fold_ino dir)
{
    struct fold_dentry_iter *it;
    struct fold_dentry d;
    const char *name;
    size_t len;
    int rc = fold_dentry_iter_open(w->catalog, dir, 0, &it);
    if (rc != 0)
        return rc;
    while ((rc = fold_dentry_iter_next(it, &d, &name, &len)) > 0) {
        rc = visit(w, &d);
        if (rc < 0)
            break;
    }
    fold_dentry_iter_close(it);
    return rc;
}

static int start(struct walk *w, fold_ino ino)
{
    struct fold_attr attr;
    int rc = fold_inode_load(w->catalog, ino, &attr);
    if (rc == 0 && S_ISREG(attr.mode))
        rc = add_file(w, &attr);
    else if (rc == 0 && S_ISDIR(attr.mode))
        rc = push(w, ino);
    return rc;
}

int fold_filelist_make(struct fold_catalog *c, const fold_ino *from, size_t n,
                       bool (*cancelled)(void *arg), void *arg, struct fold_filelist *out)
{
    struct fold_filelist list = {0};
    struct walk w = {.catalog = c, .list = &list};
    int rc = 0;
    unsigned dirs = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        w.row = (uint32_t)i;
        if (from[i] != 0)
            rc = start(&w, from[i]);
        while (rc == 0 && w.depth > 0) {
            rc = read_dir(&w, w.stack[--w.depth]);
            if (rc == 0 && ++dirs % fold_knobs.filelist_look_every == 0 && cancelled != NULL &&
                cancelled(arg))
                rc = -ECANCELED;
        }
    }
    free(w.table);
    free(w.stack);
    if (rc == 0)
        *out = list;
    else
        fold_filelist_fini(&list);
    return rc;
}

void fold_filelist_fini(struct fold_filelist *l)
{
    free(l->files);
    *l = (struct fold_filelist){0};
}
