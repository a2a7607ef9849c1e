/* SPDX-License-Identifier: MIT */
/*
 * Directory entries. Key: directory, number of a bucket, which follows from the name's hash
 * (meta/namehash.h); value: the entries in that bucket. An entry's cookie (bucket and slot, > 2,
 * < 2^63, in stores with keyed names practically always < 2^31) never changes while the entry
 * lives, and no other entry of the directory has it, so directory offsets stay valid while others
 * come and go. Lookups cost one Get whatever the directory's size. Writers hold the directory's
 * lock.
 */
#ifndef FOLD_META_DENTRY_H
#define FOLD_META_DENTRY_H

#include "meta/catalog.h"
#include "meta/namehash.h"

struct fold_dentry {
    fold_ino ino;
    uint64_t cookie;
    uint8_t type; /* DT_* */
};

/* -ENOENT if there is no such name. `len` 1..FOLD_NAME_MAX; any bytes but '/' and NUL. */
int fold_dentry_load(struct fold_catalog *c, fold_ino dir, const char *name, size_t len,
                     struct fold_dentry *out) FOLD_MUST;

/*
 * Adds or replaces `name`. Several puts and removes of the same transaction see each other only if
 * the names hash differently; the functions detect and handle two names of one transaction in one
 * bucket (rename inside a directory).
 */
int fold_dentry_store(struct fold_txn *t, fold_ino dir, const char *name, size_t len, fold_ino ino,
                      uint8_t type) FOLD_MUST;

/* Adds `name`: -EEXIST (and nothing changed) if there is one. Saves creators a look-up. */
int fold_dentry_add(struct fold_txn *t, fold_ino dir, const char *name, size_t len, fold_ino ino,
                    uint8_t type) FOLD_MUST;
int fold_dentry_remove(struct fold_txn *t, fold_ino dir, const char *name, size_t len) FOLD_MUST;

/* Iteration in cookie order over a consistent view of the directory. */
struct fold_dentry_iter;
int fold_dentry_iter_open(struct fold_catalog *c, fold_ino dir, uint64_t after_cookie,
                          struct fold_dentry_iter **out) FOLD_MUST;

/* `dir` was just made and has no entries: look-ups in it will know what it does not have. */
void fold_dentry_born(struct fold_catalog *c, fold_ino dir);

/* Next entry; `name` is NUL-terminated and valid until the next call. 1 for an entry, 0 at the end,
 * negative on error. */
int fold_dentry_iter_next(struct fold_dentry_iter *it, struct fold_dentry *out, const char **name,
                          size_t *len) FOLD_MUST;
void fold_dentry_iter_close(struct fold_dentry_iter *it);

/*
 * For checks: calls `fn` for each entry of a stored bucket until the bytes make no sense. 0, or
 * -FOLD_E_BAD_CATALOG; a negative return stops and is returned. `name` is not terminated. The
 * cookie is left 0.
 */
typedef int (*fold_bucket_fn)(void *arg, const char *name, size_t len, const struct fold_dentry *d);
int fold_bucket_each(enum fold_name_form form, const void *data, size_t len, fold_bucket_fn fn,
                     void *arg) FOLD_MUST;

/* For checks: 1 if looking for this name, which lies in bucket `number`, finds it there, else 0.
 * -ENOMEM, -EIO, ... */
int fold_dentry_belongs(struct fold_catalog *c, fold_ino dir, const char *name, size_t len,
                        uint64_t number) FOLD_MUST;

/* The bucket in which a name is kept, at the first level: second number of its key. */
int fold_dentry_bucket_of(const struct fold_catalog *c, fold_ino dir, const char *name, size_t len,
                          uint64_t *out) FOLD_MUST;

#endif
