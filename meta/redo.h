/* SPDX-License-Identifier: MIT */
/*
 * Small appends that an fsync waits for go into the journal as well, so that one flush of one file
 * makes them durable; the segments follow at the next checkpoint. After a crash these bytes are put
 * back into the segments before those are looked at. A redo record is a journal record whose data
 * begins with FOLD_REDO_MAGIC; then, for each piece: u32 segment, u32 offset, u32 length, bytes.
 */
#ifndef FOLD_META_REDO_H
#define FOLD_META_REDO_H

#include "meta/base/attr.h"

#include <stdbool.h>

#define FOLD_REDO_MAGIC UINT64_C(0x4f444552444c4f46) /* "FOLDREDO" */

/* Most bytes of one redo record: beyond that syncing the segments is as cheap. */
#define FOLD_REDO_MAX (64u << 10)

/* True if the data of a journal record is one. */
bool fold_redo_is(const void *data, size_t len);

struct fold_shadow;

/*
 * Puts the bytes of all redo records of the journal below `storefd` back where they are missing.
 * Segment files that do not exist are left alone. Before the store is opened, for writing only.
 * -errno, -FOLD_E_BAD_JOURNAL.
 */
int fold_redo_run(int storefd) FOLD_MUST;

/*
 * For reading only: if bytes are missing, *out is a copy of segments/ that has them, to be used in
 * its place and destroyed when the store is closed; else NULL. Only segments that bytes are missing
 * in are copied, the others linked. Nothing in the store changes. As fold_redo_run.
 */
int fold_redo_overlay(int storefd, struct fold_shadow **out) FOLD_MUST;

#endif
