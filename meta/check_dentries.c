/* SPDX-License-Identifier: MIT */
/*
 * Directory entries against inodes. Entries that name nothing, have a wrong type or lie in the
 * wrong place are removed or put right; what loses its last name by that is found by the tree and
 * goes to lost+found.
 */
#include "meta/base/err.h"
#include "meta/checkparts.h"
#include "meta/commit.h"
#include "meta/dentry.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

struct bucket {
    struct fold_check *k;
    fold_ino dir;
    uint64_t number;
    struct fold_check_node *node; /* of the directory; NULL if there is none */
    bool misplaced;               /* a name lies in it that is not found there */
};

static enum fold_name_form form_of(const struct fold_check *k)
{
    return k->volume->catalog->names.form;
}

static unsigned type_of(uint32_t mode)
{
    return (mode & S_IFMT) >> 12;
}

static bool proper_name(const char *name, size_t len)
{
    return memchr(name, '/', len) == NULL && memchr(name, 0, len) == NULL &&
           !(len == 1 && name[0] == '.') && !(len == 2 && name[0] == '.' && name[1] == '.');
}

/* Removes the entry, or gives it the right type. */
static bool mend(struct bucket *b, const char *name, size_t len, const struct fold_dentry *d,
                 bool keep)
{
    if (!b->k->opt->repair)
        return false;
    struct fold_txn *t = fold_txn_begin(b->k->volume->catalog);
    int rc = keep ? fold_dentry_store(t, b->dir, name, len, d->ino, d->type)
                  : fold_dentry_remove(t, b->dir, name, len);
    if (rc < 0) {
        fold_txn_abort(t);
        return false;
    }
    return fold_check_commit(b->k, t);
}

/* A directory has one name: of several the first that is met stays. */
static bool extra_name(const struct fold_check_node *n)
{
    return S_ISDIR(n->mode) && (n->ino == FOLD_INO_ROOT || n->links > 0);
}

static void count_entry(struct bucket *b, struct fold_check_node *n, uint8_t type)
{
    if (n->marks & FOLD_NODE_BAD)
        n->mode = (uint32_t)type << 12;
    if (n->links == 0 || n->parent == b->dir)
        n->above = b->dir;
    n->links++;
    if (b->node != NULL) {
        b->node->entries++;
        b->node->subdirs += S_ISDIR(n->mode);
    }
}

static int take_entry(void *arg, const char *name, size_t len, const struct fold_dentry *d)
{
    struct bucket *b = arg;
    struct fold_check *k = b->k;
    struct fold_check_node *n = fold_check_node(k, d->ino);
    struct fold_check_label dir = fold_label_ino(b->dir);
    int shown = (int)len;
    k->result->entries++;
    int found = fold_dentry_belongs(k->volume->catalog, b->dir, name, len, b->number);
    if (found <= 0) {
        b->misplaced = b->misplaced || found == 0;
        return found;
    }
    if (!proper_name(name, len)) {
        fold_check_found(k, "dentry.name", FOLD_SEVERITY_ERROR, mend(b, name, len, d, false),
                         dir.text, "an entry has an impossible name");
    } else if (n == NULL) {
        fold_check_found(k, "dentry.dangling", FOLD_SEVERITY_ERROR, mend(b, name, len, d, false),
                         dir.text, "the entry '%.*s' names inode %" PRIu64 ", which does not exist",
                         shown, name, d->ino);
    } else if (extra_name(n)) {
        fold_check_found(k, "dentry.second", FOLD_SEVERITY_ERROR, mend(b, name, len, d, false),
                         dir.text, "the entry '%.*s' is a second name of directory inode %" PRIu64,
                         shown, name, d->ino);
    } else {
        count_entry(b, n, d->type);
        if ((n->marks & FOLD_NODE_BAD) == 0 && d->type != type_of(n->mode)) {
            struct fold_dentry right = *d;
            right.type = (uint8_t)type_of(n->mode);
            fold_check_found(k, "dentry.type", FOLD_SEVERITY_ERROR,
                             mend(b, name, len, &right, true), dir.text,
                             "the entry '%.*s' says type %u, inode %" PRIu64 " says %u", shown,
                             name, d->type, d->ino, right.type);
        }
    }
    return 0;
}

static int keep_entry(void *arg, const char *name, size_t len, const struct fold_dentry *d)
{
    struct bucket *b = arg;
    (void)mend(b, name, len, d, true);
    return 0;
}

/* Takes a bucket away and puts what can be read of it where it belongs. */
static bool rebuild_bucket(struct bucket *b, const struct fold_kv_entry *e)
{
    if (!b->k->opt->repair)
        return false;
    struct fold_txn *t = fold_txn_begin(b->k->volume->catalog);
    fold_kv_batch_delete(t->batch, e->key, e->key_len);
    if (!fold_check_commit(b->k, t))
        return false;
    (void)!fold_bucket_each(form_of(b->k), e->val, e->val_len, keep_entry, b);
    return true;
}

static int take_bucket(void *arg, const struct fold_kv_entry *e)
{
    struct fold_check *k = arg;
    struct bucket b = {.k = k};
    if (!fold_key_read_pair(e->key, e->key_len, FOLD_TABLE_DENTRY, &b.dir, &b.number)) {
        fold_check_bad_key(k, e, "directory entries");
        return 0;
    }
    b.node = fold_check_node(k, b.dir);
    bool is_dir = b.node != NULL && (S_ISDIR(b.node->mode) || (b.node->marks & FOLD_NODE_BAD));
    if (!is_dir) {
        fold_check_found(k, "dentry.stray", FOLD_SEVERITY_ERROR, fold_check_remove(k, e),
                         fold_label_ino(b.dir).text, "it has directory entries, but %s",
                         b.node == NULL ? "does not exist" : "is no directory");
        return 0;
    }
    if (b.node->marks & FOLD_NODE_BAD)
        b.node->mode = S_IFDIR;
    int rc = fold_bucket_each(form_of(k), e->val, e->val_len, take_entry, &b);
    if (rc == -FOLD_E_BAD_CATALOG)
        fold_check_found(k, "dentry.damaged", FOLD_SEVERITY_ERROR, rebuild_bucket(&b, e),
                         fold_label_ino(b.dir).text,
                         "some of its entries cannot be read; what they named goes to lost+found");
    else if (b.misplaced)
        fold_check_found(k, "dentry.misplaced", FOLD_SEVERITY_ERROR, rebuild_bucket(&b, e),
                         fold_label_ino(b.dir).text,
                         "an entry lies where its name is not looked for");
    return rc == -FOLD_E_BAD_CATALOG ? 0 : rc;
}

int fold_check_dentries(struct fold_check *k)
{
    return fold_check_table(k, FOLD_TABLE_DENTRY, "directories", k->node_count, take_bucket, k);
}
