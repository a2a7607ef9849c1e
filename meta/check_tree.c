/* SPDX-License-Identifier: MIT */
/*
 * The tree as a whole: what the root does not reach, counts of links and entries against what was
 * counted, totals. With repair, unreachable inodes get a name in /lost+found, and stored counts
 * become the counted ones.
 */
#include "meta/base/err.h"
#include "meta/checkparts.h"
#include "meta/commit.h"
#include "meta/dentry.h"
#include "meta/inode.h"
#include "meta/recipe.h"
#include "meta/xattr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define LOST_FOUND "lost+found"

static bool bad(const struct fold_check_node *n)
{
    return (n->marks & FOLD_NODE_BAD) != 0;
}

static struct fold_attr fresh_attr(fold_ino ino, uint32_t mode)
{
    struct fold_attr a = {.ino = ino, .mode = mode, .nlink = S_ISDIR(mode) ? 2 : 1};
    clock_gettime(CLOCK_REALTIME, &a.btime);
    a.atime = a.mtime = a.ctime = a.btime;
    return a;
}

/* Writes what the node says to the catalog; the rest of an inode that can be read stays. */
static bool store_node(struct fold_check *k, const struct fold_check_node *n, struct fold_txn *t)
{
    struct fold_attr a;
    if (bad(n))
        a = fresh_attr(n->ino, n->mode | (S_ISDIR(n->mode) ? 0700 : 0600));
    else if (fold_inode_load(k->volume->catalog, n->ino, &a) < 0)
        return false;
    a.nlink = n->nlink;
    a.size = n->size;
    a.mapped = n->mapped;
    a.parent = S_ISDIR(n->mode) ? n->parent : a.parent;
    a.flags = n->flags;
    fold_inode_store(t, &a);
    return true;
}

static bool fix_node(struct fold_check *k, const struct fold_check_node *n)
{
    if (!k->opt->repair)
        return false;
    struct fold_txn *t = fold_txn_begin(k->volume->catalog);
    if (store_node(k, n, t))
        return fold_check_commit(k, t);
    fold_txn_abort(t);
    return false;
}

/* An inode whose value is damaged: nothing refers to it, so it goes. */
static bool remove_node(struct fold_check *k, fold_ino ino)
{
    if (!k->opt->repair)
        return false;
    struct fold_txn *t = fold_txn_begin(k->volume->catalog);
    fold_inode_remove(t, ino);
    fold_orphan_remove(t, ino);
    fold_symlink_remove(t, ino);
    int rc = fold_xattr_remove_all(t, ino);
    if (rc == 0)
        return fold_check_commit(k, t);
    fold_txn_abort(t);
    return false;
}

/* What an inode with a damaged value must have been like, from what refers to it. */
static void mend_bad(struct fold_check *k, struct fold_check_node *n)
{
    struct fold_check_label name = fold_label_ino(n->ino);
    bool useless = n->links == 0 && n->mode == 0 && n->ino != FOLD_INO_ROOT;
    if (useless) {
        fold_check_found(k, "inode.damaged", FOLD_SEVERITY_ERROR, remove_node(k, n->ino), name.text,
                         "the inode cannot be read; it has neither name nor content");
        return;
    }
    if (n->ino == FOLD_INO_ROOT)
        n->mode = S_IFDIR | 0755;
    n->nlink = S_ISDIR(n->mode) ? 2 + n->subdirs : FOLD_MAX(n->links, 1u);
    n->size = S_ISDIR(n->mode) ? n->entries : n->size;
    n->mapped = n->found_mapped;
    n->parent = S_ISDIR(n->mode) ? (n->above != 0 ? n->above : FOLD_INO_ROOT) : 0;
    n->flags = n->marks & FOLD_NODE_XATTRS ? FOLD_INODE_XATTRS : 0;
    bool fixed = fix_node(k, n);
    if (fixed)
        n->marks &= (uint16_t)~FOLD_NODE_BAD;
    fold_check_found(
        k, "inode.damaged", FOLD_SEVERITY_ERROR, fixed, name.text,
        "the inode cannot be read; its content is kept, owner, permissions and times are lost");
}

