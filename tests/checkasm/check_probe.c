/* SPDX-License-Identifier: MIT */
/*
 * Filter probes on made-up tables: regions of any size and depth, lines with valid headers and
 * lines of noise, as a probe may meet them while a writer is at work. Frames are few and serve many
 * regions. Each result is compared with a slow reading of the law in asm/probe.h, one key and one
 * slot at a time.
 */
#include "asm/probe.h"
#include "tests/checkasm/harness.h"

#include <string.h>

#define FRAMES      16
#define FRAME_BYTES (FOLD_PROBE_FRAME_LINES * FOLD_PROBE_WORDS * 8)
#define ROOTS_MAX   5
#define DEPTH_MAX   4
#define KEYS_MAX    700

struct rig {
    struct fold_probe_table table;
    uint64_t *dir;
    uint64_t *frames;
    uint64_t *keys;
    uint8_t *lines; /* FRAMES frames */
};

static uint32_t slot_of(const uint64_t *line, uint32_t i)
{
    return (uint32_t)(line[i / 4] >> (16 * (i % 4))) & 0xffff;
}

static const uint64_t *line_at(const struct rig *r, uint64_t dir, uint32_t line)
{
    return (const uint64_t *)(uintptr_t)r->frames[(dir >> 24) + line / 256] + line % 256 * 8;
}

/* Looks for the entry in the slots of its group, and for what it may have become by losing bits. */
static bool oracle_line(const struct rig *r, const uint64_t *line, uint32_t off, uint32_t low,
                        uint32_t home)
{
    uint32_t header = (uint32_t)(line[7] >> 32);
    uint32_t g = off / 32;
    uint32_t from = g == 0 ? 0 : header >> (5 * (g - 1)) & 31;
    uint32_t to = g == 5 ? 30 : header >> (5 * g) & 31;
    for (uint32_t i = from; i < to; i++)
        for (uint32_t age = 0; age <= r->table.ages; age++)
            if (slot_of(line, i) ==
                (home | (((off % 32) << 10 | (low & ~((1u << age) - 1))) ^ 0x7fff)))
                return true;
    return false;
}

static bool oracle(const struct rig *r, uint64_t key)
{
    uint32_t root = (uint32_t)((key & 0xffffff) * r->table.roots / 0x1000000);
    uint64_t high = key >> 24;
    uint64_t dir =
        r->dir[((uint64_t)root << r->table.dir_bits) + (high >> (40 - r->table.dir_bits))];
    uint32_t lines = dir & 0xffff;
    uint32_t x = high >> (10 - (dir >> 16 & 0xff)) & 0x3fffffff;
    uint64_t z = (uint64_t)(x / 1024) * lines;
    uint32_t home = (uint32_t)(z / 0x100000);
    uint32_t off = (uint32_t)(z % 0x100000 * 192 / 0x100000);
    const uint64_t *line = line_at(r, dir, home);
    if (oracle_line(r, line, off, x % 1024, 0x8000))
        return true;
    if (off / 2 + (line[7] >> 57) < 127)
        return false;
    uint32_t other = (home + 1 + (off * 40503 % 65536) * (lines - 1) / 65536) % lines;
    return oracle_line(r, line_at(r, dir, other), off, x % 1024, 0);
}

static uint64_t up_to(struct check *c, uint64_t max)
{
    return check_random(c) % (max + 1);
}

static void make_lines(struct check *c, struct rig *r)
{
    check_fill(c, r->lines, (size_t)FRAMES * FRAME_BYTES);
    for (size_t i = 0; i < (size_t)FRAMES * FOLD_PROBE_FRAME_LINES; i++) {
        uint8_t *p = r->lines + i * 64;
        uint32_t header = 0;
        uint32_t at = 0;
        if (up_to(c, 7) == 0)
            continue; /* noise */
        for (int g = 0; g < 5; g++) {
            at += (uint32_t)up_to(c, 10);
            at = at > 30 ? 30 : at;
            header |= at << (5 * g);
        }
        header |= (uint32_t)(up_to(c, 1) == 0 ? 0 : up_to(c, 127)) << 25;
        memcpy(p + 60, &header, 4);
    }
}

/* Puts the entry of a key where a probe would find it, on one line or the other, sometimes with low
 * bits lost. */
