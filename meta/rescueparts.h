/* SPDX-License-Identifier: MIT */
/*
 * What the files that make up a rescue share (rescue, rescue_keys, rescue_pages). Everyone else
 * uses meta/rescue.h.
 */
#ifndef FOLD_META_RESCUEPARTS_H
#define FOLD_META_RESCUEPARTS_H

#include "meta/keys.h"
#include "meta/kv.h"

/* A run of keys: behind `after`, before `before`. An empty one is an open end. */
struct fold_rescue_run {
    struct fold_key after;
    struct fold_key before;
};

/*
 * Finds where reading goes on when it failed behind `last` (empty: at the beginning): the first
 * place, as far as its beginning tells, from which on an entry can be read. 1 and *out that entry,
 * 0 if nothing is left, -errno. *before: that place, empty if there is none. *it is replaced.
 */
int fold_rescue_skip(struct fold_kv *kv, struct fold_kv_iter **it, const struct fold_key *last,
                     struct fold_key *before, struct fold_kv_entry *out) FOLD_MUST;

/* True for errors of stored bytes: other ones are not gone around. */
bool fold_rescue_is_damage(int rc);

/* Puts pages that cannot be read where pages of files lie in the run and `kv` lacks them. */
int fold_rescue_pages(struct fold_kv *kv, const struct fold_rescue_run *run) FOLD_MUST;

#endif