/* The directory /lost+found, made if missing. 0 if that is not possible. */
static fold_ino lost_found(struct fold_check *k)
{
    struct fold_catalog *c = k->volume->catalog;
    struct fold_dentry d;
    if (k->lost_found != 0)
        return k->lost_found;
    if (fold_dentry_load(c, FOLD_INO_ROOT, LOST_FOUND, sizeof LOST_FOUND - 1, &d) == 0) {
        const struct fold_check_node *n = fold_check_node(k, d.ino);
        k->lost_found = n != NULL && S_ISDIR(n->mode) ? d.ino : 0;
        return k->lost_found;
    }
    fold_ino ino = fold_catalog_new_ino(c);
    struct fold_check_node *n = k->node_count > 0 && k->nodes[k->node_count - 1].ino < ino
                                    ? fold_check_node_add(k, ino)
                                    : NULL;
    struct fold_check_node *root = fold_check_node(k, FOLD_INO_ROOT);
    if (n == NULL || root == NULL)
        return 0;
    *n = (struct fold_check_node){.ino = ino,
                                  .parent = FOLD_INO_ROOT,
                                  .above = FOLD_INO_ROOT,
                                  .mode = S_IFDIR | 0700,
                                  .nlink = 2,
                                  .links = 1,
                                  .marks = FOLD_NODE_REACHED};
    root->entries++;
    root->size++;
    root->subdirs++;
    root->nlink++;
    struct fold_txn *t = fold_txn_begin(c);
    struct fold_attr a = fresh_attr(ino, n->mode);
    a.parent = FOLD_INO_ROOT;
    fold_inode_store(t, &a);
    fold_txn_count(t, 0, 1, 0, 0);
    if (!store_node(k, root, t) ||
        fold_dentry_store(t, FOLD_INO_ROOT, LOST_FOUND, sizeof LOST_FOUND - 1, ino, S_IFDIR >> 12) <
            0) {
        fold_txn_abort(t);
        return 0;
    }
    k->lost_found = fold_check_commit(k, t) ? ino : 0;
    return k->lost_found;
}

/* Gives nodes[i] a name in /lost+found. */
static bool connect(struct fold_check *k, size_t i)
{
    char name[32];
    fold_ino dir = k->opt->repair ? lost_found(k) : 0;
    struct fold_check_node *lf = dir != 0 ? fold_check_node(k, dir) : NULL;
    struct fold_check_node *n = &k->nodes[i];
    if (lf == NULL || lf == n)
        return false;
    int len = snprintf(name, sizeof name, "#%" PRIu64, n->ino);
    bool is_dir = S_ISDIR(n->mode);
    struct fold_txn *t = fold_txn_begin(k->volume->catalog);
    lf->entries++;
    lf->size++;
    lf->subdirs += is_dir;
    lf->nlink += is_dir;
    n->links = 1;
    n->above = dir;
    n->parent = is_dir ? dir : n->parent;
    n->nlink = is_dir ? 2 + n->subdirs : 1;
    if (!store_node(k, lf, t) || !store_node(k, n, t) ||
        fold_dentry_store(t, dir, name, (size_t)len, n->ino, (uint8_t)((n->mode & S_IFMT) >> 12)) <
            0) {
        fold_txn_abort(t);
        return false;
    }
    return fold_check_commit(k, t);
}

/* Takes the entry that names a directory of a ring away. */
static bool cut_ring(struct fold_check *k, struct fold_check_node *n)
{
    struct fold_dentry_iter *it;
    struct fold_dentry d;
    const char *name;
    size_t len;
    if (!k->opt->repair || fold_dentry_iter_open(k->volume->catalog, n->above, 0, &it) < 0)
        return false;
    int rc;
    while ((rc = fold_dentry_iter_next(it, &d, &name, &len)) > 0 && d.ino != n->ino)
        ;
    bool done = false;
    if (rc > 0) {
        struct fold_txn *t = fold_txn_begin(k->volume->catalog);
        if (fold_dentry_remove(t, n->above, name, len) == 0)
            done = fold_check_commit(k, t);
        else
            fold_txn_abort(t);
    }
    fold_dentry_iter_close(it);
    struct fold_check_node *above = fold_check_node(k, n->above);
    if (done && above != NULL) {
        above->entries--;
        above->subdirs--;
    }
    return done;
}

/* Climbs from nodes[i] to a place known to be reached, or to where the way ends. Returns the index
 * of the end. */
