/* SPDX-License-Identifier: MIT */
/*
 * LZ4 and zstd with reused per-thread state. The state lives behind a pthread key whose destructor
 * frees it; a decoder that was left by a fault in the mapping it read (see base/guard.h) starts
 * afresh at the next call.
 */
#include "meta/codec.h"

#include "asm/entropy.h"
#include "meta/base/err.h"
#include "meta/base/knob.h"

#include <lz4.h>
#include <pthread.h>
#include <zstd.h>

struct state {
    void *lz4;
    ZSTD_CCtx *cctx;
    ZSTD_DCtx *dctx;
    void *scratch[FOLD_SCRATCH_SLOTS];
    size_t scratch_len[FOLD_SCRATCH_SLOTS];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool have_key;
static __thread struct state *mine;

static void state_destroy(void *arg)
{
    struct state *st = arg;
    free(st->lz4);
    (void)ZSTD_freeCCtx(st->cctx);
    (void)ZSTD_freeDCtx(st->dctx);
    for (unsigned i = 0; i < FOLD_SCRATCH_SLOTS; i++)
        free(st->scratch[i]);
    free(st);
    mine = NULL;
}

static void make_key(void)
{
    have_key = pthread_key_create(&key, state_destroy) == 0;
}

static struct state *state_get(void)
{
    if (FOLD_LIKELY(mine != NULL))
        return mine;
    (void)pthread_once(&once, make_key);
    if (!have_key)
        return NULL;
    struct state *st = calloc(1, sizeof *st);
    if (st == NULL)
        return NULL;
    if (pthread_setspecific(key, st) != 0) {
        free(st);
        return NULL;
    }
    mine = st;
    return st;
}

void *fold_codec_scratch(unsigned slot, size_t len)
{
    struct state *st = state_get();
    if (st == NULL)
        return NULL;
    if (st->scratch_len[slot] < len) {
        free(st->scratch[slot]);
        st->scratch[slot] = malloc(len);
        st->scratch_len[slot] = st->scratch[slot] != NULL ? len : 0;
    }
    return st->scratch[slot];
}

static size_t compress_lz4(struct state *st, int level, const void *src, size_t len, void *dst,
                           size_t cap)
{
    if (st->lz4 == NULL)
        st->lz4 = malloc((size_t)LZ4_sizeofState());
    if (st->lz4 == NULL)
        return 0;
    int n = LZ4_compress_fast_extState(st->lz4, src, dst, (int)len, (int)cap, FOLD_MAX(level, 1));
    return n > 0 ? (size_t)n : 0;
}

static size_t compress_zstd(struct state *st, int level, const void *src, size_t len, void *dst,
                            size_t cap)
{
    if (st->cctx == NULL)
        st->cctx = ZSTD_createCCtx();
    if (st->cctx == NULL)
        return 0;
    size_t n = ZSTD_compressCCtx(st->cctx, dst, cap, src, len, level);
    return ZSTD_isError(n) ? 0 : n;
}

/* What the probe must promise: LZ4 needs repeats, zstd has an entropy coder as well. */
static unsigned least_score(enum fold_codec codec)
{
    return codec == FOLD_CODEC_LZ4 ? FOLD_ENTROPY_PAYS : FOLD_ENTROPY_PAYS_CODER;
}

size_t fold_codec_compress(enum fold_codec codec, int level, const void *src, size_t len, void *dst)
{
    size_t cap = len - (len + 15) / 16;
    if (codec == FOLD_CODEC_NONE || cap == 0)
        return 0;
    if (len >= fold_knobs.compress_probe_bytes &&
        fold_kernels()->entropy(src, len) < least_score(codec))
        return 0;
    struct state *st = state_get();
    if (st == NULL)
        return 0;
    return codec == FOLD_CODEC_LZ4 ? compress_lz4(st, level, src, len, dst, cap)
                                   : compress_zstd(st, level, src, len, dst, cap);
}

size_t fold_codec_compress_next(struct fold_codec_run *run, enum fold_codec codec, int level,
                                const void *src, size_t len, void *dst)
{
    unsigned refused = run->refused++;
    if (refused >= fold_knobs.compress_patience && refused % fold_knobs.compress_patience != 0)
        return 0;
    size_t n = fold_codec_compress(codec, level, src, len, dst);
    if (n > 0)
        run->refused = 0;
    return n;
}

int fold_codec_decompress(enum fold_codec codec, const void *src, size_t len, void *dst,
                          size_t raw_len)
{
    struct state *st;
    switch (codec) {
    case FOLD_CODEC_NONE:
        if (len != raw_len)
            return -FOLD_E_BAD_RECORD;
        memcpy(dst, src, len);
        return 0;
    case FOLD_CODEC_LZ4: {
        int n = LZ4_decompress_safe(src, dst, (int)len, (int)raw_len);
        return n >= 0 && (size_t)n == raw_len ? 0 : -FOLD_E_BAD_RECORD;
    }
    case FOLD_CODEC_ZSTD:
        st = state_get();
        if (st != NULL && st->dctx == NULL)
            st->dctx = ZSTD_createDCtx();
        if (st == NULL || st->dctx == NULL)
            return -ENOMEM;
        return ZSTD_decompressDCtx(st->dctx, dst, raw_len, src, len) == raw_len
                   ? 0
                   : -FOLD_E_BAD_RECORD;
    }
    return -FOLD_E_BAD_RECORD;
}
