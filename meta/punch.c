/* SPDX-License-Identifier: MIT */
/*
 * A list of gaps is on stable storage before its holes are punched, and nothing but the segment's
 * own table names what lies in them by then: a crash in between leaves records that nobody can
 * find, and the next opening of the segment, which has no summary then, punches them.
 */
#include "meta/punch.h"

#include "meta/base/err.h"
#include "meta/base/gate.h"
#include "meta/base/io.h"
#include "meta/base/log.h"
#include "meta/storeparts.h"

#include <errno.h>
#include <fcntl.h>

/* A run of records of which none is live, while a table is walked. */
struct run {
    const struct fold_seg_entry *entries;
    uint32_t first; /* entry */
    uint64_t fresh_bytes, fresh_raw;
    uint32_t fresh_records;
    bool open;
};

static void add_gap(struct fold_gaps *g, uint32_t from, uint32_t to)
{
    if (g->count > 0 && g->at[g->count - 1].to == from)
        g->at[g->count - 1].to = to;
    else
        g->at[g->count++] = (struct fold_gap){from, to};
}

/* The run ends before entry `next`, which starts at `end`: it becomes one gap if that pays, else
 * only what was gone before stays a gap. */
static void close_run(struct run *r, uint32_t next, uint32_t end, struct fold_gaps *g, bool *any)
{
    const struct fold_seg_entry *e = r->entries;
    if (!r->open)
        return;
    r->open = false;
    if (r->fresh_bytes >= FOLD_PUNCH_MIN_BYTES) {
        add_gap(g, e[r->first].off, end);
        g->raw_bytes += r->fresh_raw;
        g->records += r->fresh_records;
        *any = true;
        return;
    }
    for (uint32_t i = r->first; i < next; i++)
        if (fold_seg_entry_gone(&e[i]))
            add_gap(g, e[i].off, i + 1 < next ? e[i + 1].off : end);
}

/* What can go from a segment, of `within` only unless that is NULL, with what is gone already; NULL
 * if that would be nothing new. */
static int find_gaps(const struct fold_punch *p, uint32_t number, const struct fold_gaps *within,
                     struct fold_gaps **out)
{
    FOLD_AUTO(free) struct fold_seg_entry *entries = NULL;
    uint32_t count;
    const struct fold_seg *seg = fold_segset_get(p->store->set, number);
    int rc = fold_reader_table(p->store->reader, number, &entries, &count);
    if (rc < 0)
        return rc;
    struct fold_gaps *g = fold_gaps_create((size_t)count + 1);
    if (g == NULL)
        return -ENOMEM;
    g->raw_bytes = atomic_load(&seg->gap_raw);
    g->records = atomic_load(&seg->gap_records);
    struct run r = {.entries = entries};
    bool any = false;
    uint32_t data_end = atomic_load(&seg->data_end);
    for (uint32_t i = 0; i < count; i++) {
        const struct fold_seg_entry *e = &entries[i];
        bool gone = fold_seg_entry_gone(e);
        bool stays = !gone && (fold_livemap_test(p->live, (struct fold_loc){number, e->off}) ||
                               (within != NULL && !fold_gaps_cover(within, e->off)));
        if (stays) {
            close_run(&r, i, e->off, g, &any);
            continue;
        }
        if (!r.open)
            r = (struct run){.entries = entries, .first = i, .open = true};
        if (!gone) {
            r.fresh_bytes += (i + 1 < count ? entries[i + 1].off : data_end) - e->off;
            r.fresh_raw += e->raw_len;
            r.fresh_records++;
        }
    }
    close_run(&r, count, data_end, g, &any);
    if (!any) {
        free(g);
        g = NULL;
    }
    *out = g;
    return 0;
}

static int open_segment(const struct fold_punch *p, uint32_t seg)
{
    char name[FOLD_SEG_NAME_BYTES];
    fold_seg_name(seg, name);
    return fold_io_open(p->store->dirfd, name, O_RDWR, 0);
}

static bool host_can(const struct fold_punch *p, uint32_t seg)
{
    FOLD_AUTO(close) int fd = open_segment(p, seg);
    return fd >= 0 &&
           fold_gaps_supported(fd, atomic_load(&fold_segset_get(p->store->set, seg)->file_bytes));
}

int fold_punch_plan(struct fold_punch *p, struct fold_store *store, const struct fold_livemap *live,
                    const uint32_t *segs, size_t n)
{
    *p = (struct fold_punch){.store = store, .live = live};
    if (n == 0 || !host_can(p, segs[0]))
        return 0;
    p->items = calloc(n, sizeof *p->items);
    if (p->items == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct fold_gaps *g = NULL;
        int rc = find_gaps(p, segs[i], NULL, &g);
        if (rc == -ENOMEM)
            return rc;
        if (rc < 0 || g == NULL)
            continue;
        p->items[p->count++] = (struct fold_punch_item){.seg = segs[i], .planned = g};
        atomic_store(&fold_segset_get(store->set, segs[i])->doomed, g);
    }
    return 0;
}