static size_t climb(struct fold_check *k, size_t i, bool *ring)
{
    *ring = false;
    for (;;) {
        struct fold_check_node *n = &k->nodes[i];
        n->marks |= FOLD_NODE_CLIMBING;
        if (n->ino == FOLD_INO_ROOT || n->links == 0 || (n->marks & FOLD_NODE_REACHED))
            return i;
        struct fold_check_node *up = fold_check_node(k, n->above);
        if (up == NULL)
            return i;
        if (up->marks & FOLD_NODE_REACHED)
            return (size_t)(up - k->nodes);
        if (up->marks & FOLD_NODE_CLIMBING) {
            *ring = true;
            return (size_t)(up - k->nodes);
        }
        i = (size_t)(up - k->nodes);
    }
}

/* Marks the way from nodes[i] upwards as reached. */
static void settle_way(struct fold_check *k, size_t i)
{
    for (struct fold_check_node *n = &k->nodes[i]; n != NULL && (n->marks & FOLD_NODE_REACHED) == 0;
         n = fold_check_node(k, n->above)) {
        n->marks |= FOLD_NODE_REACHED;
        n->marks &= (uint16_t)~FOLD_NODE_CLIMBING;
    }
}

static void end_of_way(struct fold_check *k, size_t end, bool ring)
{
    struct fold_check_node n = k->nodes[end];
    struct fold_check_label name = fold_label_ino(n.ino);
    if (n.ino == FOLD_INO_ROOT || (n.marks & FOLD_NODE_REACHED))
        return;
    if (ring) {
        bool fixed = cut_ring(k, &k->nodes[end]) && connect(k, end);
        fold_check_found(k, "tree.ring", FOLD_SEVERITY_ERROR, fixed, name.text,
                         "this directory lies within itself%s",
                         fixed ? "; it is in /" LOST_FOUND " now" : "");
    } else if (n.nlink == 0 && !bad(&n)) {
        if (n.marks & FOLD_NODE_ORPHAN)
            return;
        bool fixed = false;
        if (k->opt->repair) {
            struct fold_txn *t = fold_txn_begin(k->volume->catalog);
            fold_orphan_add(t, n.ino);
            fixed = fold_check_commit(k, t);
        }
        fold_check_found(k, "inode.leaked", FOLD_SEVERITY_ERROR, fixed, name.text,
                         "it was deleted, but takes space; it goes to the list of orphans");
    } else if (!bad(&n)) {
        fold_check_found(k, "inode.unreachable", FOLD_SEVERITY_ERROR, connect(k, end), name.text,
                         "no directory names it; it goes to /" LOST_FOUND);
    }
}

static void check_reach(struct fold_check *k)
{
    struct fold_check_node *root = fold_check_node(k, FOLD_INO_ROOT);
    if (root != NULL)
        root->marks |= FOLD_NODE_REACHED;
    size_t count = k->node_count; /* lost+found, when it is made, is reached */
    for (size_t i = 0; i < count; i++) {
        bool ring;
        if (k->nodes[i].marks & FOLD_NODE_REACHED)
            continue;
        size_t end = climb(k, i, &ring);
        end_of_way(k, end, ring);
        settle_way(k, i);
    }
}

static void wrong(struct fold_check *k, struct fold_check_node *n, const char *code,
                  const char *what, uint64_t *stored, uint64_t counted)
{
    if (*stored == counted)
        return;
    uint64_t was = *stored;
    *stored = counted;
    fold_check_found(k, code, FOLD_SEVERITY_ERROR, fix_node(k, n), fold_label_ino(n->ino).text,
                     "%s is %" PRIu64 ", but should be %" PRIu64, what, was, counted);
}

