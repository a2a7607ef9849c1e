/* SPDX-License-Identifier: MIT */
/*
 * A small memory of directory buckets lately read or changed, absent ones too. The kernel asks for
 * a name and then creates it, lists a directory and then looks up or removes what it lists: the
 * second question is answered from here. Of directories just made it is also known which names they
 * cannot have, which is what their first look-ups ask. Thread-safe; never older than the last
 * commit that returned.
 */
#ifndef FOLD_META_BUCKETS_H
#define FOLD_META_BUCKETS_H

#include "meta/types.h"

struct fold_buckets;

/* Longer buckets are not remembered. */
#define FOLD_BUCKET_KEPT 95u

/* -ENOMEM. */
int fold_buckets_create(struct fold_buckets **out) FOLD_MUST;
void fold_buckets_destroy(struct fold_buckets *b);

/* The bucket, if it is known: *len 0 means that there is none. */
bool fold_buckets_get(struct fold_buckets *b, fold_ino dir, uint64_t hash,
                      uint8_t data[FOLD_BUCKET_KEPT], size_t *len);

/*
 * For what is read from the database: `mark` before reading, `fill` after. A bucket that a commit
 * may have changed in between is not taken. Length 0: there is none.
 */
uint64_t fold_buckets_mark(const struct fold_buckets *b);
void fold_buckets_fill(struct fold_buckets *b, fold_ino dir, uint64_t hash, const void *data,
                       size_t len, uint64_t mark);

/* A commit has put this bucket into the database. The commit lock is held. */
void fold_buckets_change(struct fold_buckets *b, fold_ino dir, uint64_t hash, const void *data,
                         size_t len);

/*
 * `born`: the directory was just made, nobody knows it yet. `note`: a name with this hash is about
 * to be entered. `absent`: true if there is no bucket of this hash, as far as it is known.
 */
void fold_buckets_born(struct fold_buckets *b, fold_ino dir);
void fold_buckets_note(struct fold_buckets *b, fold_ino dir, uint64_t hash);
bool fold_buckets_absent(struct fold_buckets *b, fold_ino dir, uint64_t hash);

#endif
