/* SPDX-License-Identifier: MIT */
/*
 * FastCDC in plain C.
 */
#include "bench/micro/fastcdc.h"

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* `bits` ones spread over bits 16 to 62: zeros between them widen the window, as in the paper; bit
 * 63 is lost by the shift of two bytes per step. */
static uint64_t spread_mask(unsigned bits)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < bits; i++)
        mask |= 1ull << (16 + 46 * i / (bits - 1));
    return mask;
}

void fastcdc_init_lengths(struct fastcdc *f, size_t min, size_t normal, size_t max, unsigned bits,
                          uint64_t seed)
{
    f->min = min & ~(size_t)1;
    f->normal = normal & ~(size_t)1;
    f->max = max;
    f->strict = spread_mask(bits + 2);
    f->loose = spread_mask(bits - 2);
    for (int i = 0; i < 256; i++) {
        f->gear[i] = next_random(&seed);
        f->gear_shifted[i] = f->gear[i] << 1;
    }
}

void fastcdc_init(struct fastcdc *f, size_t avg, size_t min_part, uint64_t seed)
{
    unsigned bits = 0;
    while ((size_t)1 << bits < avg)
        bits++;
    fastcdc_init_lengths(f, avg / min_part, avg, 8 * avg, bits, seed);
}

/* Looks for a cut in [from, to) with one mask; from and to are even. Returns 0 if there is none. */
static size_t find(const struct fastcdc *f, const uint8_t *data, size_t from, size_t to,
                   uint64_t mask, uint64_t *hash)
{
    uint64_t h = *hash;
    uint64_t shifted = mask << 1;
    for (size_t i = from; i < to; i += 2) {
        h = (h << 2) + f->gear_shifted[data[i]];
        if ((h & shifted) == 0)
            return i + 1;
        h += f->gear[data[i + 1]];
        if ((h & mask) == 0)
            return i + 2;
    }
    *hash = h;
    return 0;
}

size_t fastcdc_next(const struct fastcdc *f, const uint8_t *data, size_t len)
{
    uint64_t hash = 0;
    size_t end = len < f->max ? len : f->max;
    if (len <= f->min)
        return len;
    size_t even = end & ~(size_t)1;
    size_t normal = even < f->normal ? even : f->normal;
    size_t cut = find(f, data, f->min, normal, f->strict, &hash);
    if (cut == 0)
        cut = find(f, data, normal, even, f->loose, &hash);
    return cut != 0 ? cut : end;
}
