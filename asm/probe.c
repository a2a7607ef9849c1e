/* SPDX-License-Identifier: MIT */
/*
 * Filter probes in plain C, the truth. Keys go through in blocks: while the lines of one block are
 * compared, those of the next are on their way from memory; the few keys that must also look into
 * their other line are gathered and handled at the end of each block. All shared words are read
 * atomically, lines with acquire order, so that a caller may check afterwards whether a writer was
 * at work.
 */
#include "asm/probe.h"

#define BLOCK 32

struct spot {
    const uint64_t *line;
    uint64_t dir;
    uint32_t home;
    uint32_t off;
    uint32_t low;
};

static inline uint64_t get(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline const uint64_t *line_at(const struct fold_probe_table *t, uint64_t dir, uint32_t line)
{
    uint64_t frame = get(&t->frames[(dir >> 24) + line / FOLD_PROBE_FRAME_LINES]);
    return (const uint64_t *)(uintptr_t)frame +
           (size_t)(line % FOLD_PROBE_FRAME_LINES) * FOLD_PROBE_WORDS;
}

static inline void locate(const struct fold_probe_table *t, uint64_t key, struct spot *s)
{
    s->dir = get(&t->dir[fold_probe_dir_index(t->roots, t->dir_bits, key)]);
    uint32_t x = fold_probe_position(key, s->dir >> 16 & 0xff);
    s->home = fold_probe_home(x, s->dir & 0xffff, &s->off);
    s->low = x & 0x3ff;
    s->line = line_at(t, s->dir, s->home);
    __builtin_prefetch(s->line);
}

/* One bit for each of the four 16-bit lanes of `word` that equals that of `code`. */
static inline uint32_t lanes_equal(uint64_t word, uint64_t code)
{
    const uint64_t low = 0x7fff7fff7fff7fffull;
    uint64_t x = word ^ code * 0x0001000100010001ull;
    uint64_t zero = ~(((x & low) + low) | x) & ~low;
    return (uint32_t)((zero >> 15) * 0x0001000200040008ull >> 48);
}

/* True if slots [from, to) of the line hold the entry with 0..ages low bits cleared. */
static bool line_has(const uint64_t *line, uint32_t from, uint32_t to, uint32_t home,
                     const struct spot *s, uint32_t ages)
{
    for (uint32_t w = from / 4; w * 4 < to; w++) {
        uint64_t word = get(&line[w]);
        uint32_t hits = 0;
        for (uint32_t a = 0; a <= ages; a++)
            hits |= lanes_equal(word, fold_probe_code(s->off, s->low >> a << a) & (home | 0x7fff));
        uint32_t lanes = 0xf;
        if (w * 4 < from)
            lanes &= 0xfu << (from - w * 4);
        if (to < w * 4 + 4)
            lanes &= 0xfu >> (w * 4 + 4 - to);
        if ((hits & lanes) != 0)
            return true;
    }
    return false;
}

/* The slots of the entry's group. */
static inline void group_range(uint32_t header, uint32_t off, uint32_t *from, uint32_t *to)
{
    uint32_t g = off / 32;
    *from = g == 0 ? 0 : header >> (5 * g - 5) & 31;
    *to = g == FOLD_PROBE_GROUPS - 1 ? FOLD_PROBE_SLOTS : header >> (5 * g) & 31;
}

static bool at_home(const struct spot *s, uint32_t ages, bool *away)
{
    uint32_t header = (uint32_t)(get(&s->line[FOLD_PROBE_WORDS - 1]) >> 32);
    uint32_t from;
    uint32_t to;
    group_range(header, s->off, &from, &to);
    *away = s->off / 2 + (header >> 25) >= FOLD_PROBE_AWAY;
    return line_has(s->line, from, to, FOLD_PROBE_HOME, s, ages);
}

static void locate_other(const struct fold_probe_table *t, struct spot *s)
{
    uint32_t lines = s->dir & 0xffff;
    uint32_t other = s->home + fold_probe_stride(s->off, lines);
    if (other >= lines)
        other -= lines;
    s->line = line_at(t, s->dir, other);
    __builtin_prefetch(s->line);
}

static bool at_other(const struct spot *s, uint32_t ages)
{
    uint32_t header = (uint32_t)(get(&s->line[FOLD_PROBE_WORDS - 1]) >> 32);
    uint32_t from;
    uint32_t to;
    group_range(header, s->off, &from, &to);
    return line_has(s->line, from, to, 0, s, ages);
}

/* Compares a block whose lines were prefetched; returns one bit per key. */
static uint32_t block_probe(const struct fold_probe_table *t, struct spot *spots, size_t n)
{
    uint32_t found = 0;
    uint32_t others = 0;
    for (size_t i = 0; i < n; i++) {
        bool away;
        bool hit = at_home(&spots[i], t->ages, &away);
        found |= (uint32_t)hit << i;
        if (!hit && away) {
            others |= 1u << i;
            locate_other(t, &spots[i]);
        }
    }
    for (; others != 0; others &= others - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(others);
        found |= (uint32_t)at_other(&spots[i], t->ages) << i;
    }
    return found;
}

void fold_probe_c(const struct fold_probe_table *table, const uint64_t *keys, size_t n,
                  uint64_t *maybe)
{
    struct spot spots[2][BLOCK];
    size_t now = n < BLOCK ? n : BLOCK;
    for (size_t i = 0; i < now; i++)
        locate(table, keys[i], &spots[0][i]);
    for (size_t done = 0, turn = 0; done < n; turn ^= 1) {
        size_t left = n - done - now;
        size_t next = left < BLOCK ? left : BLOCK;
        for (size_t i = 0; i < next; i++)
            locate(table, keys[done + now + i], &spots[turn ^ 1][i]);
        uint64_t found = block_probe(table, spots[turn], now);
        maybe[done / 64] = done % 64 == 0 ? found : maybe[done / 64] | found << 32;
        done += now;
        now = next;
    }
}

#if FOLD_ASM
void fold_probe_avx2(const struct fold_probe_table *table, const uint64_t *keys, size_t n,
                     uint64_t *maybe);
void fold_probe_avx512(const struct fold_probe_table *table, const uint64_t *keys, size_t n,
                       uint64_t *maybe);
#endif

void fold_probe_select(unsigned flags, struct fold_kernels *out)
{
    out->probe = fold_probe_c;
    out->chosen[FOLD_KERNEL_PROBE] = FOLD_LEVEL_SCALAR;
#if FOLD_ASM
    if ((flags & FOLD_CPU_AVX2) != 0) {
        out->probe = fold_probe_avx2;
        out->chosen[FOLD_KERNEL_PROBE] = FOLD_LEVEL_AVX2;
    }
    if ((flags & FOLD_CPU_AVX512) != 0) {
        out->probe = fold_probe_avx512;
        out->chosen[FOLD_KERNEL_PROBE] = FOLD_LEVEL_AVX512;
    }
#else
    (void)flags;
#endif
}