static void plant(struct check *c, struct rig *r, uint64_t key)
{
    uint64_t dir = r->dir[fold_probe_dir_index(r->table.roots, r->table.dir_bits, key)];
    uint32_t off;
    uint32_t x = fold_probe_position(key, dir >> 16 & 0xff);
    uint32_t home = fold_probe_home(x, dir & 0xffff, &off);
    uint32_t age = (uint32_t)up_to(c, r->table.ages + 1);
    uint32_t code = fold_probe_code(off, (x & 0x3ff) >> age << age);
    uint32_t line = home;
    if (up_to(c, 1) == 0) {
        line = (home + fold_probe_stride(off, dir & 0xffff)) % (dir & 0xffff);
        code &= 0x7fff;
    }
    uint64_t *words = (uint64_t *)(uintptr_t)line_at(r, dir, line);
    uint32_t header = (uint32_t)(words[7] >> 32);
    uint32_t from = off / 32 == 0 ? 0 : header >> (5 * (off / 32) - 5) & 31;
    uint32_t i = (from + (uint32_t)up_to(c, 3)) % 30;
    words[i / 4] &= ~(0xffffull << 16 * (i % 4));
    words[i / 4] |= (uint64_t)code << 16 * (i % 4);
}

static void make_table(struct check *c, struct rig *r)
{
    uint32_t depth = (uint32_t)up_to(c, DEPTH_MAX);
    uint32_t roots = 1 + (uint32_t)up_to(c, ROOTS_MAX - 1);
    size_t words = (size_t)roots << depth;
    size_t regions = 1 + up_to(c, words - 1);
    r->frames = (uint64_t *)(void *)check_high(c, 2, regions * FOLD_PROBE_MAX_FRAMES * 8);
    r->dir = r->frames - words;
    r->lines = check_high(c, 0, (size_t)FRAMES * FRAME_BYTES);
    for (size_t i = 0; i < regions * FOLD_PROBE_MAX_FRAMES; i++)
        r->frames[i] = CHECK_ARG(r->lines + up_to(c, FRAMES - 1) * FRAME_BYTES);
    for (size_t i = 0; i < words; i++)
        r->dir[i] = (up_to(c, regions - 1) * FOLD_PROBE_MAX_FRAMES) << 24 | up_to(c, depth) << 16 |
                    (FOLD_PROBE_MIN_LINES + up_to(c, FOLD_PROBE_MIN_LINES));
    r->table = (struct fold_probe_table){r->dir, r->frames, roots, depth, depth, 0};
    if (up_to(c, 3) == 0)
        r->table.ages = (uint32_t)up_to(c, FOLD_PROBE_MAX_DEPTH);
    make_lines(c, r);
}

static void probe(struct check *c, const struct fold_kernels *k, struct rig *r, size_t n)
{
    uint64_t want[KEYS_MAX / 64 + 1] = {0};
    r->keys = (uint64_t *)(void *)check_high(c, 1, n * 8);
    for (size_t i = 0; i < n; i++) {
        r->keys[i] = check_random(c);
        if (up_to(c, 2) == 0)
            plant(c, r, r->keys[i]);
    }
    for (size_t i = 0; i < n; i++)
        want[i / 64] |= (uint64_t)oracle(r, r->keys[i]) << i % 64;
    struct fold_probe_table *table = (struct fold_probe_table *)(void *)check_high(c, 1, n * 8) - 1;
    *table = r->table;
    size_t bytes = (n + 63) / 64 * 8;
    uint8_t *maybe = check_low(c, 1, 64 + 8 * up_to(c, 7));
    check_canary_set(c, maybe, bytes);
    uint64_t args[] = {CHECK_ARG(table), CHECK_ARG(r->keys), n, CHECK_ARG(maybe)};
    uint64_t ignored;
    if (check_call(c, (check_fn)k->probe, args, 4, &ignored) && memcmp(maybe, want, bytes) != 0)
        check_fail(c, CHECK_WRONG, "%zu keys, roots %u, depth %u, ages %u", n, r->table.roots,
                   r->table.dir_bits, r->table.ages);
    check_canary_verify(c, maybe, bytes, "probe");
}

static void run(struct check *c, const struct fold_kernels *k)
{
    struct rig r;
    for (size_t n = 0; n <= CHECK_LEN_MAX; n++) {
        if (n % 16 == 0)
            make_table(c, &r);
        probe(c, k, &r, n);
    }
    for (int i = 0; i < 40; i++) {
        make_table(c, &r);
        probe(c, k, &r, up_to(c, KEYS_MAX));
    }
}

static void bench(struct check *c, const struct fold_kernels *k)
{
    static const size_t sizes[] = {16, 64, 256};
    struct rig r;
    make_table(c, &r);
    r.table.ages = 0;
    uint64_t maybe[4];
    r.keys = (uint64_t *)(void *)check_low(c, 1, 0);
    for (size_t i = 0; i < 256; i++)
        r.keys[i] = check_random(c);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t args[] = {CHECK_ARG(&r.table), CHECK_ARG(r.keys), sizes[i], CHECK_ARG(maybe)};
        (void)check_bench(c, "probe", (check_fn)k->probe, args, 4, sizes[i] * 64);
    }
}

const struct check_family check_probe = {"probe", run, bench};
