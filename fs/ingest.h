/* SPDX-License-Identifier: MIT */
/*
 * The spine of the way in: a run of dirty bytes becomes holes and chunks, chunks become locations,
 * locations become extents. The only file that drives chunker, hashing and store together. Commits
 * nothing: see fs/flush.c.
 */
#ifndef FOLD_FS_INGEST_H
#define FOLD_FS_INGEST_H

#include "chunker/cutter.h"
#include "fs/slicemap.h"
#include "hashing/dedup.h"

struct fold_workers;

/* What several runs of one file have become. Zero-initialise; fini frees. */
struct fold_ingest {
    struct fold_chunk *pieces; /* chunks in file order */
    size_t count, cap;
    struct fold_ingest_scratch *scratch; /* copies of chunks that lay across slices */
    uint64_t bytes, zero_bytes;
};

void fold_ingest_fini(struct fold_ingest *g);

/*
 * Cuts and fingerprints one run: slices that follow each other in the file without a gap. With
 * `hold_tail` a last chunk whose end only the end of the data decides is left out, and *end is
 * where it starts; otherwise *end is the end of the run and that chunk carries FOLD_EXTENT_TAIL.
 * Zero runs yield no pieces. -ENOMEM.
 */
int fold_ingest_cut(struct fold_ingest *g, const struct fold_cut *cut,
                    const struct fold_dedup *dedup, const struct fold_slice *slices, size_t n,
                    bool hold_tail, uint64_t *end) FOLD_MUST;

/* Finds or stores all pieces, in parallel on the pool. The first error is returned. */
int fold_ingest_store(struct fold_ingest *g, struct fold_dedup *dedup,
                      struct fold_workers *workers) FOLD_MUST;

#endif
