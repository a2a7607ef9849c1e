/* SPDX-License-Identifier: MIT */
/*
 * The tables of the catalog that hang on one inode: inodes, symlink targets, extended attributes,
 * orphans. An entry of an inode that does not exist is removed. An inode that cannot be read is
 * remembered as bad; the tree decides.
 */
#include "meta/base/err.h"
#include "meta/checkparts.h"
#include "meta/commit.h"
#include "meta/inode.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

struct fold_check_node *fold_check_node(const struct fold_check *k, fold_ino ino)
{
    size_t low = 0, high = k->node_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (k->nodes[mid].ino < ino)
            low = mid + 1;
        else
            high = mid;
    }
    return low < k->node_count && k->nodes[low].ino == ino ? &k->nodes[low] : NULL;
}

struct fold_check_node *fold_check_node_add(struct fold_check *k, fold_ino ino)
{
    if (k->node_count == k->node_cap) {
        size_t cap = FOLD_MAX(k->node_cap + k->node_cap / 2, (size_t)1024);
        struct fold_check_node *grown = realloc(k->nodes, cap * sizeof *grown);
        if (grown == NULL)
            return NULL;
        k->nodes = grown;
        k->node_cap = cap;
    }
    struct fold_check_node *n = &k->nodes[k->node_count++];
    *n = (struct fold_check_node){.ino = ino};
    return n;
}

bool fold_check_remove(struct fold_check *k, const struct fold_kv_entry *e)
{
    if (!k->opt->repair)
        return false;
    struct fold_txn *t = fold_txn_begin(k->volume->catalog);
    fold_kv_batch_delete(t->batch, e->key, e->key_len);
    return fold_check_commit(k, t);
}

void fold_check_bad_key(struct fold_check *k, const struct fold_kv_entry *e, const char *table)
{
    fold_check_found(k, "catalog.key", FOLD_SEVERITY_ERROR, fold_check_remove(k, e), table,
                     "a key of %zu bytes is none of this table", e->key_len);
}

static bool sane(const struct fold_attr *a)
{
    switch (a->mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        return (a->mode & ~(uint32_t)(S_IFMT | 07777)) == 0 &&
               (S_ISDIR(a->mode) || a->size <= INT64_MAX);
    default:
        return false;
    }
}

static int take_inode(void *arg, const struct fold_kv_entry *e)
{
    struct fold_check *k = arg;
    fold_ino ino;
    struct fold_attr a;
    if (!fold_key_read_ino(e->key, e->key_len, FOLD_TABLE_INODE, &ino) || ino == 0) {
        fold_check_bad_key(k, e, "inodes");
        return 0;
    }
    struct fold_check_node *n = fold_check_node_add(k, ino);
    if (n == NULL)
        return -ENOMEM;
    if (fold_inode_decode(e->val, e->val_len, ino, &a) < 0 || !sane(&a)) {
        n->marks = FOLD_NODE_BAD;
        return 0;
    }
    n->mode = a.mode;
    n->nlink = a.nlink;
    n->size = a.size;
    n->mapped = a.mapped;
    n->flags = a.flags;
    n->parent = a.parent;
    return 0;
}

/* An entry about `ino` in another table: the inode it belongs to, or NULL after saying so. */
static struct fold_check_node *owner(struct fold_check *k, const struct fold_kv_entry *e,
                                     fold_ino ino, const char *code, const char *what)
{
    struct fold_check_node *n = fold_check_node(k, ino);
    if (n == NULL)
        fold_check_found(k, code, FOLD_SEVERITY_ERROR, fold_check_remove(k, e),
                         fold_label_ino(ino).text, "%s of an inode that does not exist", what);
    return n;
}

static int take_symlink(void *arg, const struct fold_kv_entry *e)
{
    struct fold_check *k = arg;
    fold_ino ino;
    if (!fold_key_read_ino(e->key, e->key_len, FOLD_TABLE_SYMLINK, &ino)) {
        fold_check_bad_key(k, e, "symlinks");
        return 0;
    }
    struct fold_check_node *n = owner(k, e, ino, "symlink.stray", "a link target");
    if (n == NULL || n->marks & FOLD_NODE_BAD)
        return 0;
    n->marks |= FOLD_NODE_TARGET;
    if (!S_ISLNK(n->mode))
        fold_check_found(k, "symlink.stray", FOLD_SEVERITY_ERROR, fold_check_remove(k, e),
                         fold_label_ino(ino).text,
                         "a link target of an inode that is no symbolic link");
    else if (e->val_len == 0 || e->val_len > FOLD_SYMLINK_MAX ||
             memchr(e->val, 0, e->val_len) != NULL)
        fold_check_found(k, "symlink.target", FOLD_SEVERITY_ERROR, false, fold_label_ino(ino).text,
                         "the target of the symbolic link is damaged");
    return 0;
}

