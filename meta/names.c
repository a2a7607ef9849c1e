/* SPDX-License-Identifier: MIT */
/*
 * A directory knows its parent, so a path is climbed from below: in each parent the name is looked
 * for entry by entry.
 */
#include "meta/names.h"

#include "meta/commit.h"
#include "meta/dentry.h"
#include "meta/inode.h"

#include <errno.h>
#include <stdio.h>

#define DEPTH_MAX 4096u

/* The name of `ino` in `dir`, malloc'd. */
static int name_in(struct fold_catalog *c, fold_ino dir, fold_ino ino, char **out)
{
    struct fold_dentry_iter *it;
    struct fold_dentry d;
    const char *name;
    size_t len;
    int rc = fold_dentry_iter_open(c, dir, 0, &it);
    if (rc < 0)
        return rc;
    while ((rc = fold_dentry_iter_next(it, &d, &name, &len)) > 0 && d.ino != ino)
        ;
    if (rc > 0) {
        *out = strdup(name);
        rc = *out != NULL ? 0 : -ENOMEM;
    } else if (rc == 0) {
        rc = -ENOENT;
    }
    fold_dentry_iter_close(it);
    return rc;
}

int fold_names_path(struct fold_catalog *c, fold_ino dir, fold_ino ino, char **out)
{
    char *path = ino == FOLD_INO_ROOT ? strdup("/") : strdup("");
    int rc = path != NULL ? 0 : -ENOMEM;
    for (unsigned depth = 0; rc == 0 && ino != FOLD_INO_ROOT; depth++) {
        char *name = NULL, *longer = NULL;
        struct fold_attr above;
        rc = depth < DEPTH_MAX ? name_in(c, dir, ino, &name) : -ELOOP;
        if (rc == 0 && asprintf(&longer, "/%s%s", name, path) < 0)
            rc = -ENOMEM;
        free(name);
        if (rc < 0)
            break;
        free(path);
        path = longer;
        if (dir == FOLD_INO_ROOT)
            break;
        rc = fold_inode_load(c, dir, &above);
        ino = dir;
        dir = rc == 0 ? above.parent : 0;
    }
    if (rc < 0)
        free(path);
    else
        *out = path;
    return rc;
}

struct search {
    const fold_ino *inos;
    size_t n;
    fold_ino *dirs; /* parallel: a directory that names it */
    fold_ino dir;
};

static int note_entry(void *arg, const char *name, size_t len, const struct fold_dentry *d)
{
    struct search *s = arg;
    (void)name;
    (void)len;
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->inos[mid] < d->ino)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < s->n && s->inos[low] == d->ino)
        s->dirs[low] = s->dir;
    return 0;
}

static int search_all(struct fold_catalog *c, struct search *s)
{
    struct fold_kv_iter *it;
    struct fold_key from, to;
    struct fold_kv_entry e;
    uint64_t hash;
    fold_key_ino(&from, FOLD_TABLE_DENTRY, 0);
    fold_key_table_end(&to, FOLD_TABLE_DENTRY);
    int rc = fold_recent_iter_open(c->recent, from.bytes, from.len, to.bytes, to.len, true, &it);
    if (rc < 0)
        return rc;
    while ((rc = fold_kv_iter_next(it, &e)) > 0)
        if (fold_key_read_pair(e.key, e.key_len, FOLD_TABLE_DENTRY, &s->dir, &hash))
            (void)!fold_bucket_each(c->names.form, e.val, e.val_len, note_entry, s);
    fold_kv_iter_close(it);
    return rc;
}

int fold_names_find(struct fold_catalog *c, const fold_ino *inos, size_t n, char **paths)
{
    struct search s = {.inos = inos, .n = n, .dirs = calloc(n + 1, sizeof *s.dirs)};
    if (s.dirs == NULL)
        return -ENOMEM;
    int rc = search_all(c, &s);
    for (size_t i = 0; i < n; i++)
        paths[i] = NULL;
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (s.dirs[i] != 0 && fold_names_path(c, s.dirs[i], inos[i], &paths[i]) < 0)
            paths[i] = NULL;
    free(s.dirs);
    return rc;
}
