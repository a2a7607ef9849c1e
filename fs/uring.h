/* SPDX-License-Identifier: MIT */
/*
 * One small io_uring with submission entries of 128 bytes, for commands to a device. One thread
 * submits and takes completions: the one that called fold_uring_enable.
 */
#ifndef FOLD_FS_URING_H
#define FOLD_FS_URING_H

#include "meta/base/attr.h"

#include <linux/io_uring.h>
#include <stdbool.h>

struct fold_uring;

/* For at most `entries` submissions at a time; disabled until fold_uring_enable. -ENOSYS and -EPERM
 * where the system has or allows none, -EINVAL where it is too old. */
int fold_uring_create(unsigned entries, struct fold_uring **out) FOLD_MUST;

/* After the last use by the thread; NULL is fine. What is under way is cancelled. */
void fold_uring_destroy(struct fold_uring *u);

/* Makes the calling thread the one that uses it. -errno. */
int fold_uring_enable(struct fold_uring *u) FOLD_MUST;

/* The next submission, zeroed, all 128 bytes of it. It goes out with fold_uring_submit. */
struct io_uring_sqe *fold_uring_next(struct fold_uring *u);

/* Hands over what was filled in; with `wait` returns when a completion is there. 0 or -errno. */
int fold_uring_submit(struct fold_uring *u, bool wait) FOLD_MUST;

/* Takes one completion, false if there is none. */
bool fold_uring_take(struct fold_uring *u, uint64_t *user_data, int *result) FOLD_MUST;

#endif
