/* SPDX-License-Identifier: MIT */
/*
 * One cache line of the filter, unpacked for its writer. The packed form is that of asm/probe.h.
 */
#ifndef FOLD_HASHING_FILTER_LINE_H
#define FOLD_HASHING_FILTER_LINE_H

#include "asm/probe.h"
#include "meta/base/attr.h"

struct fold_line {
    uint16_t slot[FOLD_PROBE_SLOTS];
    uint8_t start[FOLD_PROBE_GROUPS +
                  1]; /* first slot of each group; the last is the number of entries */
    uint8_t away;     /* keys with off / 2 + away >= 127 may stand elsewhere */
};

/* Unpacks the line at `words`. Only the writer may call it. */
void fold_line_read(const uint64_t *words, struct fold_line *l);

/* Packs `l` into the line at `words` with release stores. */
void fold_line_write(uint64_t *words, const struct fold_line *l);

/* Makes the line at `words` empty. */
void fold_line_clear(uint64_t *words);

/* True if the packed line has no empty slot. */
static inline bool fold_line_full(const uint64_t *words)
{
    uint64_t last = __atomic_load_n(&words[FOLD_PROBE_WORDS - 1], __ATOMIC_RELAXED);
    return (last >> 16 & 0xffff) != 0;
}

/* Checks a line that comes from a file: order and ranges of the header, empty slots last. */
bool fold_line_valid(const struct fold_line *l);

/* Adds an entry to its group (off / 32); the line must not be full. */
void fold_line_add(struct fold_line *l, uint32_t group, uint32_t code);

/* Removes slot i. */
void fold_line_remove(struct fold_line *l, uint32_t i);

/* Number of slots of the group that hold `code`; *at is one of them. */
uint32_t fold_line_count(const struct fold_line *l, uint32_t group, uint32_t code, uint32_t *at);

/* What slot i of group `group` says about its key. */
static inline uint32_t fold_line_off(const struct fold_line *l, uint32_t group, uint32_t i)
{
    return group * 32 + ((~(uint32_t)l->slot[i] & 0x7fff) >> 10);
}

static inline uint32_t fold_line_low(const struct fold_line *l, uint32_t i)
{
    return ~(uint32_t)l->slot[i] & 0x3ff;
}

#endif
