/* SPDX-License-Identifier: MIT */
/*
 * Placing entries. A new entry whose home line is full moves the entry with the highest `off`,
 * itself included, that finds room in its other line; failing that, a guest whose own home has room
 * goes there; failing that, an entry is displaced at random into a full line and pushes another one
 * out of it, a bounded number of times.
 */
#include "hashing/filter_field.h"

#include "hashing/filter_line.h"
#include "meta/base/knob.h"

#include <assert.h>
#include <errno.h>

/* An entry as its lines see it. */
struct entry {
    uint32_t x;
    uint32_t home;
    uint32_t other;
    uint32_t off;
    uint32_t code; /* as it stands at home */
};

static uint32_t other_line(const struct fold_field *f, uint32_t home, uint32_t off)
{
    uint32_t other = home + fold_probe_stride(off, f->lines);
    return other >= f->lines ? other - f->lines : other;
}

static uint32_t home_line(const struct fold_field *f, uint32_t other, uint32_t off)
{
    uint32_t back = fold_probe_stride(off, f->lines);
    return other >= back ? other - back : other + f->lines - back;
}

static struct entry entry_of(const struct fold_field *f, uint32_t x)
{
    struct entry e = {.x = x};
    e.home = fold_probe_home(x, f->lines, &e.off);
    e.other = other_line(f, e.home, e.off);
    e.code = fold_probe_code(e.off, x & 0x3ff);
    return e;
}

/* The code of an entry away from home; 0 means that it may never leave, because 0 is the empty
 * slot. */
static uint32_t away_code(const struct entry *e)
{
    return e->code & ~FOLD_PROBE_HOME;
}

static bool may_be_away(const struct fold_line *home, const struct entry *e)
{
    return away_code(e) != 0 && e->off / 2 + home->away >= FOLD_PROBE_AWAY;
}

static void mark_away(struct fold_line *home, uint32_t off)
{
    uint32_t away = FOLD_PROBE_AWAY - off / 2;
    if (home->away < away)
        home->away = (uint8_t)away;
}

static void read_line(const struct fold_field *f, uint32_t line, struct fold_line *l)
{
    fold_line_read(fold_field_line(f, line), l);
}

static void write_line(struct fold_field *f, uint32_t line, const struct fold_line *l)
{
    fold_line_write(fold_field_line(f, line), l);
}

uint32_t fold_field_copies(const struct fold_field *f, uint32_t x)
{
    struct entry e = entry_of(f, x);
    struct fold_line l;
    uint32_t at;
    read_line(f, e.home, &l);
    uint32_t count = fold_line_count(&l, e.off / 32, e.code, &at);
    if (may_be_away(&l, &e)) {
        read_line(f, e.other, &l);
        count += fold_line_count(&l, e.off / 32, away_code(&e), &at);
    }
    return FOLD_MIN(count, FOLD_FIELD_COPIES);
}

/* The entries of group g that may move to their other line, highest `off` first. */
static uint32_t candidates(const struct fold_field *f, uint32_t line, const struct fold_line *l,
                           uint32_t g, struct entry out[FOLD_PROBE_SLOTS])
{
    uint32_t n = 0;
    for (uint32_t i = l->start[g]; i < l->start[g + 1]; i++) {
        if ((l->slot[i] & FOLD_PROBE_HOME) == 0)
            continue;
        struct entry e = {.home = line, .off = fold_line_off(l, g, i), .code = l->slot[i]};
        if (away_code(&e) == 0)
            continue;
        uint32_t k = n++;
        for (; k > 0 && out[k - 1].off < e.off; k--)
            out[k] = out[k - 1];
        out[k] = e;
    }
    /* Their other lines are hardly ever in the cache; let them come all at once. */
    for (uint32_t k = 0; k < n; k++) {
        out[k].other = other_line(f, line, out[k].off);
        __builtin_prefetch(fold_field_line(f, out[k].other) + FOLD_PROBE_WORDS - 1, 1);
    }
    return n;
}

static void put_guest(struct fold_field *f, const struct entry *e)
{
    struct fold_line l;
    read_line(f, e->other, &l);
    fold_line_add(&l, e->off / 32, away_code(e));
    write_line(f, e->other, &l);
}

