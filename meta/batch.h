/* SPDX-License-Identifier: MIT */
/*
 * Takes a stored batch of changes apart: the bytes of fold_kv_batch_data, which are also the data
 * of a journal record. Strict: bytes that are not exactly one batch of puts, deletions and
 * deletions of ranges are refused. Nothing is copied, nothing beyond the bytes is read.
 */
#ifndef FOLD_META_BATCH_H
#define FOLD_META_BATCH_H

#include "meta/base/bytes.h"

enum fold_batch_kind { FOLD_BATCH_DELETE, FOLD_BATCH_PUT, FOLD_BATCH_DELETE_RANGE };

/* One change; key and value lie in the batch. */
struct fold_batch_change {
    enum fold_batch_kind kind;
    uint32_t key_len, val_len;
    const uint8_t *key;
    const uint8_t *val; /* of a range its end; of a deletion NULL */
};

/* A cursor over a batch, whose bytes stay the caller's and in place meanwhile. */
struct fold_batch {
    struct fold_rd rd; /* the changes that are left, and */
    uint32_t left;     /* how many there must be */
};

/* Begins with the first change. -FOLD_E_BAD_JOURNAL if the header is cut short, or there are too
 * many bytes for a batch. */
int fold_batch_open(struct fold_batch *b, const void *data, size_t len) FOLD_MUST;

/*
 * The next change, in the order in which they were made: 1; 0 if all the header counts have been
 * there and nothing follows. -FOLD_E_BAD_JOURNAL: the bytes are no batch, what was read of it
 * before must not be used.
 */
int fold_batch_next(struct fold_batch *b, struct fold_batch_change *out) FOLD_MUST;

#endif
