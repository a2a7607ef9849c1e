/* SPDX-License-Identifier: MIT */
/*
 * Three walks a round, over the chunks whose hash falls into the round:
 *
 *   1. recipes of the given files: every chunk they name gets a place in a hash table
 *   2. all recipes of the volume: how many extents name each of those chunks
 *   3. recipes of the given files again, row by row: a chunk counts for a row when the row names it
 *      first, and as unique when the row has named it as often as the whole volume does
 *
 * Counting names spares a set of inodes, and makes rows that overlap come out right.
 */
#include "meta/usage.h"

#include "meta/base/knob.h"
#include "meta/filelist.h"
#include "meta/recipe.h"
#include "meta/record.h"
#include "meta/storeparts.h"

#include <errno.h>

#define TABLE_CHUNKS ((size_t)2 << 20)

struct chunk {
    struct fold_loc loc; /* seg 0: free */
    uint32_t stored, raw;
    uint32_t named;          /* extents of the volume that name it */
    uint32_t row, row_named; /* extents of that row (from 1) that name it */
    uint32_t total_named;    /* extents of the given files that name it */
};

enum stage { STAGE_ENTER, STAGE_VOLUME, STAGE_SIZES, STAGE_SUM };

struct fold_usage_run {
    struct fold_store *store;
    struct fold_catalog *catalog;
    struct fold_usage_options opt;
    struct fold_filelist files;
    struct fold_usage *rows, *total;
    struct chunk *table; /* power of two slots */
    size_t slots, used;
    uint64_t rounds, round;
    enum stage stage; /* of the round */
    size_t at;        /* of the files, in walks 1 and 3 */
    uint64_t page_no; /* the next of that file */
    uint32_t pages;
    const struct fold_filelist_entry *file; /* the one being walked */
    struct fold_extent last;                /* the extent before; len 0 at the start of a file */
};

static void tell(const struct fold_usage_run *u, const char *step, uint64_t done, uint64_t total)
{
    if (u->opt.progress != NULL)
        u->opt.progress(u->opt.arg, step, done, total);
}

static int look(struct fold_usage_run *u)
{
    bool stop = ++u->pages % fold_knobs.usage_look_every == 0 && u->opt.cancelled != NULL &&
                u->opt.cancelled(u->opt.arg);
    return stop ? -ECANCELED : 0;
}

static uint64_t hash_of(struct fold_loc loc)
{
    uint64_t x = ((uint64_t)loc.seg << 32 | loc.off) * UINT64_C(0x9e3779b97f4a7c15);
    return (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
}

static bool in_round(const struct fold_usage_run *u, struct fold_loc loc)
{
    return (hash_of(loc) >> 48) % u->rounds == u->round;
}

static struct chunk *slot_of(struct chunk *table, size_t slots, struct fold_loc loc)
{
    size_t i = (size_t)(hash_of(loc) >> 12) & (slots - 1);
    while (table[i].loc.seg != 0 && !fold_loc_equal(table[i].loc, loc))
        i = (i + 1) & (slots - 1);
    return &table[i];
}

static int grow_table(struct fold_usage_run *u)
{
    size_t slots = u->slots > 0 ? u->slots * 2 : 1024;
    struct chunk *table = calloc(slots, sizeof *table);
    if (table == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < u->slots; i++)
        if (u->table[i].loc.seg != 0)
            *slot_of(table, slots, u->table[i].loc) = u->table[i];
    free(u->table);
    u->table = table;
    u->slots = slots;
    return 0;
}

/* The chunk an extent names, NULL if it is none of this round. */
static struct chunk *find(struct fold_usage_run *u, const struct fold_extent *e)
{
    if (e->kind != FOLD_EXTENT_DATA || u->slots == 0)
        return NULL;
    struct fold_loc loc = fold_forward_resolve(u->store->forward, e->loc);
    if (!in_round(u, loc))
        return NULL;
    struct chunk *c = slot_of(u->table, u->slots, loc);
    return c->loc.seg != 0 ? c : NULL;
}

static int enter_page(void *arg, uint64_t page_no FOLD_UNUSED, const struct fold_page *p)
{
    struct fold_usage_run *u = arg;
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->extents[i].kind != FOLD_EXTENT_DATA)
            continue;
        struct fold_loc loc = fold_forward_resolve(u->store->forward, p->extents[i].loc);
        if (!in_round(u, loc))
            continue;
        if (u->used * 3 >= u->slots * 2) {
            int rc = grow_table(u);
            if (rc != 0)
                return rc;
        }
        struct chunk *c = slot_of(u->table, u->slots, loc);
        u->used += c->loc.seg == 0;
        c->loc = loc;
    }
    return look(u);
}

static int count_page(void *arg, fold_ino ino FOLD_UNUSED, uint64_t page_no FOLD_UNUSED,
                      const struct fold_page *p)
{
    struct fold_usage_run *u = arg;
    for (uint32_t i = 0; i < p->count; i++) {
        struct chunk *c = find(u, &p->extents[i]);
        if (c != NULL && c->named < UINT32_MAX)
            c->named++;
    }
    return look(u);
}

