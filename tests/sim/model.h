/* SPDX-License-Identifier: MIT */
/*
 * The oracle: names, attributes and contents as they must be, and as they were after each
 * operation since what is known to be durable.
 */
#ifndef FOLD_TESTS_SIM_MODEL_H
#define FOLD_TESTS_SIM_MODEL_H

#include "tests/sim/content.h"

#include <sys/types.h>

#define SIM_XATTRS 4

struct sim_attrs {
    mode_t mode;
    uint32_t nlink, uid, rdev;
    struct {
        bool set;
        uint32_t len;
        uint64_t seed;
    } xattrs[SIM_XATTRS];
};

struct sim_entry {
    char *name;
    struct sim_node *node;
};

/* At the end of operation `op` this version was stored, not only written. */
struct sim_commit {
    uint64_t op;
    size_t version;
};

struct sim_node {
    uint64_t ino;
    struct sim_attrs attrs;
    char *target;
    struct sim_node *parent; /* of a directory */
    struct sim_entry *entries;
    size_t entry_count;
    struct sim_version *versions; /* at least one of a regular file */
    size_t version_count;
    struct sim_commit *commits;
    size_t commit_count;
    size_t doubt; /* something failed since: any version from this one on may be there; SIZE_MAX */
    unsigned opens;
    uint64_t lookups; /* that the kernel has of it */
};

/* A name and what it led to. */
struct sim_item {
    char *path;
    struct sim_node *node;
    struct sim_attrs attrs;
};

/* All names, parents before what is in them, and the same as text. */
struct sim_snapshot {
    struct sim_item *items;
    size_t count;
    char *text;
};

struct sim_model {
    struct sim_arena arena;
    struct sim_node *root;
    struct sim_node **nodes; /* all there ever were */
    size_t node_count;
    uint64_t op;      /* number of the last operation begun */
    uint64_t acked;   /* and of the last one that was answered */
    uint64_t unsure;  /* nobody could look what became of the next operation; UINT64_MAX */
    uint64_t durable; /* after a power cut operations up to this one are there */
    struct sim_snapshot **snapshots; /* after each operation */
    size_t snapshot_count;
    bool names_changed; /* since the last snapshot */
};

void sim_model_init(struct sim_model *m);
void sim_model_fini(struct sim_model *m);

/* A new operation begins; what is changed from now on belongs to it. */
void sim_model_begin(struct sim_model *m);
/* Its changes are made. `acked`: it was answered. */
void sim_model_end(struct sim_model *m, bool acked);

struct sim_node *sim_node_new(struct sim_model *m, mode_t mode);
struct sim_entry *sim_entry_find(const struct sim_node *dir, const char *name);
void sim_entry_add(struct sim_model *m, struct sim_node *dir, const char *name,
                   struct sim_node *node);
void sim_entry_remove(struct sim_model *m, struct sim_node *dir, const char *name);
bool sim_node_below(const struct sim_node *node, const struct sim_node *dir);

static inline const struct sim_version *sim_node_now(const struct sim_node *n)
{
    return &n->versions[n->version_count - 1];
}

/* The current operation gives the file this content. */
void sim_node_change(struct sim_model *m, struct sim_node *n, struct sim_version v);

/* The file's version number `version` is stored; with all of its names, if it is told durable. */
void sim_node_commit(struct sim_model *m, struct sim_node *n, size_t version);

/* Every file below the root is stored as it is now. */
void sim_model_commit_all(struct sim_model *m);

/* A request failed: what is not known to be stored may be lost, told or not yet told. */
void sim_model_doubt(struct sim_model *m);

struct sim_snapshot *sim_model_snapshot(struct sim_model *m);

/* Makes the names those of a snapshot again. */
void sim_model_restore(struct sim_model *m, const struct sim_snapshot *s);

/* The versions that a crash may have left if it came between operations p and p + 1 (in the middle
 * of that): first and last + 1. */
void sim_node_versions(const struct sim_node *n, uint64_t p, size_t *first, size_t *end);

/* One line of the text of a snapshot. */
char *sim_item_text(struct sim_arena *a, const char *path, const struct sim_attrs *attrs,
                    const char *xattrs, const char *target, size_t label);
/* The value of an attribute as text: length and checksum. */
void sim_xattr_text(char out[64], size_t number, const uint8_t *value, size_t len);

#endif
