/* SPDX-License-Identifier: MIT */
/*
 * Records are verified, decoded and put anew in batches; the new places are on stable
 * storage before a forwarding table names them. They get there a few mebibytes at a time: an fsync
 * of somebody else has to wait for no more than that.
 */
#include "meta/compact.h"

#include "meta/base/clock.h"
#include "meta/base/err.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/readerparts.h"
#include "meta/storeparts.h"

#include <errno.h>
#include <time.h>

#define BATCH 64u

struct copier {
    struct fold_store *store;
    const struct fold_collect_options *opt;
    struct fold_collect_result *result;
    struct fold_put puts[BATCH];
    uint32_t off[BATCH]; /* where each came from */
    size_t n;
    size_t bytes;
    size_t unsynced;
    uint64_t since_ms;                /* when the bytes not synced yet began to be copied */
    struct fold_forward_entry *moved; /* of the segment being copied */
    size_t moved_count;
};

static void sleep_ms(uint64_t ms)
{
    struct timespec ts = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

/* Sleeps so that copying stays below the rate asked for, in naps: whoever cancels is not kept
 * waiting. */
static void pace(const struct copier *c, uint64_t bytes)
{
    const struct fold_collect_options *opt = c->opt;
    uint64_t ms = opt->rate != 0 ? bytes * 1000 / opt->rate : 0;
    while (ms > 0 && !(opt->cancelled != NULL && opt->cancelled(opt->arg))) {
        uint64_t nap = FOLD_MIN(ms, fold_knobs.compact_nap_ms);
        sleep_ms(nap);
        ms -= nap;
    }
}

/* Makes durable what was copied, then lets others have the disk for as long as that took. */
static int settle(struct copier *c)
{
    int rc = c->unsynced > 0 ? fold_barrier_sync(c->store->barrier) : 0;
    c->unsynced = 0;
    uint64_t took = fold_clock_ms() - c->since_ms;
    if (rc == 0 && c->opt->busy != NULL && c->opt->busy(c->opt->arg))
        sleep_ms(FOLD_MIN(took, fold_knobs.compact_yield_ms));
    c->since_ms = fold_clock_ms();
    return rc;
}

static int put_batch(struct copier *c)
{
    int rc = c->n > 0 ? fold_appender_put(c->store->appender, c->puts, c->n, true) : 0;
    for (size_t i = 0; i < c->n; i++) {
        if (rc == 0)
            c->moved[c->moved_count++] = (struct fold_forward_entry){c->off[i], c->puts[i].loc};
        free((void *)(uintptr_t)c->puts[i].data);
    }
    pace(c, c->bytes);
    c->unsynced += c->bytes;
    c->n = 0;
    c->bytes = 0;
    return rc == 0 && c->unsynced >= fold_knobs.compact_sync_bytes ? settle(c) : rc;
}

/* The raw bytes of a record, malloc'd. Its checksum is verified now, whatever was verified before:
 * the copy gets one of its own, which would make damage look whole for ever. */
static int read_record(struct fold_reader *r, const struct fold_pinned *p, void **out)
{
    int rc = fold_reader_check(r, p);
    if (rc < 0)
        return rc;
    void *raw = malloc(p->rec.raw_len);
    if (raw == NULL)
        return -ENOMEM;
    const struct fold_rec *rec = &p->rec;
    rc = fold_reader_unpack(rec->codec, p->payload, rec->stored_len, raw, rec->raw_len);
    if (rc < 0) {
        free(raw);
        return rc == -ENOMEM ? rc : fold_reader_report(r, p->loc, &rec->fp, rc);
    }
    *out = raw;
    return 0;
}

/* Takes one record into the batch. */
static int take(struct copier *c, struct fold_loc loc)
{
    struct fold_reader *r = c->store->reader;
    struct fold_pinned p;
    void *raw = NULL;
    int rc = fold_reader_pin(r, loc, &p);
    if (rc < 0)
        return rc;
    rc = read_record(r, &p, &raw);
    if (rc == 0) {
        c->puts[c->n] = (struct fold_put){.data = raw, .len = p.rec.raw_len, .fp = p.rec.fp};
        c->off[c->n++] = loc.off;
        c->bytes += p.rec.raw_len;
        c->result->copied_bytes += p.rec.stored_len;
    }
    fold_reader_unpin(r, &p);
    return rc;
}

static int copy_segment(struct copier *c, const struct fold_condemned *s,
                        const struct fold_livemap *live)
{
    c->moved = malloc((s->live_count + 1) * sizeof *c->moved);
    c->moved_count = 0;
    int rc = c->moved != NULL ? 0 : -ENOMEM;
    for (uint32_t i = 0; rc == 0 && i < s->count; i++) {
        struct fold_loc loc = {s->seg, s->entries[i].off};
        if (!fold_livemap_test(live, loc))
            continue;
        rc = take(c, loc);
        if (rc == 0 && (c->n >= FOLD_MIN(BATCH, fold_knobs.compact_batch) ||
                        c->bytes >= fold_knobs.compact_batch_bytes))
            rc = put_batch(c);
        if (rc == 0 && c->opt->cancelled != NULL && c->opt->cancelled(c->opt->arg))
            rc = -ECANCELED;
    }
    int last = put_batch(c);
    rc = rc < 0 ? rc : last;
    if (rc == 0)
        rc = settle(c);
    if (rc == 0 && c->moved_count > 0)
        rc = fold_forward_add(c->store->forward, s->seg, c->moved, c->moved_count);
    free(c->moved);
    return rc;
}

int fold_compact_run(struct fold_store *store, struct fold_condemned *list, size_t *count,
                     const struct fold_livemap *live, const struct fold_collect_options *opt,
                     struct fold_collect_result *result)
{
    struct copier *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    c->store = store;
    c->opt = opt;
    c->result = result;
    c->since_ms = fold_clock_ms();
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < *count;) {
        struct fold_collect_progress p = {"copy", i, *count};
        if (opt->progress != NULL)
            opt->progress(opt->arg, &p);
        rc = list[i].live_count > 0 ? copy_segment(c, &list[i], live) : 0;
        if (rc != -FOLD_E_BAD_RECORD && rc != -FOLD_E_LOST_CHUNK && rc != -EIO) {
            i++;
            continue;
        }
        /* Damage stays where it is, so that it can still be healed. */
        fold_warn("segment %08x is not collected: %s", list[i].seg, fold_err_text(rc));
        atomic_store(&fold_segset_get(store->set, list[i].seg)->condemned, false);
        free(list[i].entries);
        list[i] = list[--*count];
        rc = 0;
    }
    free(c);
    return rc;
}
