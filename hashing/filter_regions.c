/* SPDX-License-Identifier: MIT */
/*
 * Regions. A change of lines, frames or directory happens between begin and end, which make
 * `sequence` odd and even again. All shared words are stored with release order and read with
 * acquire order, so a probe that saw any part of a change also sees another sequence number
 * afterwards. Frames that were replaced may be handed out again at once: who still reads them
 * repeats its probe.
 *
 * A region is rewritten from the positions of its entries. Dividing moves the top bit of the
 * position into the directory and an unknown bit, 0, in at the bottom; that is all that growth ever
 * loses.
 */
#include "hashing/filter_regions.h"

#include "asm/relax.h"
#include "hashing/filter_line.h"
#include "meta/base/knob.h"

#include <errno.h>

#define MIN_FRAMES   (FOLD_PROBE_MIN_LINES / FOLD_PROBE_FRAME_LINES)
#define BIG_FRAMES   32 /* from here on a region grows by two */
#define FRAME_SLOTS  (FOLD_PROBE_FRAME_LINES * FOLD_PROBE_SLOTS)
#define POSITION_MAX 0x3fffffffu
#define PROBE_TRIES  8
#define SPINS        64
#define MAX_HOMELESS 65536
#define LOST         (UINT64_MAX / 2) /* `homeless` after a position could not be noted down */

static void begin(struct fold_regions *s)
{
    __atomic_store_n(&s->sequence, s->sequence + 1, __ATOMIC_RELAXED);
}

static void end(struct fold_regions *s)
{
    __atomic_store_n(&s->sequence, s->sequence + 1, __ATOMIC_RELEASE);
}

static void show_view(struct fold_regions *s, struct fold_filter_view *v)
{
    v->older = s->view;
    __atomic_store_n(&s->view, v, __ATOMIC_RELEASE);
}

static void show_region(const struct fold_regions *s, struct fold_filter_view *v, size_t r)
{
    fold_filter_view_set(v, r, &s->regions[r].range, &s->regions[r].field);
}

static void set_grow_at(struct fold_regions *s)
{
    s->grow_at = s->slots * FOLD_FILTER_LOAD / 100;
}

void fold_regions_init_bare(struct fold_regions *s, uint32_t roots)
{
    *s = (struct fold_regions){.roots = roots};
    fold_frame_pool_init(&s->pool);
}

void fold_regions_fini(struct fold_regions *s)
{
    while (s->view != NULL) {
        struct fold_filter_view *v = s->view;
        s->view = v->older;
        fold_filter_view_destroy(v);
    }
    for (size_t i = 0; i < s->count; i++)
        free(s->regions[i].homeless);
    free(s->regions);
    fold_frame_pool_fini(&s->pool);
}

/* Makes room for one more region. */
static int reserve(struct fold_regions *s)
{
    if (s->count < s->capacity)
        return 0;
    size_t capacity = FOLD_MAX(s->capacity * 2, 8);
    struct fold_region *regions = realloc(s->regions, capacity * sizeof *regions);
    if (regions == NULL)
        return -ENOMEM;
    s->regions = regions;
    s->capacity = capacity;
    return 0;
}

int fold_regions_append(struct fold_regions *s, const struct fold_filter_range *range,
                        uint32_t lines)
{
    int rc = reserve(s);
    if (rc < 0)
        return rc;
    struct fold_region g = {.range = *range, .field = fold_field_of(lines)};
    rc = fold_frame_pool_take(&s->pool, g.field.frame, fold_field_frames(&g.field));
    if (rc < 0)
        return rc;
    for (uint32_t line = 0; line < lines; line++)
        fold_line_clear(fold_field_line(&g.field, line));
    s->regions[s->count++] = g;
    s->slots += fold_field_slots(&g.field);
    s->depth = FOLD_MAX(s->depth, range->depth);
    return 0;
}

int fold_regions_publish(struct fold_regions *s)
{
    struct fold_filter_view *v = fold_filter_view_create(s->roots, s->depth, s->capacity);
    if (v == NULL)
        return -ENOMEM;
    uint64_t next = 0;
    for (size_t r = 0; r < s->count; r++) {
        const struct fold_filter_range *g = &s->regions[r].range;
        uint64_t span = 1ull << (s->depth - g->depth);
        if (g->root >= s->roots || next != ((uint64_t)g->root << s->depth) + g->prefix * span)
            break;
        show_region(s, v, r);
        next += span;
    }
    if (next != (uint64_t)s->roots << s->depth) {
        fold_filter_view_destroy(v);
        return -EBADMSG;
    }
    begin(s);
    show_view(s, v);
    end(s);
    set_grow_at(s);
    return 0;
}