int fold_punch_settle(struct fold_punch *p)
{
    for (size_t i = 0; i < p->count; i++) {
        int rc = find_gaps(p, p->items[i].seg, p->items[i].planned, &p->items[i].gaps);
        if (rc == -ENOMEM)
            return rc;
    }
    return 0;
}

int fold_punch_entries(const struct fold_punch *p, size_t i, struct fold_seg_entry **out,
                       uint32_t *count)
{
    uint32_t kept = 0;
    const struct fold_punch_item *item = &p->items[i];
    int rc = fold_reader_table(p->store->reader, item->seg, out, count);
    if (rc < 0)
        return rc;
    for (uint32_t k = 0; k < *count; k++)
        if (!fold_seg_entry_gone(&(*out)[k]) && fold_gaps_cover(item->gaps, (*out)[k].off))
            (*out)[kept++] = (*out)[k];
    *count = kept;
    return 0;
}

static void drop_item(struct fold_punch_item *item, int rc, const char *what)
{
    fold_warn("segment %08x: %s: %s", item->seg, what, fold_err_text(rc));
    free(item->gaps);
    item->gaps = NULL;
}

/* After a failed save: whether the list is there all the same, for lack of a durable name only. The
 * next opening would believe it. */
static bool in_place(const struct fold_punch *p, const struct fold_punch_item *item)
{
    FOLD_AUTO(free) struct fold_gaps *there = NULL;
    return fold_gaps_load(p->store->dirfd, item->seg, &there) == 0 && there != NULL &&
           there->count == item->gaps->count &&
           memcmp(there->at, item->gaps->at, there->count * sizeof there->at[0]) == 0;
}

/* From here on the records are gone for everybody who reads the table. */
static void save_lists(struct fold_punch *p)
{
    for (size_t i = 0; i < p->count; i++) {
        struct fold_punch_item *item = &p->items[i];
        if (item->gaps == NULL)
            continue;
        int rc = fold_gaps_save(p->store->dirfd, item->seg, item->gaps);
        struct fold_seg *seg = fold_segset_get(p->store->set, item->seg);
        uint64_t before = fold_seg_occupied(seg);
        if (rc == 0 || in_place(p, item)) {
            fold_segset_gaps(seg, item->gaps);
            fold_locality_drop(p->store->locality, item->seg);
        }
        item->freed_bytes = before - FOLD_MIN(before, fold_seg_occupied(seg));
        if (rc < 0)
            drop_item(item, rc, "its gaps cannot be noted");
    }
}

static void punch_holes(struct fold_punch *p, struct fold_collect_result *result)
{
    for (size_t i = 0; i < p->count; i++) {
        struct fold_punch_item *item = &p->items[i];
        if (item->gaps == NULL)
            continue;
        fold_locality_drop(p->store->locality, item->seg);
        FOLD_AUTO(close) int fd = open_segment(p, item->seg);
        int rc = fd < 0 ? fd : fold_gaps_punch(fd, item->gaps);
        if (rc == 0)
            rc = fold_io_fdatasync(fd);
        if (rc < 0) {
            drop_item(item, rc, "its gaps still take space");
            continue;
        }
        result->segments_punched++;
        result->punched_bytes += item->freed_bytes;
    }
}

static int add_summaries(struct fold_punch *p)
{
    struct fold_seg_summary *sums = calloc(p->count + 1, sizeof *sums);
    if (sums == NULL)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++)
        if (p->items[i].gaps != NULL)
            fold_seg_summarise(fold_segset_get(p->store->set, p->items[i].seg), &sums[n++]);
    struct fold_index_load load = {.added = sums, .added_count = n};
    fold_sealer_hold(p->store->sealer);
    int rc = n > 0 ? fold_index_apply(p->store->index, &load) : 0;
    fold_sealer_release(p->store->sealer);
    free(sums);
    return rc;
}

static int step(const struct fold_collect_options *opt, unsigned n)
{
    return opt->step != NULL ? opt->step(opt->arg, n) : 0;
}

int fold_punch_run(struct fold_punch *p, struct fold_gate *gate,
                   const struct fold_collect_options *opt, struct fold_collect_result *result)
{
    if (p->count == 0)
        return 0;
    save_lists(p);
    int rc = step(opt, 7);
    if (rc < 0)
        return rc;
    fold_gate_wait(gate);
    punch_holes(p, result);
    rc = step(opt, 8);
    return rc < 0 ? rc : add_summaries(p);
}

void fold_punch_withdraw(struct fold_punch *p)
{
    for (size_t i = 0; i < p->count; i++)
        atomic_store(&fold_segset_get(p->store->set, p->items[i].seg)->doomed, NULL);
}

void fold_punch_fini(struct fold_punch *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->items[i].planned);
        free(p->items[i].gaps);
    }
    free(p->items);
    *p = (struct fold_punch){0};
}