static int take_xattr(void *arg, const struct fold_kv_entry *e)
{
    struct fold_check *k = arg;
    fold_ino ino;
    if (e->key_len <= FOLD_KEY_INO_BYTES ||
        !fold_key_read_ino(e->key, FOLD_KEY_INO_BYTES, FOLD_TABLE_XATTR, &ino)) {
        fold_check_bad_key(k, e, "extended attributes");
        return 0;
    }
    struct fold_check_node *n = owner(k, e, ino, "xattr.stray", "an extended attribute");
    if (n == NULL)
        return 0;
    n->marks |= FOLD_NODE_XATTRS;
    size_t len = e->key_len - FOLD_KEY_INO_BYTES;
    if (len > FOLD_NAME_MAX || memchr(e->key + FOLD_KEY_INO_BYTES, 0, len) != NULL ||
        e->val_len > FOLD_XATTR_MAX)
        fold_check_found(k, "xattr.damaged", FOLD_SEVERITY_ERROR, fold_check_remove(k, e),
                         fold_label_ino(ino).text,
                         "an extended attribute has an impossible name or size");
    return 0;
}

static int take_orphan(void *arg, const struct fold_kv_entry *e)
{
    struct fold_check *k = arg;
    fold_ino ino;
    if (!fold_key_read_ino(e->key, e->key_len, FOLD_TABLE_ORPHAN, &ino)) {
        fold_check_bad_key(k, e, "orphans");
        return 0;
    }
    struct fold_check_node *n = owner(k, e, ino, "orphan.stray", "an entry in the list of orphans");
    if (n == NULL)
        return 0;
    if (n->nlink > 0 && (n->marks & FOLD_NODE_BAD) == 0) {
        fold_check_found(k, "orphan.named", FOLD_SEVERITY_ERROR, fold_check_remove(k, e),
                         fold_label_ino(ino).text, "it is in the list of orphans, but has a name");
        return 0;
    }
    n->marks |= FOLD_NODE_ORPHAN;
    fold_check_found(k, "orphan.waiting", FOLD_SEVERITY_NOTE, false, fold_label_ino(ino).text,
                     "it was deleted while open; the next mount removes it");
    return 0;
}

int fold_check_table(struct fold_check *k, enum fold_table table, const char *step, uint64_t total,
                     fold_check_entry_fn fn, void *arg)
{
    struct fold_kv_iter *it;
    struct fold_key from, to;
    uint64_t done = 0;
    fold_key_ino(&from, table, 0);
    fold_key_table_end(&to, table);
    int rc = fold_recent_iter_open(k->volume->catalog->recent, from.bytes, 1, to.bytes, to.len,
                                   true, &it);
    if (rc < 0)
        return rc;
    struct fold_kv_entry e;
    while ((rc = fold_kv_iter_next(it, &e)) > 0) {
        rc = fn(arg, &e);
        if ((++done & 0x3ff) == 0)
            fold_check_tell(k, step, done, FOLD_MAX(done, total));
        if (rc < 0)
            break;
    }
    fold_kv_iter_close(it);
    if (rc == -ENOMEM || rc == 0)
        return rc;
    fold_check_found(k, "catalog.unreadable", FOLD_SEVERITY_ERROR, false, step,
                     "the table cannot be read to its end: %s", fold_err_text(rc));
    return 0;
}

int fold_check_catalog(struct fold_check *k)
{
    static const struct {
        enum fold_table table;
        const char *step;
        fold_check_entry_fn take;
    } tables[] = {
        {FOLD_TABLE_INODE, "inodes", take_inode},
        {FOLD_TABLE_SYMLINK, "symlinks", take_symlink},
        {FOLD_TABLE_XATTR, "extended attributes", take_xattr},
        {FOLD_TABLE_ORPHAN, "orphans", take_orphan},
    };
    struct fold_counters sum;
    fold_catalog_counters(k->volume->catalog, &sum);
    uint64_t inodes = sum.files + sum.directories + sum.others;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < FOLD_ARRAY_LEN(tables); i++)
        rc = fold_check_table(k, tables[i].table, tables[i].step, inodes, tables[i].take, k);
    k->result->inodes = k->node_count;
    return rc;
}
