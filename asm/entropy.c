/* SPDX-License-Identifier: MIT */
/*
 * Counts how many 4-byte groups of a sample were seen in it before: what an LZ77 compressor lives
 * on. Random data has none among so few, so a handful is evidence enough. Below that, a skewed
 * distribution of single bytes gives a few points for compressors that can use it. There is one
 * version only: the table look-ups leave vectors nothing to do (docs/asm/entropy.md).
 */
#include "asm/entropy.h"

#include <string.h>

#define STRETCHES  48 /* places looked at */
#define STRETCH    16 /* consecutive groups at each */
#define GROUP      4  /* bytes */
#define SAMPLE     (STRETCHES * STRETCH)
#define SLOTS_BITS 10
#define WINDOWS    4 /* of long data, so that a sample is as dense as in short data */
#define WINDOW     8192
#define LONG       (2 * WINDOWS * WINDOW)
#define HIT_POINTS 4
#define SKEW_FLOOR 600 /* sum of squared byte counts of 256 random bytes: 511, deviation 22 */
#define SKEW_STEP  20

struct sample {
    uint32_t last[1u << SLOTS_BITS]; /* the group last seen with this hash */
    uint8_t counts[256];
};

static unsigned look(struct sample *s, const uint8_t *p, size_t groups)
{
    unsigned hits = 0;
    for (size_t i = 0; i < groups; i++) {
        uint32_t group;
        memcpy(&group, p + i, GROUP);
        uint32_t *slot = &s->last[group * 2654435761u >> (32 - SLOTS_BITS)];
        hits += *slot == group;
        *slot = group;
    }
    return hits;
}

/* `stretches` places spread evenly over data, the first at its start, the last at its end. */
static unsigned spread(struct sample *s, const uint8_t *p, size_t len, size_t stretches)
{
    size_t step = (len - STRETCH - GROUP + 1) / (stretches - 1);
    unsigned hits = 0;
    for (size_t i = 0; i < stretches; i++)
        hits += look(s, p + i * step, STRETCH);
    return hits;
}

/* Points for a skewed distribution of bytes, from every fourth stretch. */
static unsigned skew(struct sample *s, const uint8_t *p, size_t len)
{
    size_t step = (len - STRETCH) / 15;
    for (size_t i = 0; i < 16; i++)
        for (size_t j = 0; j < STRETCH; j++)
            s->counts[p[i * step + j]] += s->counts[p[i * step + j]] < 255;
    unsigned sum = 0;
    for (size_t i = 0; i < 256; i++)
        sum += (unsigned)s->counts[i] * s->counts[i];
    unsigned points = sum > SKEW_FLOOR ? (sum - SKEW_FLOOR) / SKEW_STEP : 0;
    return points < FOLD_ENTROPY_PAYS ? points : FOLD_ENTROPY_PAYS - 1;
}

unsigned fold_entropy_c(const void *data, size_t len)
{
    const uint8_t *p = data;
    struct sample s;
    unsigned hits = 0;
    if (len < 2 * GROUP)
        return 0;
    memset(&s, 0, sizeof s);
    s.last[0] = 1; /* no group of zeros has been seen; 1 hashes elsewhere */
    if (len < SAMPLE + GROUP - 1) {
        size_t groups = len - GROUP + 1;
        hits = (unsigned)(look(&s, p, groups) * SAMPLE / groups);
    } else if (len < LONG) {
        hits = spread(&s, p, len, STRETCHES);
    } else {
        size_t step = (len - WINDOW) / (WINDOWS - 1);
        for (size_t i = 0; i < WINDOWS; i++)
            hits += spread(&s, p + i * step, WINDOW, STRETCHES / WINDOWS);
    }
    unsigned score = hits * HIT_POINTS;
    if (score < FOLD_ENTROPY_PAYS && len >= 256) {
        unsigned points = skew(&s, p, len);
        score = score > points ? score : points;
    }
    return score < 1000 ? score : 1000;
}

void fold_entropy_select(unsigned flags, struct fold_kernels *out)
{
    (void)flags;
    out->entropy = fold_entropy_c;
    out->chosen[FOLD_KERNEL_ENTROPY] = FOLD_LEVEL_SCALAR;
}
