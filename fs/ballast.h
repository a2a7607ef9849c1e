/* SPDX-License-Identifier: MIT */
/*
 * Space set aside on a host filesystem that is getting full: a file that occupies bytes nobody
 * needs, given up when deleting and collecting need them, so that they work even when somebody else
 * filled the host. There is none while the host has plenty. Thread-safe.
 */
#ifndef FOLD_FS_BALLAST_H
#define FOLD_FS_BALLAST_H

#include "meta/base/attr.h"

#include <stdbool.h>

struct fold_ballast;

/* Before a volume is opened: gives up what an earlier mount left, if opening might need it.
 * `storefd` is the store. */
void fold_ballast_rescue(int storefd);

/* Finds what an earlier mount left. `storefd` is borrowed. -ENOMEM, -errno. */
int fold_ballast_open(int storefd, struct fold_ballast **out) FOLD_MUST;

/* The file stays as it is. NULL is fine. */
void fold_ballast_close(struct fold_ballast *b);

/* Takes ballast, keeps it or gives it up, by what the host has left. Now and then, when nothing is
 * short. */
void fold_ballast_adjust(struct fold_ballast *b);

/* Gives the ballast up if the host has next to nothing left. Cheap; before everything that must not
 * fail for lack of space. */
void fold_ballast_yield(struct fold_ballast *b);

/* Bytes it occupies now. */
uint64_t fold_ballast_held(const struct fold_ballast *b);

#endif
