/* SPDX-License-Identifier: MIT */
/*
 * The workload of the crash tests and its oracle. The sequence of operations follows from the seed
 * alone, so the checker makes it again and knows, from how many operations began and how many were
 * acknowledged, what must be there.
 */
#ifndef FOLD_TESTS_CRASH_CRASHWORK_H
#define FOLD_TESTS_CRASH_CRASHWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CW_DIRS    3
#define CW_NAMES   18 /* dN/fM */
#define CW_HANDLES 4
#define CW_OBJECTS 4096
#define CW_SIZE    (160u << 10) /* largest file */

enum cw_kind {
    CW_MKDIR,
    CW_CREATE, /* name b on handle h, exclusively */
    CW_OPEN,   /* name a on handle h; O_TRUNC, O_SYNC by flags */
    CW_WRITE,  /* handle h */
    CW_TRUNCATE,
    CW_PUNCH,
    CW_COPY, /* from name a to handle h */
    CW_FSYNC,
    CW_FDATASYNC,
    CW_CLOSE,
    CW_RENAME, /* a to b */
    CW_UNLINK,
    CW_LINK,
    CW_FSYNCDIR, /* directory a */
    CW_KINDS
};

struct cw_op {
    enum cw_kind kind;
    int a;
    int b;
    int h;
    bool trunc;
    bool sync; /* O_SYNC */
    uint64_t off;
    uint64_t from; /* source offset of a copy */
    uint32_t len;
    uint64_t content; /* seed of the bytes */
};

/* One state of a file's content. */
struct cw_version {
    uint8_t *data; /* only in the checker */
    uint64_t size;
    unsigned op;    /* the operation that made it */
    unsigned group; /* of rewrites after O_TRUNC: versions of one group only count with its last; 0
                       none */
};

struct cw_object {
    struct cw_version *versions;
    unsigned count;
    unsigned must;  /* index: nothing older may be seen */
    unsigned named; /* operation that last changed a name of it */
    unsigned group; /* the rewrite going on, 0 none */
};

/* From operation `op` on, a name means object `obj` (-1 none), in version `version` or newer. */
struct cw_binding {
    int obj;
    unsigned op;
    unsigned version;
};

struct cw_name {
    struct cw_binding *list;
    unsigned count;
};

struct cw_handle {
    int obj; /* -1 closed */
    bool sync;
};

struct cw_model {
    struct cw_object objects[CW_OBJECTS];
    int object_count;
    struct cw_name names[CW_NAMES];
    struct cw_handle handles[CW_HANDLES];
    bool groups_open[CW_OBJECTS]; /* by group number: not yet closed */
    unsigned group_count;
    uint64_t random;
    unsigned ops;   /* taken in so far */
    unsigned floor; /* names: nothing before this operation may be seen */
    bool contents;  /* keep the bytes of versions */
    bool power;     /* only syncs count, not closes */
    bool timer;     /* a background commit may have come in the middle of a rewrite */
};

/* Starts the sequence of `seed`. */
void cw_start(struct cw_model *m, uint64_t seed);

/* The next operation. */
void cw_next(struct cw_model *m, struct cw_op *op);

/* It was begun. */
void cw_begin(struct cw_model *m, const struct cw_op *op);

/* It was acknowledged. */
void cw_ack(struct cw_model *m, const struct cw_op *op);

/* Everything begun so far has become durable. */
void cw_settle(struct cw_model *m);

/* Object a name means now; -1 none. */
int cw_lookup(const struct cw_model *m, int name);

/* Path of a name, of a directory. */
void cw_path(const char *top, int name, char out[4096]);
void cw_dir_path(const char *top, int dir, char out[4096]);

/* The bytes a write of the operation writes. */
void cw_content(const struct cw_op *op, uint8_t *out);

/* Compares the tree below `top` with what may be there; prints what is wrong. Returns 0 or 1. */
int cw_check(struct cw_model *m, const char *top);

#endif
