/* SPDX-License-Identifier: MIT */
/*
 * Unpacked lines. An insertion moves at most one entry per group: order inside a group does not
 * matter, so the first entry of each later group moves to the end of its group.
 */
#include "hashing/filter_line.h"

#include <assert.h>

/* Between words and slots; where memory order is slot order already, a plain copy. */
static inline void unpack(const uint64_t w[FOLD_PROBE_WORDS], uint16_t slot[FOLD_PROBE_SLOTS])
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(slot, w, FOLD_PROBE_SLOTS * sizeof *slot);
#else
    for (int i = 0; i < FOLD_PROBE_SLOTS; i++)
        slot[i] = (uint16_t)(w[i / 4] >> (16 * (i % 4)));
#endif
}

static inline void pack(const uint16_t slot[FOLD_PROBE_SLOTS], uint64_t w[FOLD_PROBE_WORDS])
{
    w[FOLD_PROBE_WORDS - 1] = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(w, slot, FOLD_PROBE_SLOTS * sizeof *slot);
#else
    memset(w, 0, FOLD_PROBE_WORDS * sizeof *w);
    for (int i = 0; i < FOLD_PROBE_SLOTS; i++)
        w[i / 4] |= (uint64_t)slot[i] << (16 * (i % 4));
#endif
}

void fold_line_read(const uint64_t *words, struct fold_line *l)
{
    uint64_t w[FOLD_PROBE_WORDS];
    for (int i = 0; i < FOLD_PROBE_WORDS; i++)
        w[i] = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
    unpack(w, l->slot);
    uint32_t header = (uint32_t)(w[FOLD_PROBE_WORDS - 1] >> 32);
    l->start[0] = 0;
    for (int g = 1; g < FOLD_PROBE_GROUPS; g++)
        l->start[g] = header >> (5 * g - 5) & 31;
    l->away = (uint8_t)(header >> 25);
    uint8_t count = l->start[FOLD_PROBE_GROUPS - 1];
    while (count < FOLD_PROBE_SLOTS && l->slot[count] != 0)
        count++;
    l->start[FOLD_PROBE_GROUPS] = count;
}

void fold_line_write(uint64_t *words, const struct fold_line *l)
{
    uint64_t w[FOLD_PROBE_WORDS];
    pack(l->slot, w);
    uint32_t header = (uint32_t)l->away << 25;
    for (int g = 1; g < FOLD_PROBE_GROUPS; g++)
        header |= (uint32_t)l->start[g] << (5 * g - 5);
    w[FOLD_PROBE_WORDS - 1] |= (uint64_t)header << 32;
    for (int i = 0; i < FOLD_PROBE_WORDS; i++)
        __atomic_store_n(&words[i], w[i], __ATOMIC_RELEASE);
}

void fold_line_clear(uint64_t *words)
{
    for (int i = 0; i < FOLD_PROBE_WORDS; i++)
        __atomic_store_n(&words[i], 0, __ATOMIC_RELEASE);
}

bool fold_line_valid(const struct fold_line *l)
{
    for (int g = 0; g < FOLD_PROBE_GROUPS; g++)
        if (l->start[g] > l->start[g + 1] || l->start[g + 1] > FOLD_PROBE_SLOTS)
            return false;
    for (uint32_t i = 0; i < FOLD_PROBE_SLOTS; i++)
        if ((l->slot[i] != 0) != (i < l->start[FOLD_PROBE_GROUPS]))
            return false;
    return l->away <= FOLD_PROBE_AWAY;
}

void fold_line_add(struct fold_line *l, uint32_t group, uint32_t code)
{
    uint32_t hole = l->start[FOLD_PROBE_GROUPS];
    assert(hole < FOLD_PROBE_SLOTS && code != 0);
    l->start[FOLD_PROBE_GROUPS]++;
    for (uint32_t g = FOLD_PROBE_GROUPS - 1; g > group; g--) {
        uint32_t first = l->start[g]++;
        l->slot[hole] = l->slot[first];
        hole = first;
    }
    l->slot[hole] = (uint16_t)code;
}

void fold_line_remove(struct fold_line *l, uint32_t i)
{
    uint32_t hole = i;
    for (uint32_t g = 0; g < FOLD_PROBE_GROUPS; g++) {
        uint32_t end = l->start[g + 1];
        if (end <= i)
            continue;
        l->slot[hole] = l->slot[end - 1];
        hole = end - 1;
        l->start[g + 1]--;
    }
    l->slot[hole] = 0;
}

uint32_t fold_line_count(const struct fold_line *l, uint32_t group, uint32_t code, uint32_t *at)
{
    uint32_t count = 0;
    for (uint32_t i = l->start[group]; i < l->start[group + 1]; i++) {
        if (l->slot[i] == code) {
            *at = i;
            count++;
        }
    }
    return count;
}
