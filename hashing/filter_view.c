/* SPDX-License-Identifier: MIT */
/*
 * Views. Every word is stored with release order: see hashing/filter_regions.c.
 */
#include "hashing/filter_view.h"

#include "hashing/frame_pool.h"

/* What a frame word points to before the region has that frame: a probe under change may look
 * there. */
static _Alignas(64) const uint64_t nothing[FOLD_FRAME_WORDS];

struct fold_filter_view *fold_filter_view_create(uint32_t roots, uint32_t depth, size_t capacity)
{
    struct fold_filter_view *v = calloc(1, sizeof *v);
    if (v == NULL)
        return NULL;
    size_t words = capacity * FOLD_PROBE_MAX_FRAMES;
    v->dir = calloc((size_t)roots << depth, sizeof *v->dir);
    v->frames = malloc(words * sizeof *v->frames);
    if (v->dir == NULL || v->frames == NULL) {
        fold_filter_view_destroy(v);
        return NULL;
    }
    for (size_t i = 0; i < words; i++)
        v->frames[i] = (uintptr_t)nothing;
    v->capacity = capacity;
    v->table = (struct fold_probe_table){v->dir, v->frames, roots, depth, depth, 0};
    return v;
}

void fold_filter_view_destroy(struct fold_filter_view *v)
{
    if (v == NULL)
        return;
    free(v->dir);
    free(v->frames);
    free(v);
}

void fold_filter_view_set(struct fold_filter_view *v, size_t r,
                          const struct fold_filter_range *range, const struct fold_field *field)
{
    uint64_t base = r * FOLD_PROBE_MAX_FRAMES;
    for (uint32_t i = 0; i < fold_field_frames(field); i++)
        __atomic_store_n(&v->frames[base + i], (uintptr_t)field->frame[i], __ATOMIC_RELEASE);
    uint32_t span_bits = v->table.dir_bits - range->depth;
    uint64_t first = (uint64_t)range->root << v->table.dir_bits | (uint64_t)range->prefix
                                                                      << span_bits;
    uint64_t word = base << 24 | range->depth << 16 | field->lines;
    for (uint64_t i = 0; i < 1ull << span_bits; i++)
        __atomic_store_n(&v->dir[first + i], word, __ATOMIC_RELEASE);
}

size_t fold_filter_view_find(const struct fold_filter_view *v, uint64_t key, uint32_t *x)
{
    const struct fold_probe_table *t = &v->table;
    uint64_t word = t->dir[fold_probe_dir_index(t->roots, t->dir_bits, key)];
    *x = fold_probe_position(key, word >> 16 & 0xff);
    return (word >> 24) / FOLD_PROBE_MAX_FRAMES;
}

uint64_t fold_filter_view_bytes(const struct fold_filter_view *v)
{
    uint64_t bytes = 0;
    for (; v != NULL; v = v->older)
        bytes += sizeof *v + (((uint64_t)v->table.roots << v->table.dir_bits) +
                              v->capacity * FOLD_PROBE_MAX_FRAMES) *
                                 8;
    return bytes;
}