static void drop_home(struct fold_line *l, const struct entry *e)
{
    uint32_t at = 0;
    uint32_t count = fold_line_count(l, e->off / 32, e->code, &at);
    assert(count > 0);
    (void)count;
    fold_line_remove(l, at);
}

/* Moves e, for which its home line l has no room, to its other line. False if that is full too. */
static bool move_away(struct fold_field *f, struct fold_line *l, const struct entry *e)
{
    if (away_code(e) == 0 || fold_line_full(fold_field_line(f, e->other)))
        return false;
    put_guest(f, e);
    mark_away(l, e->off);
    write_line(f, e->home, l);
    return true;
}

/* Moves one of the entries of e's full home line, or e itself, to its other line. False if all of
 * those are full. */
static bool move_one_away(struct fold_field *f, struct fold_line *l, const struct entry *e)
{
    bool own_turn = true;
    for (uint32_t g = FOLD_PROBE_GROUPS; g-- > 0;) {
        struct entry cands[FOLD_PROBE_SLOTS];
        uint32_t n = candidates(f, e->home, l, g, cands);
        for (uint32_t k = 0; k < n; k++) {
            if (own_turn && cands[k].off <= e->off) {
                own_turn = false;
                if (move_away(f, l, e))
                    return true;
            }
            if (fold_line_full(fold_field_line(f, cands[k].other)))
                continue;
            put_guest(f, &cands[k]);
            drop_home(l, &cands[k]);
            mark_away(l, cands[k].off);
            fold_line_add(l, e->off / 32, e->code);
            write_line(f, e->home, l);
            return true;
        }
    }
    return own_turn && move_away(f, l, e);
}

/* Sends a guest of e's home line back to its own home if that has room again. */
static bool send_guest_home(struct fold_field *f, struct fold_line *l, const struct entry *e)
{
    for (uint32_t g = 0; g < FOLD_PROBE_GROUPS; g++) {
        for (uint32_t i = l->start[g]; i < l->start[g + 1]; i++) {
            if ((l->slot[i] & FOLD_PROBE_HOME) != 0)
                continue;
            uint32_t home = home_line(f, e->home, fold_line_off(l, g, i));
            if (fold_line_full(fold_field_line(f, home)))
                continue;
            struct fold_line h;
            read_line(f, home, &h);
            fold_line_add(&h, g, l->slot[i] | FOLD_PROBE_HOME);
            write_line(f, home, &h);
            fold_line_remove(l, i);
            fold_line_add(l, e->off / 32, e->code);
            write_line(f, e->home, l);
            return true;
        }
    }
    return false;
}

static uint32_t roll(struct fold_field *f, uint32_t n)
{
    f->dice = f->dice * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)f->dice * n >> 32);
}

/*
 * Swaps: a random candidate leaves for its full other line, the entry *e takes its place, and an
 * entry that is at home in the other line becomes the new *e. False if nobody there can be pushed.
 */
static bool push_on(struct fold_field *f, struct fold_line *l, struct entry *e)
{
    struct entry cands[FOLD_PROBE_SLOTS];
    uint32_t n = 0;
    for (uint32_t g = 0; g < FOLD_PROBE_GROUPS; g++)
        n += candidates(f, e->home, l, g, cands + n);
    if (n == 0)
        return false;
    struct entry leaves = cands[roll(f, n)];
    struct fold_line o;
    read_line(f, leaves.other, &o);
    uint32_t i = roll(f, FOLD_PROBE_SLOTS);
    uint32_t tries = 0;
    while ((o.slot[i] & FOLD_PROBE_HOME) == 0) {
        i = (i + 1) % FOLD_PROBE_SLOTS;
        if (++tries == FOLD_PROBE_SLOTS)
            return false;
    }
    uint32_t g = 0;
    while (i >= o.start[g + 1])
        g++;
    uint32_t x =
        fold_field_position(f, leaves.other, fold_line_off(&o, g, i), fold_line_low(&o, i));
    fold_line_remove(&o, i);
    fold_line_add(&o, leaves.off / 32, away_code(&leaves));
    write_line(f, leaves.other, &o);
    drop_home(l, &leaves);
    mark_away(l, leaves.off);
    fold_line_add(l, e->off / 32, e->code);
    write_line(f, e->home, l);
    *e = entry_of(f, x);
    return true;
}

