/* SPDX-License-Identifier: MIT */
/*
 * The cut law. Lengths from min to max are divided into a strict and a loose stretch (normalised
 * chunking); in each a position is a cut if the kernel's 16-bit form of the 32 bytes before it
 * exceeds a threshold and a 64-bit mix of the same bytes is below another. The first test is cheap
 * enough to be made at every position and lets as few through as a multiple of 2^-16 allows; the
 * second thins them to any rate.
 *
 * Rates. In units of the mean length, cuts come at rate s from 1/2 to 1 and at 4 s from 1 to 4.
 * Random data has the mean 1/2 + (1 - e^(-s/2)) / s + e^(-s/2) (1 - e^(-12 s)) / (4 s), which is 1
 * for s = STRICT / 2^16.
 */
#include "chunker/cutter.h"

#include "asm/cdc.h"

#include <errno.h>
#include <string.h>

#define STRICT 76039u /* 1.16026 */

static uint64_t load8(const uint8_t *p)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* Avalanche of the window before position i. */
static uint64_t mix(const uint8_t *data, size_t i)
{
    uint64_t h = 0x8f5c28f5c28f5c29u;
    for (size_t back = 8; back <= FOLD_CDC_WINDOW; back += 8) {
        h = (h ^ load8(data + i - back)) * 0x9e6c63d0676a9a99u;
        h ^= h >> 29;
    }
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

/* Makes the rule that cuts at `rate` positions in 2^32. */
static struct fold_cut_rule rule(uint32_t end, uint64_t rate)
{
    /* The form must let through at least that much: a multiple of 2^-16. */
    uint64_t steps = (rate + 0xffff) >> 16;
    uint64_t share = (rate << 31) / (steps << 16); /* of those, in 2^31 */
    return (struct fold_cut_rule){
        .end = end,
        .form = (int16_t)(32767 - (int64_t)steps),
        .mix = share >= 1u << 31 ? UINT64_MAX : share << 33,
    };
}

int fold_cut_init(struct fold_cut *cut, enum fold_cut_kind kind, uint32_t avg)
{
    if (avg < FOLD_CHUNK_MIN_AVG || avg > FOLD_CHUNK_MAX_AVG || (avg & (avg - 1)) != 0)
        return -EINVAL;
    if (kind != FOLD_CUT_CDC && kind != FOLD_CUT_FIXED)
        return -EINVAL;
    memset(cut, 0, sizeof *cut);
    cut->kind = kind;
    cut->avg = avg;
    cut->min = avg;
    cut->max = avg;
    if (kind == FOLD_CUT_FIXED)
        return 0;
    cut->min = avg / 2;
    cut->max = avg * 4;
    cut->strict = rule(avg, ((uint64_t)STRICT << 16) / avg);
    cut->loose = rule(cut->max, ((uint64_t)STRICT << 18) / avg);
    return 0;
}

/* First cut in [from, to) by one rule, or `to`. */
static size_t find(const struct fold_kernels *k, const struct fold_cut_rule *r, const uint8_t *data,
                   size_t from, size_t to)
{
    while (from < to) {
        size_t i = k->cdc_scan(data, from, to, r->form);
        if (i == to || r->mix == UINT64_MAX || mix(data, i) <= r->mix)
            return i;
        from = i + 1;
    }
    return to;
}

/*
 * Where to cut when the whole of data[0..max) holds no cut: data with few different windows, often
 * periodic. Cutting at a place that the content names, by thresholds that more and more windows
 * pass, keeps such data in step with its own repetitions; only what looks the same everywhere
 * (zeros) is cut at max.
 */
static size_t forced(const struct fold_kernels *k, const struct fold_cut *cut, const uint8_t *data)
{
    const int32_t rare = 64 * (32767 - cut->loose.form);
    const int32_t forms[] = {rare < 32767 ? 32767 - rare : 0, 28671, 0};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t at = k->cdc_scan(data, cut->max / 2, cut->max, forms[i]);
        if (at < cut->max)
            return at;
    }
    return cut->max;
}

size_t fold_cut_resume(const struct fold_cut *cut, const uint8_t *data, size_t len, size_t known)
{
    const struct fold_kernels *k = fold_kernels();
    size_t end = len < cut->max
                     ? len + 1
                     : cut->max; /* a cut at `len` itself needs only the bytes before it */
    size_t from = known < cut->min ? cut->min : known + 1;
    size_t stop = end < cut->strict.end ? end : cut->strict.end;
    if (from < stop) {
        size_t i = find(k, &cut->strict, data, from, stop);
        if (i < stop)
            return i;
        from = stop;
    }
    if (from < end) {
        size_t i = find(k, &cut->loose, data, from, end);
        if (i < end)
            return i;
    }
    return len >= cut->max ? forced(k, cut, data) : 0;
}

size_t fold_cut_next(const struct fold_cut *cut, const uint8_t *data, size_t len)
{
    return fold_cut_resume(cut, data, len, 0);
}
