/* SPDX-License-Identifier: MIT */
/*
 * Draws programs. Each has a character: how large its writes are, how far apart, what it does
 * often, what goes wrong. Offsets lie at the edges of everything that has edges more often than
 * not.
 */
#include "tests/sim/program.h"

#include "meta/base/knob.h"
#include "tests/support/random.h"

#include <inttypes.h>
#include <string.h>

struct draw {
    struct sim_program *p;
    uint64_t state;
    uint64_t files, names, dirs; /* how many different ones */
    unsigned size_class;
    bool far, faults, crashes;
};

static uint64_t upto(struct draw *d, uint64_t n)
{
    return rig_random_mixed(&d->state) % n;
}

static bool chance(struct draw *d, unsigned percent)
{
    return upto(d, 100) < percent;
}

/* Any number of bits up to `bits` is as likely. */
static uint64_t of_any_size(struct draw *d, unsigned bits)
{
    uint64_t b = upto(d, bits + 1);
    return b == 0 ? 0 : (1ull << (b - 1)) + upto(d, 1ull << (b - 1));
}

static uint64_t near_edge(struct draw *d)
{
    const uint64_t edges[] = {d->p->chunk_size, 1u << 20, 4096, 65536, 128u << 10, 256u << 10};
    uint64_t edge = edges[upto(d, 6)];
    uint64_t at = edge * upto(d, edge >= 1u << 20 ? 4 : 9);
    uint64_t by = upto(d, 4) == 0 ? upto(d, 5) : upto(d, 3);
    return chance(d, 50) || by > at ? at + by : at - by;
}

static uint64_t offset(struct draw *d)
{
    if (d->far && chance(d, 15))
        return (1ull << (20 + upto(d, 42))) + upto(d, 3) * 4096 + upto(d, 100);
    switch (upto(d, 4)) {
    case 0:
        return 0;
    case 1:
        return of_any_size(d, 21);
    case 2:
        return of_any_size(d, 14);
    default:
        return near_edge(d);
    }
}

static uint64_t length(struct draw *d)
{
    static const unsigned bits[] = {8, 13, 17, 20};
    if (chance(d, 2))
        return 1 + of_any_size(d, 22);
    if (chance(d, 20))
        return 1 + near_edge(d) % (2u << 20);
    return 1 + of_any_size(d, bits[d->size_class]);
}

static void add(struct draw *d, enum sim_step_kind kind, const uint64_t a[SIM_ARGS])
{
    if (d->p->count == SIM_STEPS)
        return;
    struct sim_step *s = &d->p->steps[d->p->count++];
    s->kind = kind;
    memcpy(s->a, a, sizeof s->a);
}

#define ADD(kind, ...) add(d, SIM_STEP_##kind, (const uint64_t[SIM_ARGS]){__VA_ARGS__})

static uint64_t slot(struct draw *d)
{
    return upto(d, d->files);
}

static uint64_t name(struct draw *d)
{
    return upto(d, d->names);
}

static uint64_t dir(struct draw *d)
{
    return upto(d, d->dirs);
}

/* Contents come from few patterns, so that they repeat. */
static void draw_write(struct draw *d, bool beside)
{
    uint64_t pattern = chance(d, 60) ? 1 : upto(d, 4);
    uint64_t seed = chance(d, 50) ? upto(d, 6) : upto(d, 1000);
    uint64_t pos = chance(d, 60) ? 0 : of_any_size(d, 18);
    if (beside)
        ADD(beside, slot(d), offset(d), 1 + length(d) % (1u << 20), pattern, seed, pos);
    else
        ADD(write, slot(d), offset(d), length(d), pattern, seed, pos);
}