int fold_regions_init(struct fold_regions *s, uint64_t keys)
{
    uint64_t frames = FOLD_MAX(keys / (FRAME_SLOTS * FOLD_FILTER_LOAD / 100) + 1, MIN_FRAMES);
    uint64_t roots = FOLD_MIN(frames / MIN_FRAMES, FOLD_PROBE_MAX_ROOTS);
    fold_regions_init_bare(s, (uint32_t)roots);
    int rc = 0;
    for (uint64_t root = 0; root < roots && rc == 0; root++) {
        uint64_t mine = frames * (root + 1) / roots - frames * root / roots;
        mine = FOLD_MIN(mine, FOLD_PROBE_MAX_FRAMES);
        struct fold_filter_range range = {.root = (uint32_t)root};
        rc = fold_regions_append(s, &range, (uint32_t)mine * FOLD_PROBE_FRAME_LINES);
    }
    if (rc == 0)
        rc = fold_regions_publish(s);
    if (rc < 0)
        fold_regions_fini(s);
    return rc;
}

bool fold_regions_probe(const struct fold_regions *s, const uint64_t *keys, size_t n,
                        uint64_t *maybe)
{
    const struct fold_kernels *k = fold_kernels();
    for (int i = 0; i < PROBE_TRIES; i++) {
        uint64_t before = __atomic_load_n(&s->sequence, __ATOMIC_ACQUIRE);
        for (int spins = 0; (before & 1) != 0 && spins < SPINS; spins++) {
            fold_cpu_relax();
            before = __atomic_load_n(&s->sequence, __ATOMIC_ACQUIRE);
        }
        if ((before & 1) != 0)
            return false;
        const struct fold_filter_view *v = __atomic_load_n(&s->view, __ATOMIC_ACQUIRE);
        k->probe(&v->table, keys, n, maybe);
        if (__atomic_load_n(&s->homeless, __ATOMIC_ACQUIRE) != 0)
            memset(maybe, 0xff, (n + 63) / 64 * sizeof *maybe);
        if (__atomic_load_n(&s->sequence, __ATOMIC_RELAXED) == before)
            return true;
    }
    return false;
}

/* Builds a field for n positions with at least `lines` lines. */
static int field_build(struct fold_regions *s, const uint32_t *xs, size_t n, uint32_t lines,
                       struct fold_field *out)
{
    for (; lines <= FOLD_PROBE_MAX_LINES; lines += FOLD_PROBE_FRAME_LINES) {
        struct fold_field f = fold_field_of(lines);
        if (n > fold_field_slots(&f))
            continue;
        FOLD_AUTO(free) uint32_t *scratch = malloc(fold_field_scratch(&f) * sizeof *scratch);
        if (scratch == NULL)
            return -ENOMEM;
        int rc = fold_frame_pool_take(&s->pool, f.frame, fold_field_frames(&f));
        if (rc < 0)
            return rc;
        if (fold_field_fill(&f, xs, n, scratch) == 0) {
            *out = f;
            return 0;
        }
        fold_frame_pool_give(&s->pool, f.frame, fold_field_frames(&f));
    }
    return -ENOSPC;
}

static void field_free(struct fold_regions *s, const struct fold_field *f)
{
    fold_frame_pool_give(&s->pool, f->frame, fold_field_frames(f));
}

/* All positions of a region, homeless ones included. */
static uint32_t *positions(const struct fold_region *g, size_t *n)
{
    size_t room = fold_field_slots(&g->field) + g->homeless_count;
    uint32_t *xs = malloc(room * sizeof *xs);
    if (xs == NULL)
        return NULL;
    *n = fold_field_collect(&g->field, xs);
    if (g->homeless_count > 0)
        memcpy(xs + *n, g->homeless, g->homeless_count * sizeof *xs);
    *n += g->homeless_count;
    return xs;
}

static void drop_homeless(struct fold_regions *s, struct fold_region *g)
{
    if (g->homeless_count > 0)
        __atomic_store_n(&s->homeless, s->homeless - g->homeless_count, __ATOMIC_RELEASE);
    free(g->homeless);
    g->homeless = NULL;
    g->homeless_count = 0;
}

/* Rewrites region r with at least `frames` frames. */
static int region_resize(struct fold_regions *s, size_t r, uint32_t frames)
{
    struct fold_region *g = &s->regions[r];
    size_t n = 0;
    FOLD_AUTO(free) uint32_t *xs = positions(g, &n);
    if (xs == NULL)
        return -ENOMEM;
    struct fold_field f;
    int rc = field_build(s, xs, n, frames * FOLD_PROBE_FRAME_LINES, &f);
    if (rc < 0)
        return rc;
    struct fold_field old = g->field;
    begin(s);
    g->field = f;
    show_region(s, s->view, r);
    drop_homeless(s, g);
    end(s);
    s->slots = s->slots - fold_field_slots(&old) + fold_field_slots(&f);
    s->entries = s->entries - g->entries + n;
    g->entries = (uint32_t)n;
    g->removed = 0;
    field_free(s, &old);
    return 0;
}

