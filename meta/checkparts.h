/* SPDX-License-Identifier: MIT */
/*
 * The inside of a check, for the files that make it up (check, check_segments, check_index,
 * check_catalog, check_tree, check_recipes). Everyone else uses meta/check.h.
 *
 * A check runs in rounds. A round looks at everything once, in the order of the functions below,
 * and with `repair` mends what it can on the way; rounds are repeated until one finds nothing to
 * mend. What the last round still finds is left.
 */
#ifndef FOLD_META_CHECKPARTS_H
#define FOLD_META_CHECKPARTS_H

#include "meta/check.h"
#include "meta/keys.h"
#include "meta/kv.h"
#include "meta/segfmt.h"
#include "meta/volume.h"

/* What is kept of a record: 12 bytes, since there are millions. */
struct fold_check_rec {
    uint32_t off;
    uint32_t raw_len; /* with the flags below */
    uint32_t tag;     /* of the fingerprint */
};

#define FOLD_REC_DAMAGED  0x80000000u /* header or payload failed its checksum */
#define FOLD_REC_NAMED    0x40000000u /* a recipe needs it */
#define FOLD_REC_INDEXED  0x20000000u /* the index names it */
#define FOLD_REC_LEN_MASK 0x00ffffffu

struct fold_check_seg {
    struct fold_seg_ident ident;
    struct fold_seg_summary sum; /* of a sealed one */
    struct fold_check_rec *recs; /* by offset */
    uint32_t count;
    uint32_t damaged; /* records */
    bool sealed;
    bool summary; /* the index has one that fits */
};

/* What is kept of an inode. */
struct fold_check_node {
    fold_ino ino;
    fold_ino parent; /* directories: as stored; others: a directory that names it, 0 if none */
    fold_ino above;  /* a directory that names it, 0 if none */
    uint64_t size;
    uint64_t mapped;       /* as stored */
    uint64_t found_mapped; /* by recipes */
    uint32_t mode;
    uint32_t nlink;
    uint32_t links;   /* entries that name it */
    uint32_t entries; /* directories: in it */
    uint32_t subdirs;
    uint32_t flags; /* FOLD_INODE_* */
    uint16_t marks; /* FOLD_NODE_* */
};

#define FOLD_NODE_BAD      1u  /* the stored inode cannot be read */
#define FOLD_NODE_ORPHAN   2u  /* in the list of orphans */
#define FOLD_NODE_XATTRS   4u  /* has some */
#define FOLD_NODE_TARGET   8u  /* has a symlink target */
#define FOLD_NODE_REACHED  16u /* from the root */
#define FOLD_NODE_CLIMBING 32u
#define FOLD_NODE_UNKNOWN  64u /* `found_mapped` is not complete: a page cannot be read */

struct fold_check {
    const struct fold_check_options *opt;
    struct fold_check_result *result;
    struct fold_volume_params params;
    int storefd;
    int segfd; /* segments/ */
    struct fold_volume *volume;
    struct fold_check_seg *segs; /* by number */
    size_t seg_count, seg_cap;
    struct fold_check_node *nodes; /* by inode number */
    size_t node_count, node_cap;
    fold_ino lost_found; /* 0 until needed */
    unsigned round;
    uint64_t mended;             /* in this round */
    bool index_broken;           /* it must be made anew before the volume is opened for writing */
    bool salvaged;               /* the catalog database was made anew */
    struct fold_shadow *overlay; /* without writing: segments/ with what the journal puts back */
    bool *seen;                  /* parallel to result->problems: found in this round */
    size_t seen_cap;
};

/* Short texts for the object of a problem. */
struct fold_check_label {
    char text[64];
};
struct fold_check_label fold_label_ino(fold_ino ino);
struct fold_check_label fold_label_seg(uint32_t seg);

/* Enters a problem, once. `repaired`: it was mended just now. */
void fold_check_found(struct fold_check *k, const char *code, enum fold_severity severity,
                      bool repaired, const char *object, const char *fmt, ...) FOLD_PRINTF(6, 7);

/* Commits repairs; true if it worked (else it is logged). */
struct fold_txn;
bool fold_check_commit(struct fold_check *k, struct fold_txn *t);

void fold_check_tell(const struct fold_check *k, const char *step, uint64_t done, uint64_t total);

/* Opens segments/, or what stands for it; -errno. */
int fold_check_open_segments(const struct fold_check *k) FOLD_MUST;

/* Segment files by themselves; before the volume is opened. */
int fold_check_segments(struct fold_check *k) FOLD_MUST;

/* The segment or record, NULL if there is none. */
struct fold_check_seg *fold_check_seg(const struct fold_check *k, uint32_t seg);
struct fold_check_rec *fold_check_rec(const struct fold_check *k, struct fold_loc loc);
uint32_t fold_check_tag(const uint64_t w[2]);

/* The records of a segment as its table, or else the records themselves, tell; malloc'd. */
int fold_check_entries(struct fold_check *k, const struct fold_check_seg *s,
                       struct fold_seg_entry **out, uint32_t *count) FOLD_MUST;

/* Forwarding tables and index against segments; damaged records that have a good twin are forwarded
 * to it. */
int fold_check_forward(struct fold_check *k) FOLD_MUST;
int fold_check_index(struct fold_check *k) FOLD_MUST;
int fold_check_twins(struct fold_check *k) FOLD_MUST;

/* Names what damage is left in records; after the recipes. */
int fold_check_damage(struct fold_check *k) FOLD_MUST;

/* Catalog tables one by one: fills `nodes`. */
int fold_check_catalog(struct fold_check *k) FOLD_MUST;
struct fold_check_node *fold_check_node(const struct fold_check *k, fold_ino ino);

/* Adds an inode above all others. NULL without memory. */
struct fold_check_node *fold_check_node_add(struct fold_check *k, fold_ino ino);

/*
 * Hands all entries of a table to `fn`, in order, and tells of `step` on the way; `total` is how
 * many entries there may be. A table that ends early is a problem found; -ENOMEM.
 */
typedef int (*fold_check_entry_fn)(void *arg, const struct fold_kv_entry *e);
int fold_check_table(struct fold_check *k, enum fold_table table, const char *step, uint64_t total,
                     fold_check_entry_fn fn, void *arg) FOLD_MUST;

/* With `repair`: removes an entry that belongs to nothing; true if it is gone. */
bool fold_check_remove(struct fold_check *k, const struct fold_kv_entry *e);

/* Enters an entry of `table` whose key is none as a problem, and removes it. */
void fold_check_bad_key(struct fold_check *k, const struct fold_kv_entry *e, const char *table);

/* Directory entries against inodes. */
int fold_check_dentries(struct fold_check *k) FOLD_MUST;

/* Recipes against inodes and records. */
int fold_check_recipes(struct fold_check *k) FOLD_MUST;

/* What the root does not reach; counts of links and entries; totals. */
int fold_check_tree(struct fold_check *k) FOLD_MUST;

#endif