int fold_field_place(struct fold_field *f, uint32_t *x)
{
    struct entry e = entry_of(f, *x);
    for (uint64_t pushes = 0; pushes < fold_knobs.filter_pushes; pushes++) {
        struct fold_line l;
        read_line(f, e.home, &l);
        if (l.start[FOLD_PROBE_GROUPS] < FOLD_PROBE_SLOTS) {
            fold_line_add(&l, e.off / 32, e.code);
            write_line(f, e.home, &l);
            return 0;
        }
        if (move_one_away(f, &l, &e) || send_guest_home(f, &l, &e))
            return 0;
        if (!push_on(f, &l, &e))
            break;
    }
    *x = e.x;
    return -ENOSPC;
}

void fold_field_remove(struct fold_field *f, uint32_t x)
{
    struct entry e = entry_of(f, x);
    struct fold_line l;
    uint32_t at = 0;
    read_line(f, e.home, &l);
    if (may_be_away(&l, &e)) {
        struct fold_line o;
        read_line(f, e.other, &o);
        if (fold_line_count(&o, e.off / 32, away_code(&e), &at) > 0) {
            fold_line_remove(&o, at);
            write_line(f, e.other, &o);
            return;
        }
    }
    drop_home(&l, &e);
    write_line(f, e.home, &l);
}

size_t fold_field_collect(const struct fold_field *f, uint32_t *out)
{
    size_t n = 0;
    for (uint32_t line = 0; line < f->lines; line++) {
        struct fold_line l;
        read_line(f, line, &l);
        for (uint32_t g = 0; g < FOLD_PROBE_GROUPS; g++) {
            for (uint32_t i = l.start[g]; i < l.start[g + 1]; i++) {
                uint32_t off = fold_line_off(&l, g, i);
                bool home = (l.slot[i] & FOLD_PROBE_HOME) != 0;
                out[n++] = fold_field_position(f, home ? line : home_line(f, line, off), off,
                                               fold_line_low(&l, i));
            }
        }
    }
    return n;
}

/*
 * Filling a field. Entries are off << 10 | low, sorted into bins by home line; `load` counts what a
 * line will hold. Guests, marked by GUEST, join the bin of the line they go to behind those at home
 * there.
 */
#define GUEST (1u << 18)

struct filling {
    struct fold_field *f;
    uint32_t *bins;
    uint8_t count[FOLD_PROBE_MAX_LINES]; /* entries whose home it is */
    uint8_t load[FOLD_PROBE_MAX_LINES];
    uint8_t away[FOLD_PROBE_MAX_LINES];
    uint32_t
        *spilled; /* positions that found no place in a bin; room for as many as there are lines */
    uint32_t spills;
};

static uint32_t *bin_of(const struct filling *c, uint32_t line)
{
    return c->bins + (size_t)line * FOLD_FIELD_BIN;
}

static int spill(struct filling *c, uint32_t x)
{
    if (c->spills == c->f->lines)
        return -ENOSPC;
    c->spilled[c->spills++] = x;
    return 0;
}

/* Sorts positions into the bins of their homes. */
static int sort_home(struct filling *c, const uint32_t *xs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t off;
        uint32_t line = fold_probe_home(xs[i], c->f->lines, &off);
        uint32_t at = c->count[line];
        if (FOLD_UNLIKELY(at == FOLD_FIELD_BIN)) {
            int rc = spill(c, xs[i]);
            if (rc < 0)
                return rc;
            continue;
        }
        bin_of(c, line)[at] = off << 10 | (xs[i] & 0x3ff);
        c->count[line] = (uint8_t)(at + 1);
    }
    for (uint32_t line = 0; line < c->f->lines; line++)
        c->load[line] = FOLD_MIN(c->count[line], FOLD_PROBE_SLOTS);
    return 0;
}

/* Index of the entry with the highest `off` in bin[0..n). */
static uint32_t highest(const uint32_t *bin, uint32_t n)
{
    uint32_t best = bin[0];
    for (uint32_t i = 1; i < n; i++)
        best = FOLD_MAX(best, bin[i]);
    uint32_t at = 0;
    while (bin[at] != best)
        at++;
    return at;
}

