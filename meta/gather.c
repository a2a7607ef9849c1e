/* SPDX-License-Identifier: MIT */
/*
 * One iterator visits the keys in their order. What was created together has numbers close to each
 * other, so the next key is mostly a few steps away, and a step costs a tenth of a look-up; over a
 * wider gap the iterator seeks.
 */
#include "meta/gather.h"

#include "meta/base/bytes.h"
#include "meta/base/knob.h"
#include "meta/commit.h"
#include "meta/inode.h"

#include <errno.h>

struct gather {
    enum fold_table table; /* inodes or recipes */
    const fold_ino *inos;
    size_t n;
    void (*inode)(void *arg, const struct fold_attr *attr);
    void (*page)(void *arg, fold_ino ino, struct fold_page *page);
    void *arg;
};

static void make_key(const struct gather *g, fold_ino ino, struct fold_key *key)
{
    if (g->table == FOLD_TABLE_INODE)
        fold_key_ino(key, g->table, ino);
    else
        fold_key_pair(key, g->table, ino, 0);
}

static void hand_out(const struct gather *g, fold_ino ino, const struct fold_kv_entry *e)
{
    struct fold_attr attr;
    struct fold_page page = {NULL, 0, 0};
    if (g->table == FOLD_TABLE_INODE) {
        if (fold_inode_decode(e->val, e->val_len, ino, &attr) == 0)
            g->inode(g->arg, &attr);
    } else if (fold_page_decode(e->val, e->val_len, 0, &page) == 0) {
        g->page(g->arg, ino, &page);
    }
}

static int compare(const struct fold_kv_entry *e, const struct fold_key *key)
{
    return fold_bytes_compare(e->key, e->key_len, key->bytes, key->len);
}

/* Brings the iterator to `key` or behind it: 1 with an entry, 0 at the end. `e` is where it stands,
 * if `at`. */
static int advance(struct fold_kv_iter *it, const struct fold_key *key, bool at,
                   struct fold_kv_entry *e)
{
    for (uint64_t i = 0; at && i < fold_knobs.gather_steps; i++) {
        if (compare(e, key) >= 0)
            return 1;
        int rc = fold_kv_iter_next(it, e);
        if (rc <= 0)
            return rc;
    }
    return at && compare(e, key) >= 0 ? 1 : fold_kv_iter_seek(it, key->bytes, key->len, e);
}

static int gather(struct fold_catalog *c, const struct gather *g)
{
    if (g->n == 0)
        return 0;
    struct fold_key from, to, key;
    struct fold_kv_iter *it;
    make_key(g, g->inos[0], &from);
    make_key(g, g->inos[g->n - 1] + 1, &to);
    int rc = fold_recent_iter_open(c->recent, from.bytes, from.len, to.bytes, to.len, false, &it);
    if (rc < 0)
        return rc;
    struct fold_kv_entry e;
    bool at = false;
    for (size_t i = 0; i < g->n; i++) {
        make_key(g, g->inos[i], &key);
        rc = advance(it, &key, at, &e);
        if (rc <= 0)
            break;
        at = true;
        if (compare(&e, &key) == 0)
            hand_out(g, g->inos[i], &e);
    }
    fold_kv_iter_close(it);
    return FOLD_MIN(rc, 0);
}

int fold_gather_inodes(struct fold_catalog *c, const fold_ino *inos, size_t n,
                       void (*fn)(void *arg, const struct fold_attr *attr), void *arg)
{
    struct gather g = {.table = FOLD_TABLE_INODE, .inos = inos, .n = n, .inode = fn, .arg = arg};
    return gather(c, &g);
}

int fold_gather_pages(struct fold_catalog *c, const fold_ino *inos, size_t n,
                      void (*fn)(void *arg, fold_ino ino, struct fold_page *page), void *arg)
{
    struct gather g = {.table = FOLD_TABLE_RECIPE, .inos = inos, .n = n, .page = fn, .arg = arg};
    return gather(c, &g);
}