static void draw_content(struct draw *d)
{
    switch (upto(d, 16)) {
    case 0:
        ADD(scatter, slot(d), offset(d), 1 + of_any_size(d, 10), 2 + of_any_size(d, 7), upto(d, 4),
            upto(d, 100));
        break;
    case 1:
    case 2:
        ADD(size, slot(d), chance(d, 40) ? 0 : offset(d));
        break;
    case 3:
        ADD(range, slot(d), upto(d, 5), offset(d), length(d));
        break;
    case 4:
        ADD(seek, slot(d), offset(d), upto(d, 2));
        break;
    case 5:
        ADD(copy, slot(d), offset(d), slot(d), offset(d), length(d));
        break;
    case 6:
        ADD(read, slot(d), offset(d), length(d));
        break;
    case 7:
        draw_write(d, true);
        if (chance(d, 70))
            ADD(fsync, slot(d));
        else
            ADD(due, 0);
        break;
    default:
        draw_write(d, false);
        break;
    }
}

static void draw_names(struct draw *d)
{
    switch (upto(d, 12)) {
    case 0:
        ADD(link, dir(d), name(d), dir(d), name(d));
        break;
    case 1:
    case 2:
        ADD(unlink, dir(d), name(d));
        break;
    case 3:
        ADD(mkdir, dir(d), name(d));
        break;
    case 4:
        ADD(rmdir, dir(d), name(d));
        break;
    case 5:
        ADD(symlink, dir(d), name(d), of_any_size(d, 11));
        break;
    case 6:
        ADD(setxattr, dir(d), name(d), upto(d, 4), of_any_size(d, 11), upto(d, 50));
        break;
    case 7:
        ADD(delxattr, dir(d), name(d), upto(d, 4));
        break;
    case 8:
        ADD(chmod, dir(d), name(d), upto(d, 512));
        break;
    case 9:
        ADD(mknod, dir(d), name(d));
        break;
    default:
        ADD(rename, dir(d), name(d), dir(d), name(d), chance(d, 70) ? 0 : upto(d, 3));
        break;
    }
}

static void draw_store(struct draw *d)
{
    switch (upto(d, 14)) {
    case 0:
    case 1:
    case 2:
        ADD(fsync, slot(d));
        break;
    case 3:
        ADD(fsyncdir, dir(d));
        break;
    case 4:
        ADD(sync, 0);
        break;
    case 5:
    case 6:
        ADD(due, 0);
        break;
    case 7:
        ADD(collect, 0);
        break;
    case 8:
        ADD(collectall, 0);
        break;
    case 9:
        ADD(refold, 0);
        break;
    case 10:
        ADD(scrub, 0);
        break;
    case 11:
        ADD(checkpoint, 0);
        break;
    case 12:
        ADD(forget, 0);
        break;
    default:
        ADD(look, upto(d, 4));
        break;
    }
}

/* Something that ends a life, now or at some call. */
static void draw_end(struct draw *d)
{
    switch (upto(d, 8)) {
    case 0:
        ADD(kill, upto(d, 4));
        break;
    case 1:
    case 2:
        ADD(cut, upto(d, 4), upto(d, 7), upto(d, 1000));
        break;
    case 3:
        ADD(fault, 1 + upto(d, 2), 15, of_any_size(d, 8), 1);
        break;
    case 4:
    case 5:
    case 6:
        ADD(fault, 8 + upto(d, 2), chance(d, 60) ? 15 : 1u << upto(d, 4), of_any_size(d, 8),
            upto(d, 7));
        break;
    default:
        ADD(remount, upto(d, 4));
        break;
    }
}

static void draw_fault(struct draw *d)
{
    static const uint64_t kinds[] = {3, 3, 4, 4, 5, 7, 7}; /* EIO ENOSPC short ENOMEM */
    uint64_t kind = kinds[upto(d, 7)] == 7 ? 6 : kinds[upto(d, 5)];
    ADD(fault, kind, 1 + upto(d, 31), of_any_size(d, kind == 6 ? 10 : 6),
        chance(d, 50) ? 1 : 1 + of_any_size(d, 5));
}