/*
 * Finds other lines for what a line cannot hold, highest `off` first. Candidates whose other line
 * is full move behind the others in the bin, to be looked at no more; too many of them, and the
 * last ones are spilled.
 */
static int send_excess(struct filling *c, uint32_t line)
{
    uint32_t *bin = bin_of(c, line);
    uint32_t n = c->count[line]; /* entries that are still here */
    for (uint32_t open = n; n > FOLD_PROBE_SLOTS && open > 0; open--) {
        uint32_t at = highest(bin, open);
        uint32_t e = bin[at];
        uint32_t other = other_line(c->f, line, e >> 10);
        bin[at] = bin[open - 1];
        bin[open - 1] = e;
        if (c->load[other] >= FOLD_PROBE_SLOTS || (~e & 0x7fff) == 0)
            continue;
        bin_of(c, other)[c->load[other]++] = e | GUEST;
        c->away[line] = (uint8_t)(FOLD_PROBE_AWAY - (e >> 11));
        bin[open - 1] = bin[--n];
    }
    for (; n > FOLD_PROBE_SLOTS; n--) {
        int rc = spill(c, fold_field_position(c->f, line, bin[n - 1] >> 10, bin[n - 1] & 0x3ff));
        if (rc < 0)
            return rc;
    }
    c->count[line] = (uint8_t)n;
    return 0;
}

/* Packs a bin into its line. Groups are counted in the bytes of a word. */
static void build_line(struct filling *c, uint32_t line)
{
    const uint32_t *bin = bin_of(c, line);
    uint32_t n = c->load[line];
    struct fold_line l = {.away = c->away[line]};
    uint64_t counts = 0;
    for (uint32_t i = 0; i < n; i++)
        counts += 1ull << (bin[i] >> 15 & 7) * 8;
    uint64_t at = counts * 0x0101010101010100ull;
    for (uint32_t g = 0; g < FOLD_PROBE_GROUPS; g++)
        l.start[g] = (uint8_t)(at >> g * 8);
    l.start[FOLD_PROBE_GROUPS] = (uint8_t)n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t shift = (bin[i] >> 15 & 7) * 8;
        uint32_t home = (bin[i] & GUEST) != 0 ? 0 : FOLD_PROBE_HOME;
        l.slot[at >> shift & 0xff] = (uint16_t)(home | (~bin[i] & 0x7fff));
        at += 1ull << shift;
    }
    write_line(c->f, line, &l);
}

int fold_field_fill(struct fold_field *f, const uint32_t *xs, size_t n, uint32_t *scratch)
{
    struct filling c = {
        .f = f, .bins = scratch, .spilled = scratch + (size_t)f->lines * FOLD_FIELD_BIN};
    int rc = sort_home(&c, xs, n);
    for (uint32_t line = 0; line < f->lines && rc == 0; line++)
        if (c.count[line] > FOLD_PROBE_SLOTS)
            rc = send_excess(&c, line);
    if (rc < 0)
        return rc;
    for (uint32_t line = 0; line < f->lines; line++)
        build_line(&c, line);
    for (uint32_t i = 0; i < c.spills && rc == 0; i++)
        rc = fold_field_place(f, &c.spilled[i]);
    return rc;
}

bool fold_field_line_valid(const struct fold_field *f, uint32_t line)
{
    struct fold_line l;
    read_line(f, line, &l);
    if (!fold_line_valid(&l))
        return false;
    for (uint32_t g = 0; g < FOLD_PROBE_GROUPS; g++) {
        for (uint32_t i = l.start[g]; i < l.start[g + 1]; i++) {
            uint32_t off = fold_line_off(&l, g, i);
            uint32_t home = (l.slot[i] & FOLD_PROBE_HOME) != 0 ? line : home_line(f, line, off);
            uint32_t x = fold_field_position(f, home, off, fold_line_low(&l, i));
            uint32_t again;
            if (x >> 30 != 0 || fold_probe_home(x, f->lines, &again) != home || again != off)
                return false;
        }
    }
    return true;
}