static void check_node(struct fold_check *k, struct fold_check_node *n)
{
    bool is_dir = S_ISDIR(n->mode);
    uint64_t nlink = n->nlink;
    uint64_t links =
        is_dir ? (n->links > 0 || n->ino == FOLD_INO_ROOT ? 2 + n->subdirs : n->nlink) : n->links;
    n->nlink = (uint32_t)links;
    if (n->links == 0 && n->ino != FOLD_INO_ROOT)
        n->nlink = (uint32_t)nlink; /* told already */
    else
        wrong(k, n, "inode.nlink", "its link count", &nlink, links);
    if (is_dir)
        wrong(k, n, "directory.entries", "its number of entries", &n->size, n->entries);
    if (is_dir && (n->links > 0 || n->ino == FOLD_INO_ROOT))
        wrong(k, n, "directory.parent", "its parent", &n->parent,
              n->ino == FOLD_INO_ROOT ? FOLD_INO_ROOT : n->above);
    bool bound = (n->flags & FOLD_INODE_RECOUNT) != 0 && n->mapped >= n->found_mapped;
    if ((n->marks & FOLD_NODE_UNKNOWN) == 0 && !bound)
        wrong(k, n, "inode.mapped", "the number of its stored bytes", &n->mapped, n->found_mapped);
    if ((n->marks & FOLD_NODE_XATTRS) && (n->flags & FOLD_INODE_XATTRS) == 0) {
        n->flags |= FOLD_INODE_XATTRS;
        fold_check_found(k, "inode.xattrs", FOLD_SEVERITY_ERROR, fix_node(k, n),
                         fold_label_ino(n->ino).text,
                         "it has extended attributes, but does not say so");
    }
    if (S_ISLNK(n->mode) && (n->marks & FOLD_NODE_TARGET) == 0)
        fold_check_found(k, "symlink.missing", FOLD_SEVERITY_ERROR, false,
                         fold_label_ino(n->ino).text,
                         "the target of this symbolic link is missing");
}

static void check_totals(struct fold_check *k)
{
    struct fold_counters is, should = {0};
    fold_catalog_counters(k->volume->catalog, &is);
    for (size_t i = 0; i < k->node_count; i++) {
        const struct fold_check_node *n = &k->nodes[i];
        bool named = n->nlink > 0; /* what was deleted while open counts with its bytes only */
        should.files += named && S_ISREG(n->mode);
        should.directories += named && S_ISDIR(n->mode);
        should.others += named && !S_ISREG(n->mode) && !S_ISDIR(n->mode);
        should.logical_bytes += n->mapped;
        should.next_ino = FOLD_MAX(should.next_ino, n->ino + 1);
    }
    if (is.next_ino < should.next_ino) {
        if (k->opt->repair)
            atomic_store(&k->volume->catalog->next_ino, should.next_ino);
        struct fold_txn *t = fold_txn_begin(k->volume->catalog);
        fold_orphan_remove(t, should.next_ino); /* a commit, to store the number */
        bool fixed = k->opt->repair ? fold_check_commit(k, t) : (fold_txn_abort(t), false);
        fold_check_found(k, "totals.inodes", FOLD_SEVERITY_ERROR, fixed, "totals",
                         "the next inode number is in use already");
    }
    if (is.files == should.files && is.directories == should.directories &&
        is.others == should.others && is.logical_bytes == should.logical_bytes)
        return;
    bool fixed = false;
    if (k->opt->repair) {
        struct fold_txn *t = fold_txn_begin(k->volume->catalog);
        fold_txn_count(t, (int64_t)(should.files - is.files),
                       (int64_t)(should.directories - is.directories),
                       (int64_t)(should.others - is.others),
                       (int64_t)(should.logical_bytes - is.logical_bytes));
        fixed = fold_check_commit(k, t);
    }
    fold_check_found(k, "totals.counts", FOLD_SEVERITY_WARNING, fixed, "totals",
                     "the totals of files, directories and bytes are not those of the tree");
}

/* An empty root directory; what it named goes to lost+found in the next round. */
static bool make_root(struct fold_check *k)
{
    if (!k->opt->repair)
        return false;
    struct fold_txn *t = fold_txn_begin(k->volume->catalog);
    struct fold_attr a = fresh_attr(FOLD_INO_ROOT, S_IFDIR | 0755);
    a.parent = FOLD_INO_ROOT;
    fold_inode_store(t, &a);
    return fold_check_commit(k, t);
}

int fold_check_tree(struct fold_check *k)
{
    if (fold_check_node(k, FOLD_INO_ROOT) == NULL) {
        fold_check_found(k, "tree.root", FOLD_SEVERITY_ERROR, make_root(k), "inode 1",
                         "the root directory is missing");
        return 0;
    }
    fold_check_tell(k, "tree", 0, k->node_count);
    for (size_t i = 0; i < k->node_count; i++)
        if (bad(&k->nodes[i]))
            mend_bad(k, &k->nodes[i]);
    check_reach(k);
    for (size_t i = 0; i < k->node_count; i++)
        if (!bad(&k->nodes[i]))
            check_node(k, &k->nodes[i]);
    check_totals(k);
    fold_check_tell(k, "tree", k->node_count, k->node_count);
    return 0;
}