static void count_chunk(struct fold_usage_run *u, struct chunk *c, struct fold_usage *to,
                        bool first, uint32_t named)
{
    if (first) {
        to->chunks++;
        to->raw += c->raw;
        to->stored += c->stored;
    }
    if (!u->opt.here_only && named == c->named)
        to->unique += c->stored;
}

/* Whether `e` lies in the store where a reader of `last` would look next. */
static bool follows(const struct fold_extent *last, const struct fold_extent *e)
{
    if (last->len == 0 || e->loc.seg != last->loc.seg || e->loc.off < last->loc.off)
        return false;
    return e->loc.off - last->loc.off <=
           last->skip + last->len + FOLD_REC_MAX_HEADER + FOLD_SEG_ALIGN;
}

/* What does not depend on chunks is counted in the first round. */
static void account_extent(struct fold_usage_run *u, const struct fold_extent *e)
{
    struct fold_usage *row = &u->rows[u->file->row];
    struct fold_usage *total = u->file->repeated ? NULL : u->total;
    if (e->kind == FOLD_EXTENT_DATA && u->round == 0) {
        bool jump = !follows(&u->last, e);
        row->logical += e->len;
        row->fragments += jump;
        if (total != NULL) {
            total->logical += e->len;
            total->fragments += jump;
        }
        u->last = *e;
    }
    struct chunk *c = find(u, e);
    if (c == NULL)
        return;
    if (c->row != u->file->row + 1) {
        c->row = u->file->row + 1;
        c->row_named = 0;
    }
    c->row_named++;
    count_chunk(u, c, row, c->row_named == 1, c->row_named);
    if (total != NULL) {
        c->total_named++;
        count_chunk(u, c, total, c->total_named == 1, c->total_named);
    }
}

static int account_page(void *arg, uint64_t page_no FOLD_UNUSED, const struct fold_page *p)
{
    struct fold_usage_run *u = arg;
    for (uint32_t i = 0; i < p->count; i++)
        account_extent(u, &p->extents[i]);
    return look(u);
}

static void account_file(struct fold_usage_run *u)
{
    struct fold_usage *to[2] = {&u->rows[u->file->row], u->total};
    u->last = (struct fold_extent){0};
    for (size_t i = 0; u->round == 0 && i < (u->file->repeated ? 1u : 2u); i++) {
        to[i]->files++;
        to[i]->size += u->file->size;
    }
}

/* A step of walk 1 or 3: a number of pages of one file. 1 if there is more to do. */
static int walk_files(struct fold_usage_run *u, const char *step,
                      int (*fn)(void *arg, uint64_t page_no, const struct fold_page *p))
{
    if (u->at >= u->files.count)
        return 0;
    const struct fold_filelist_entry *f = u->file = &u->files.files[u->at];
    int rc = 0;
    if (u->page_no == 0) {
        if (u->at % fold_knobs.usage_look_every == 0)
            tell(u, step, u->at, u->files.count);
        if (fn == account_page)
            account_file(u);
    } else {
        /* Over holes. */
        rc = fold_recipe_next(u->catalog, f->ino, u->page_no, &u->page_no);
    }
    bool ended = rc == -ENOENT;
    if (ended)
        rc = 0;
    bool left = rc == 0 && !ended && f->mapped > 0 && (fn == account_page || !f->repeated);
    if (left) {
        uint64_t end = u->page_no + fold_knobs.usage_step_pages;
        rc = fold_recipe_each(u->catalog, f->ino, u->page_no, end - 1, fn, u);
        u->page_no = end;
        left = end < (f->size + FOLD_PAGE_BYTES - 1) / FOLD_PAGE_BYTES;
    }
    if (rc != 0)
        return rc;
    if (!left) {
        u->at++;
        u->page_no = 0;
    }
    return 1;
}

static int by_loc(const void *a, const void *b)
{
    const struct chunk *const *x = a, *const *y = b;
    const struct fold_loc p = (*x)->loc, q = (*y)->loc;
    return p.seg != q.seg ? (p.seg > q.seg) - (p.seg < q.seg) : (p.off > q.off) - (p.off < q.off);
}

/* Lengths of chunks of one sealed segment (in order) from its table; 0 stays where it has none. */
static void size_from_table(struct fold_usage_run *u, struct chunk **chunks, size_t n)
{
    FOLD_AUTO(free) struct fold_seg_entry *entries = NULL;
    uint32_t count;
    const struct fold_seg *seg = fold_segset_get(u->store->set, chunks[0]->loc.seg);
    if (seg == NULL ||
        fold_reader_table(u->store->reader, chunks[0]->loc.seg, &entries, &count) < 0)
        return;
    size_t at = 0;
    for (uint32_t i = 0; i < count && at < n; i++) {
        uint32_t end = i + 1 < count ? entries[i + 1].off : atomic_load(&seg->data_end);
        while (at < n && chunks[at]->loc.off < entries[i].off)
            at++;
        if (at < n && chunks[at]->loc.off == entries[i].off) {
            chunks[at]->stored = end - entries[i].off;
            chunks[at]->raw = entries[i].raw_len;
        }
    }
}

