/* SPDX-License-Identifier: MIT */
/*
 * Applies the write batches of a journal to a database, faster than one after the other: of several
 * changes of one key only the last is applied, and in the order of the keys. One thread at a time.
 */
#ifndef FOLD_META_REPLAY_H
#define FOLD_META_REPLAY_H

#include "meta/kv.h"

struct fold_replay;

/* `kv` stays in use until destroy. NULL without memory. */
struct fold_replay *fold_replay_create(struct fold_kv *kv);

/*
 * Takes a batch in (bytes of fold_kv_batch_data); it is visible in the database after the next
 * fold_replay_finish. -FOLD_E_BAD_JOURNAL if the bytes are no batch, or errors of fold_kv_write.
 */
int fold_replay_add(struct fold_replay *r, const void *data, size_t len) FOLD_MUST;

/* Applies everything taken in. */
int fold_replay_finish(struct fold_replay *r) FOLD_MUST;

/* NULL is fine. What was not finished is forgotten. */
void fold_replay_destroy(struct fold_replay *r);

#endif