static void draw_open(struct draw *d)
{
    uint64_t how = chance(d, 60) ? 0 : upto(d, 5);
    if (chance(d, 4))
        ADD(unnamed, slot(d), dir(d));
    else
        ADD(open, slot(d), dir(d), name(d), how);
}

static void draw_steps(struct draw *d)
{
    uint64_t steps = 4 + of_any_size(d, 6);
    unsigned contents = 20 + (unsigned)upto(d, 60);
    for (uint64_t i = 0; i < d->files; i++)
        draw_open(d);
    for (uint64_t i = 0; i < steps; i++) {
        if (chance(d, contents))
            draw_content(d);
        else if (chance(d, 30))
            draw_names(d);
        else if (chance(d, 40))
            draw_store(d);
        else if (chance(d, 40))
            draw_open(d);
        else if (chance(d, 50))
            ADD(close, slot(d));
        else if (chance(d, 10))
            ADD(release, slot(d));
        if (d->faults && chance(d, 8))
            draw_fault(d);
        if (d->crashes && chance(d, 8)) {
            draw_end(d);
            draw_open(d);
        }
    }
    if (d->crashes) {
        draw_end(d);
        for (int i = 0; i < 3; i++)
            draw_content(d);
        ADD(cut, upto(d, 4), upto(d, 7), upto(d, 1000));
    }
}

static void draw_knobs(struct draw *d)
{
    struct sim_program *p = d->p;
    size_t count, used = 0;
    const struct fold_knob *k = fold_knob_list(&count);
    unsigned share = chance(d, 30) ? 0 : (unsigned)upto(d, 100);
    for (size_t i = 0; i < count; i++) {
        uint64_t range = k[i].standard - k[i].least;
        if (!chance(d, share) || range == 0)
            continue;
        unsigned bits = 64 - (unsigned)__builtin_clzll(range);
        uint64_t value = k[i].least + of_any_size(d, bits) % (range + 1);
        int n = snprintf(p->knobs + used, sizeof p->knobs - used, "%s%s=%" PRIu64,
                         used > 0 ? "," : "", k[i].name, value);
        if ((size_t)n >= sizeof p->knobs - used) {
            p->knobs[used] = '\0';
            return;
        }
        used += (size_t)n;
    }
}

static void draw_mount(struct draw *d)
{
    static const char *const verify[] = {"first", "always", "none"};
    static const char *const times[] = {"relatime", "noatime", "strictatime"};
    (void)snprintf(d->p->options, sizeof d->p->options, "commit=300,verify=%s,%s%s%s",
                   verify[chance(d, 60) ? 0 : upto(d, 3)], times[upto(d, 3)],
                   chance(d, 20) ? ",dirty_bytes=16M" : "",
                   chance(d, 20) ? ",index_cache=16M,chunk_cache=4M" : "");
}

void sim_program_draw(struct sim_program *p, uint64_t seed)
{
    struct draw draw = {.p = p, .state = seed * 0x9e3779b97f4a7c15u + 1442695040888963407u};
    struct draw *d = &draw;
    memset(p, 0, sizeof *p);
    if (d->state == 0)
        d->state = 1;
    (void)upto(d, 2);
    p->seed = seed;
    p->chunker = chance(d, 75) ? 1 : 2;
    p->hash = chance(d, 80) ? 1 : 2;
    p->codec = (unsigned)upto(d, 3);
    p->chunk_size = 4096u << (chance(d, 50) ? upto(d, 3) : upto(d, 9));
    d->files = 1 + upto(d, 4);
    d->names = 2 + upto(d, 12);
    d->dirs = 1 + upto(d, 3);
    d->size_class = (unsigned)upto(d, 4);
    d->far = chance(d, 25);
    d->crashes = chance(d, 90);
    d->faults = chance(d, 30);
    p->host_blocks = chance(d, 50) ? 0 : (256u << 20) / 4096;
    p->host_free = p->host_blocks;
    draw_mount(d);
    draw_knobs(d);
    draw_steps(d);
}