/* From the record's header. A damaged chunk, which the reader reports, takes no space. */
static int size_from_record(struct fold_usage_run *u, struct chunk *c)
{
    int rc = fold_reader_sizes(u->store->reader, c->loc, &c->raw, &c->stored);
    return rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE ? rc : 0;
}

/* Between walks 2 and 3. */
static int size_chunks(struct fold_usage_run *u)
{
    FOLD_AUTO(free) struct chunk **sorted = calloc(u->used + 1, sizeof(struct chunk *));
    if (sorted == NULL)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < u->slots; i++)
        if (u->table[i].loc.seg != 0)
            sorted[n++] = &u->table[i];
    qsort(sorted, n, sizeof(struct chunk *), by_loc);
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && sorted[to]->loc.seg == sorted[from]->loc.seg;)
            to++;
        size_from_table(u, sorted + from, to - from);
        int rc = 0;
        for (size_t i = from; rc == 0 && i < to; i++)
            if (sorted[i]->stored == 0)
                rc = size_from_record(u, sorted[i]);
        if (rc != 0)
            return rc;
        if (u->opt.cancelled != NULL && u->opt.cancelled(u->opt.arg))
            return -ECANCELED;
    }
    return 0;
}

/* Rounds such that each should fit into the table; one that does not just takes more memory. */
static uint64_t plan(const struct fold_usage_run *u)
{
    struct fold_store_info info;
    uint64_t mapped = 0;
    size_t fit = u->opt.table_chunks != 0 ? u->opt.table_chunks : TABLE_CHUNKS;
    fold_store_info(u->store, &info);
    for (size_t i = 0; i < u->files.count; i++)
        mapped += u->files.files[i].repeated ? 0 : u->files.files[i].mapped;
    uint64_t mean = info.chunks > 0 ? FOLD_MAX(info.raw_bytes / info.chunks, 1) : 1;
    uint64_t chunks = FOLD_MIN(info.chunks, 2 * (mapped / mean) + u->files.count);
    return chunks / fit + 1;
}

static void enter_stage(struct fold_usage_run *u, enum stage stage)
{
    u->stage = stage;
    u->at = 0;
    u->page_no = 0;
}

int fold_usage_step(struct fold_usage_run *u)
{
    int rc = 0;
    switch (u->stage) {
    case STAGE_ENTER:
        rc = walk_files(u, "files", enter_page);
        if (rc == 0)
            enter_stage(u, STAGE_VOLUME);
        break;
    case STAGE_VOLUME:
        tell(u, "volume", u->round, u->rounds);
        if (!u->opt.here_only && u->used > 0)
            rc = fold_recipe_walk(u->catalog, count_page, u);
        enter_stage(u, STAGE_SIZES);
        break;
    case STAGE_SIZES:
        rc = size_chunks(u);
        enter_stage(u, STAGE_SUM);
        break;
    case STAGE_SUM:
        rc = walk_files(u, "sum", account_page);
        if (rc != 0)
            break;
        if (++u->round == u->rounds)
            return 0;
        enter_stage(u, STAGE_ENTER);
        u->used = 0;
        if (u->slots > 0)
            memset(u->table, 0, u->slots * sizeof *u->table);
        break;
    }
    return rc < 0 ? rc : 1;
}

int fold_usage_begin(struct fold_store *store, struct fold_catalog *c, const fold_ino *from,
                     size_t n, const struct fold_usage_options *opt, struct fold_usage *rows,
                     struct fold_usage *total, struct fold_usage_run **out)
{
    struct fold_usage_run *u = calloc(1, sizeof *u);
    if (u == NULL)
        return -ENOMEM;
    u->store = store;
    u->catalog = c;
    u->opt = *opt;
    u->rows = rows;
    u->total = total;
    memset(rows, 0, n * sizeof *rows);
    *total = (struct fold_usage){0};
    int rc = fold_filelist_make(c, from, n, opt->cancelled, opt->arg, &u->files);
    if (rc != 0) {
        free(u);
        return rc;
    }
    u->rounds = plan(u);
    *out = u;
    return 0;
}

void fold_usage_end(struct fold_usage_run *u)
{
    if (u == NULL)
        return;
    free(u->table);
    fold_filelist_fini(&u->files);
    free(u);
}

int fold_usage_measure(struct fold_store *store, struct fold_catalog *c, const fold_ino *from,
                       size_t n, const struct fold_usage_options *opt, struct fold_usage *rows,
                       struct fold_usage *total)
{
    struct fold_usage_run *u = NULL;
    int rc = fold_usage_begin(store, c, from, n, opt, rows, total, &u);
    while (rc == 0 && (rc = fold_usage_step(u)) > 0)
        rc = 0;
    fold_usage_end(u);
    return rc;
}
