/* SPDX-License-Identifier: MIT */
/*
 * The bound on memory held by dirty data. Writers are never refused for it: when the bound is
 * passed, the reply to a write is held back until flushing has brought the sum down again.
 * Thread-safe.
 */
#ifndef FOLD_FS_BUDGET_H
#define FOLD_FS_BUDGET_H

#include "fs/reply.h"

struct fold_budget;

int fold_budget_create(uint64_t limit_bytes, struct fold_budget **out) FOLD_MUST;
void fold_budget_destroy(struct fold_budget *b);

void fold_budget_add(struct fold_budget *b, uint64_t bytes);
void fold_budget_sub(struct fold_budget *b, uint64_t bytes);

uint64_t fold_budget_used(const struct fold_budget *b);

/* True from half of the limit on: flush now, do not wait for the timer. */
bool fold_budget_pressed(const struct fold_budget *b);

/* Replies `count` bytes written: at once, or as soon as the sum is below the limit. */
void fold_budget_reply_write(struct fold_budget *b, fuse_req_t req, size_t count);

#endif