/* The newest view, or if it has no room for one more region at `depth` a larger one that is not
 * shown yet. */
static struct fold_filter_view *view_for(const struct fold_regions *s, uint32_t depth)
{
    struct fold_filter_view *v = s->view;
    if (s->count < v->capacity && depth <= v->table.dir_bits)
        return v;
    size_t capacity = s->count < v->capacity ? v->capacity : v->capacity * 2;
    v = fold_filter_view_create(s->roots, FOLD_MAX(depth, s->depth), capacity);
    for (size_t r = 0; v != NULL && r < s->count; r++)
        show_region(s, v, r);
    return v;
}

/* Puts two fields, with n[0] and n[1] entries, in the place of region r. There is room for one more
 * region. */
static void region_divide(struct fold_regions *s, size_t r, const struct fold_field half[2],
                          const size_t n[2], struct fold_filter_view *v)
{
    struct fold_region *g = &s->regions[r];
    struct fold_field old = g->field;
    struct fold_filter_range range = g->range;
    s->slots += fold_field_slots(&half[0]) + fold_field_slots(&half[1]) - fold_field_slots(&old);
    s->entries += n[0] + n[1] - g->entries;
    begin(s);
    drop_homeless(s, g);
    for (uint32_t side = 0; side < 2; side++) {
        size_t at = side == 0 ? r : s->count++;
        s->regions[at] = (struct fold_region){
            .field = half[side],
            .range = {range.root, range.prefix * 2 + side, range.depth + 1},
            .entries = (uint32_t)n[side],
        };
        show_region(s, v, at);
    }
    s->depth = FOLD_MAX(s->depth, range.depth + 1);
    if (v != s->view)
        show_view(s, v);
    end(s);
    field_free(s, &old);
}

/* Sorts n positions by half, n[0] in front and n[1] at the end, and makes them positions there. */
static void halve(uint32_t *xs, size_t total, size_t n[2])
{
    size_t low = 0;
    size_t high = total;
    while (low < high) {
        uint32_t x = xs[low];
        uint32_t moved = x << 1 & POSITION_MAX;
        if (x >> 29 == 0) {
            xs[low++] = moved;
        } else {
            xs[low] = xs[--high];
            xs[high] = moved;
        }
    }
    n[0] = low;
    n[1] = total - low;
}

static int region_split(struct fold_regions *s, size_t r)
{
    int rc = reserve(s);
    if (rc < 0)
        return rc;
    size_t total = 0;
    FOLD_AUTO(free) uint32_t *xs = positions(&s->regions[r], &total);
    if (xs == NULL)
        return -ENOMEM;
    struct fold_filter_view *v = view_for(s, s->regions[r].range.depth + 1);
    if (v == NULL)
        return -ENOMEM;
    size_t n[2];
    struct fold_field half[2];
    halve(xs, total, n);
    rc = field_build(s, xs, n[0], FOLD_PROBE_MIN_LINES, &half[0]);
    if (rc == 0) {
        rc = field_build(s, xs + n[0], n[1], FOLD_PROBE_MIN_LINES, &half[1]);
        if (rc < 0)
            field_free(s, &half[0]);
    }
    if (rc == 0)
        region_divide(s, r, half, n, v);
    else if (v != s->view)
        fold_filter_view_destroy(v);
    return rc;
}

/* One frame is a small step for a large region, and every step rewrites all of it. */
static int region_grow(struct fold_regions *s, size_t r)
{
    uint32_t frames = fold_field_frames(&s->regions[r].field);
    uint32_t step = frames < BIG_FRAMES ? 1 : 2;
    if (s->limit != 0 && fold_frame_pool_used(&s->pool) + step > s->limit)
        return -ENOMEM;
    if (frames + step < FOLD_PROBE_MAX_FRAMES)
        return region_resize(s, r, frames + step);
    if (s->regions[r].range.depth < FOLD_PROBE_MAX_DEPTH)
        return region_split(s, r);
    return frames < FOLD_PROBE_MAX_FRAMES ? region_resize(s, r, frames + 1) : -ENOSPC;
}

/* Grows the fullest region that can. Not being able to is no harm yet. */
static void grow_fullest(struct fold_regions *s)
{
    size_t best = 0;
    uint64_t best_load = 0;
    for (size_t r = 0; r < s->count; r++) {
        uint64_t load = ((uint64_t)s->regions[r].entries << 16) / s->regions[r].field.lines;
        if (load > best_load) {
            best = r;
            best_load = load;
        }
    }
    if (region_grow(s, best) == 0)
        set_grow_at(s);
    else
        s->grow_at = s->entries + fold_knobs.filter_retry_every;
}

