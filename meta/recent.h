/* SPDX-License-Identifier: MIT */
/*
 * What the latest commits put into the catalog, before the database has it. Commits are collected
 * here and handed to the database many at a time: an entry changed again meanwhile (a directory
 * whose names change, a file made and filled) is written once, and entries in the order of their
 * keys cost the database a fraction of the same entries one by one. Readers of single entries look
 * here first; iterators are opened after a hand-over. The journal has it all: a crash loses
 * nothing.
 *
 * Thread-safe, but add and make_room are for the holder of the commit lock.
 */
#ifndef FOLD_META_RECENT_H
#define FOLD_META_RECENT_H

#include "meta/kv.h"

struct fold_recent;

/* A value found, in memory of its own. */
struct fold_found {
    const uint8_t *data;
    size_t len;
    struct fold_kv_value value; /* of the database, or */
    void *copy;                 /* of here, if it does not fit into */
    uint8_t small[192];
};

/* Collects for `kv`. -ENOMEM. */
int fold_recent_create(struct fold_kv *kv, struct fold_recent **out) FOLD_MUST;

/* What is collected is dropped. NULL is fine. */
void fold_recent_destroy(struct fold_recent *r);

/* The newest value of the key: -ENOENT, -ENOMEM, errors of the database. */
int fold_recent_get(struct fold_recent *r, const void *key, size_t key_len,
                    struct fold_found *out) FOLD_MUST;
void fold_found_fini(struct fold_found *f);

/* An iterator that sees everything added before the call; as fold_kv_iter_open. */
int fold_recent_iter_open(struct fold_recent *r, const void *from, size_t from_len, const void *to,
                          size_t to_len, bool scan, struct fold_kv_iter **out) FOLD_MUST;

/*
 * Hands over what is collected if the batch does not fit beside it; the errors of fold_kv_write,
 * everything collected stays then. After success add cannot fail for lack of room. The batch stays
 * as it is until it is added or given up.
 */
int fold_recent_make_room(struct fold_recent *r, struct fold_kv_batch *b) FOLD_MUST;

/*
 * Takes in the batch for which room was made last; one that cannot be collected (it is large, or
 * deletes a range) goes to the database at once. The errors of fold_kv_write: nothing was taken in.
 */
int fold_recent_add(struct fold_recent *r, struct fold_kv_batch *b) FOLD_MUST;

/* Hands over what is collected. The errors of fold_kv_write: it stays. */
int fold_recent_hand_over(struct fold_recent *r) FOLD_MUST;

#endif
