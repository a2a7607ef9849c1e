/* SPDX-License-Identifier: MIT */
/*
 * Patterns are functions of seed and position; versions are small arrays, copied at each change.
 */
#include "tests/sim/content.h"

#include <stdlib.h>
#include <string.h>

struct sim_block {
    struct sim_block *next;
    max_align_t data[];
};

void *sim_alloc(struct sim_arena *a, size_t size)
{
    struct sim_block *b = calloc(1, sizeof *b + size);
    if (b == NULL)
        abort();
    b->next = a->blocks;
    a->blocks = b;
    return b->data;
}

char *sim_text(struct sim_arena *a, const char *text)
{
    size_t len = strlen(text);
    char *copy = sim_alloc(a, len + 1);
    memcpy(copy, text, len);
    return copy;
}

void sim_arena_clear(struct sim_arena *a)
{
    while (a->blocks != NULL) {
        struct sim_block *b = a->blocks;
        a->blocks = b->next;
        free(b);
    }
}

void *sim_grow(struct sim_arena *a, void *array, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return array;
    void *bigger = sim_alloc(a, (count > 0 ? count * 2 : 1) * size);
    if (count > 0)
        memcpy(bigger, array, count * size);
    return bigger;
}

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void fill_random(uint64_t seed, uint64_t pos, uint8_t *out, size_t len)
{
    uint64_t base = mix(seed);
    for (size_t i = 0; i < len;) {
        uint64_t word = mix(base + (pos + i) / 8);
        size_t skip = (pos + i) % 8;
        size_t n = 8 - skip < len - i ? 8 - skip : len - i;
        word >>= 8 * skip;
        memcpy(out + i, &word, n);
        i += n;
    }
}

void sim_fill(enum sim_pattern pattern, uint64_t seed, uint64_t pos, uint8_t *out, size_t len)
{
    uint64_t period = 1 + seed % 4099;
    switch (pattern) {
    case SIM_RANDOM:
        fill_random(seed, pos, out, len);
        return;
    case SIM_LETTERS:
        fill_random(seed, pos, out, len);
        for (size_t i = 0; i < len; i++)
            out[i] = (uint8_t)('a' + out[i] % 8);
        return;
    case SIM_PERIOD:
        for (size_t i = 0; i < len; i++)
            out[i] = (uint8_t)(mix(seed ^ ((pos + i) % period)) >> 8);
        return;
    case SIM_BYTES:
        memcpy(out, (const uint8_t *)(uintptr_t)seed + pos, len);
        return;
    default:
        memset(out, 0, len);
        return;
    }
}

void sim_version_read(const struct sim_version *v, uint64_t off, uint8_t *out, size_t len)
{
    memset(out, 0, len);
    for (size_t i = 0; i < v->count; i++) {
        const struct sim_extent *x = &v->x[i];
        uint64_t from = x->off > off ? x->off : off;
        uint64_t end = x->off + x->len < off + len ? x->off + x->len : off + len;
        if (from < end)
            sim_fill(x->pattern, x->seed, x->pos + (from - x->off), out + (from - off),
                     (size_t)(end - from));
    }
}

/* The part of an extent in [from, end); false if there is none. */
static bool part_of(const struct sim_extent *x, uint64_t from, uint64_t end, struct sim_extent *out)
{
    uint64_t lo = x->off > from ? x->off : from;
    uint64_t hi = x->off + x->len < end ? x->off + x->len : end;
    if (lo >= hi)
        return false;
    *out = *x;
    out->off = lo;
    out->len = hi - lo;
    out->pos += lo - x->off;
    return true;
}

/* Replaces [off, off + len) by `n` extents that lie in it. */
static struct sim_version replace(struct sim_arena *a, const struct sim_version *old, uint64_t off,
                                  uint64_t len, const struct sim_extent *with, size_t n)
{
    struct sim_version v = {.size = old->size};
    struct sim_extent part;
    v.x = sim_alloc(a, (old->count + n + 2) * sizeof *v.x);
    for (size_t i = 0; i < old->count; i++)
        if (part_of(&old->x[i], 0, off, &part))
            v.x[v.count++] = part;
    for (size_t i = 0; i < n; i++)
        v.x[v.count++] = with[i];
    for (size_t i = 0; i < old->count; i++)
        if (part_of(&old->x[i], off + len, UINT64_MAX, &part))
            v.x[v.count++] = part;
    return v;
}

struct sim_version sim_version_put(struct sim_arena *a, const struct sim_version *old, uint64_t off,
                                   uint64_t len, enum sim_pattern pattern, uint64_t seed,
                                   uint64_t pos)
{
    struct sim_extent x = {off, len, pattern, seed, pos};
    struct sim_version v = replace(a, old, off, len, &x, 1);
    v.size = off + len > old->size ? off + len : old->size;
    return v;
}

struct sim_version sim_version_cut(struct sim_arena *a, const struct sim_version *old,
                                   uint64_t size)
{
    struct sim_version v = replace(a, old, size, UINT64_MAX - size, NULL, 0);
    v.size = size;
    return v;
}

struct sim_version sim_version_punch(struct sim_arena *a, const struct sim_version *old,
                                     uint64_t off, uint64_t len)
{
    return replace(a, old, off, len, NULL, 0);
}

struct sim_version sim_version_copy(struct sim_arena *a, const struct sim_version *old,
                                    uint64_t off, const struct sim_version *from, uint64_t from_off,
                                    uint64_t len)
{
    struct sim_extent *parts = sim_alloc(a, (from->count + 1) * sizeof *parts);
    size_t n = 0;
    for (size_t i = 0; i < from->count; i++)
        if (part_of(&from->x[i], from_off, from_off + len, &parts[n])) {
            parts[n].off = parts[n].off - from_off + off;
            n++;
        }
    struct sim_version v = replace(a, old, off, len, parts, n);
    if (len > 0 && off + len > v.size)
        v.size = off + len;
    return v;
}
