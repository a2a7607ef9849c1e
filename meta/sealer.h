/* SPDX-License-Identifier: MIT */
/*
 * The background thread that seals full segments and brings their fingerprints into the index,
 * several segments in one load. Until a load is done the open index answers for them.
 */
#ifndef FOLD_META_SEALER_H
#define FOLD_META_SEALER_H

#include "meta/barrier.h"
#include "meta/index.h"
#include "meta/openindex.h"

struct fold_sealer;

/* Starts the thread, which is joined by stop. All four are borrowed. -errno. */
int fold_sealer_start(struct fold_barrier *barrier, struct fold_openindex *open,
                      struct fold_index *index, struct fold_sealer **out) FOLD_MUST;

/* Ends the thread after what it is doing; what is queued stays unsealed. NULL is fine. */
void fold_sealer_stop(struct fold_sealer *s);

/* Hands over a full segment (one reference moves to the sealer). Never waits, never fails. */
void fold_sealer_submit(struct fold_sealer *s, struct fold_segment *seg);

/* Hands over a sealed segment that the index does not know (one reference moves); its entries are
 * in the open index. */
void fold_sealer_adopt(struct fold_sealer *s, struct fold_segment *seg);

/* Waits until few enough segments are queued. The error of a sealer that cannot get rid of them. No
 * lock may be held. */
int fold_sealer_throttle(struct fold_sealer *s) FOLD_MUST;

/* Seals and indexes everything submitted so far. The first error; what failed is tried again later.
 */
int fold_sealer_flush(struct fold_sealer *s) FOLD_MUST;

/* No load happens between hold and release: open index and index together show each fingerprint. */
void fold_sealer_hold(struct fold_sealer *s);
void fold_sealer_release(struct fold_sealer *s);

#endif
