/* SPDX-License-Identifier: MIT */
/*
 * Brings the segments found on disk into a store that is being opened. Sealed segments with a
 * summary in the index are taken from there, their files untouched; all others are looked into.
 */
#ifndef FOLD_META_SEGOPEN_H
#define FOLD_META_SEGOPEN_H

#include "meta/appender.h"

/* What opening fills; all borrowed. Without a sealer (read-only) nothing on disk is changed. */
struct fold_segopen {
    int dirfd;
    uint8_t fp_width;
    struct fold_segset *set;
    struct fold_index *index; /* NULL if there is none to be had: read-only with a damaged index */
    struct fold_openindex *open;
    struct fold_barrier *barrier;
    struct fold_sealer *sealer;     /* NULL: read-only */
    struct fold_appender *appender; /* NULL: read-only */
};

/* A segment that cannot be read is logged and left out; its chunks are lost until it can. -ENOMEM,
 * -errno. */
int fold_segopen_run(const struct fold_segopen *o) FOLD_MUST;

#endif
