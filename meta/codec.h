/* SPDX-License-Identifier: MIT */
/*
 * Compression of chunks: none, LZ4 or zstd behind one pair of functions, with the probe that says
 * "not worth it". Thread-safe; each thread keeps its own codec state, freed when it ends.
 */
#ifndef FOLD_META_CODEC_H
#define FOLD_META_CODEC_H

#include "meta/store.h"

/*
 * Compresses if it pays: the entropy probe must promise something and at least 1/16 must be saved.
 * `dst` has room for `len` bytes. Returns the compressed length, 0 for "store it as it is" (also
 * without memory).
 */
size_t fold_codec_compress(enum fold_codec codec, int level, const void *src, size_t len,
                           void *dst);

/* Chunks that follow each other in one write; starts as {0}. */
struct fold_codec_run {
    unsigned refused; /* chunks since the last that was worth compressing */
};

/*
 * fold_codec_compress for the next chunk of a run. What does not compress comes in long stretches,
 * and probing costs memory traffic: after a few refusals only every fourth chunk is tried.
 */
size_t fold_codec_compress_next(struct fold_codec_run *run, enum fold_codec codec, int level,
                                const void *src, size_t len, void *dst);

/* Decompresses to exactly raw_len bytes. -FOLD_E_BAD_RECORD if the input is no such stream;
 * -ENOMEM. */
int fold_codec_decompress(enum fold_codec codec, const void *src, size_t len, void *dst,
                          size_t raw_len) FOLD_MUST;

/*
 * Scratch memory of this thread of at least `len` bytes, valid until the next call on the same
 * thread. NULL if there is no memory. `slot` selects one of FOLD_SCRATCH_SLOTS independent pieces.
 */
#define FOLD_SCRATCH_PUT    0
#define FOLD_SCRATCH_VERIFY 1
#define FOLD_SCRATCH_READ   2
#define FOLD_SCRATCH_SLOTS  3
void *fold_codec_scratch(unsigned slot, size_t len);

#endif
