/* SPDX-License-Identifier: MIT */
/*
 * Counts how many 4-byte groups of a sample were seen in it before: what an LZ77 compressor lives on.
 */
#include "asm/entropy.h"

#include <string.h>

#define STRETCHES 4
#define STRETCH   256 /* positions looked at in one stretch */
#define TABLE     1024

static unsigned stretch(const uint8_t *p, size_t positions, uint32_t *table)
{
    unsigned hits = 0;
    for (size_t i = 0; i < positions; i++) {
        uint32_t group;
        memcpy(&group, p + i, sizeof group);
        uint32_t *slot = &table[group * 2654435761u >> 22];
        hits += *slot == group;
        *slot = group;
    }
    return hits;
}

unsigned fold_entropy_c(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t table[TABLE];
    memset(table, 0, sizeof table);
    if (len < 8)
        return 0;
    if (len < STRETCHES * STRETCH + 4) {
        size_t positions = len - 3;
        return (unsigned)(stretch(p, positions, table) * 1000 / positions);
    }
    size_t step = (len - STRETCH - 3) / (STRETCHES - 1);
    unsigned hits = 0;
    for (size_t i = 0; i < STRETCHES; i++)
        hits += stretch(p + i * step, STRETCH, table);
    return hits * 1000 / (STRETCHES * STRETCH);
}

void fold_entropy_select(unsigned flags, struct fold_kernels *out)
{
    (void)flags;
    out->entropy = fold_entropy_c;
}