/* Notes down a position that has no place. */
static int take_in(struct fold_regions *s, struct fold_region *g, uint32_t x)
{
    uint32_t have = g->homeless_count;
    if ((have & (have - 1)) == 0 ||
        s->homeless >= MAX_HOMELESS) { /* room is always a power of two */
        uint32_t *more = NULL;
        if (s->homeless < MAX_HOMELESS)
            more = realloc(g->homeless, (size_t)FOLD_MAX(have * 2, 1) * sizeof *more);
        if (more == NULL) {
            __atomic_store_n(&s->homeless, LOST, __ATOMIC_RELEASE);
            return -ENOMEM;
        }
        g->homeless = more;
    }
    g->homeless[g->homeless_count++] = x;
    __atomic_store_n(&s->homeless, s->homeless + 1, __ATOMIC_RELEASE);
    return 0;
}

static void retry_homeless(struct fold_regions *s)
{
    for (size_t r = 0; r < s->count; r++)
        if (s->regions[r].homeless_count > 0 && region_grow(s, r) == 0)
            set_grow_at(s);
}

int fold_regions_insert(struct fold_regions *s, uint64_t key)
{
    uint32_t x;
    size_t r = fold_filter_view_find(s->view, key, &x);
    struct fold_region *g = &s->regions[r];
    if (fold_field_copies(&g->field, x) >= FOLD_FIELD_COPIES)
        return 0;
    begin(s);
    int rc = fold_field_place(&g->field, &x);
    if (rc < 0) {
        rc = take_in(s, g, x);
    } else {
        g->entries++;
        s->entries++;
    }
    end(s);
    bool first = g->homeless_count == 1;
    if (s->entries >= s->grow_at)
        grow_fullest(s);
    if (s->homeless != 0 && (first || s->retries++ % fold_knobs.filter_retry_every ==
                                          fold_knobs.filter_retry_every - 1))
        retry_homeless(s);
    return rc;
}

void fold_regions_prefetch(const struct fold_regions *s, uint64_t key)
{
    uint32_t x;
    uint32_t off;
    const struct fold_field *f = &s->regions[fold_filter_view_find(s->view, key, &x)].field;
    __builtin_prefetch(fold_field_line(f, fold_probe_home(x, f->lines, &off)), 1);
}

static bool remove_homeless(struct fold_regions *s, struct fold_region *g, uint32_t x)
{
    for (uint32_t i = 0; i < g->homeless_count; i++) {
        if (g->homeless[i] == x) {
            g->homeless[i] = g->homeless[--g->homeless_count];
            __atomic_store_n(&s->homeless, s->homeless - 1, __ATOMIC_RELEASE);
            return true;
        }
    }
    return false;
}

/* Rewrites a region after many removals: thresholds rise again, and frames it no longer needs
 * become free. */
static void tidy(struct fold_regions *s, size_t r)
{
    struct fold_region *g = &s->regions[r];
    g->removed = 0;
    uint32_t want = g->entries / (FRAME_SLOTS * (FOLD_FILTER_LOAD - 5) / 100) + 1;
    uint32_t have = fold_field_frames(&g->field);
    if (region_resize(s, r, FOLD_MIN(FOLD_MAX(want, MIN_FRAMES), have)) == 0)
        set_grow_at(s);
}

bool fold_regions_remove(struct fold_regions *s, uint64_t key)
{
    uint32_t x;
    size_t r = fold_filter_view_find(s->view, key, &x);
    struct fold_region *g = &s->regions[r];
    uint32_t last = UINT32_MAX;
    for (uint32_t age = 0; age <= g->range.depth; age++) {
        uint32_t old = x >> age << age;
        if (old == last)
            continue;
        last = old;
        uint32_t copies = fold_field_copies(&g->field, old);
        if (copies >= FOLD_FIELD_COPIES)
            return true;
        if (copies > 0) {
            begin(s);
            fold_field_remove(&g->field, old);
            end(s);
            g->entries--;
            s->entries--;
            if (++g->removed > fold_field_slots(&g->field) / 2)
                tidy(s, r);
            return true;
        }
        if (remove_homeless(s, g, old))
            return true;
    }
    return false;
}

const struct fold_region *fold_regions_next(const struct fold_regions *s, uint64_t *dir)
{
    const struct fold_probe_table *t = &s->view->table;
    if (*dir >= (uint64_t)t->roots << t->dir_bits)
        return NULL;
    const struct fold_region *g = &s->regions[(t->dir[*dir] >> 24) / FOLD_PROBE_MAX_FRAMES];
    *dir += 1ull << (t->dir_bits - g->range.depth);
    return g;
}

uint64_t fold_regions_bytes(const struct fold_regions *s)
{
    return fold_frame_pool_used(&s->pool) * FOLD_FRAME_BYTES + s->capacity * sizeof *s->regions +
           fold_filter_view_bytes(s->view);
}
