/* SPDX-License-Identifier: MIT */
/*
 * What is derived from segments, against them: forwarding tables, the fingerprint index and its
 * summaries. A damaged record whose content exists a second time is forwarded there.
 */
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/checkparts.h"
#include "meta/segscan.h"
#include "meta/storeparts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

/* The index is made anew at the next opening for writing. */
static bool want_index(struct fold_check *k)
{
    k->index_broken |= k->opt->repair;
    return k->opt->repair;
}

struct tables {
    struct fold_check *k;
    int dirfd;
};

static int check_table_name(void *arg, const char *name)
{
    struct tables *t = arg;
    struct fold_check *k = t->k;
    size_t len = strlen(name);
    if (len != 12 || strcmp(name + 8, ".fwd") != 0)
        return 0;
    uint32_t seg = (uint32_t)strtoul(name, NULL, 16);
    if (fold_forward_has(k->volume->store->forward, seg))
        return 0;
    bool fixed = k->opt->repair && fold_io_rename(t->dirfd, name, "damaged-fwd") == 0;
    fold_check_found(
        k, "forward.damaged", FOLD_SEVERITY_ERROR, fixed, name,
        "the forwarding table is damaged; chunks that moved away from that segment may be lost");
    return 0;
}

int fold_check_forward(struct fold_check *k)
{
    struct fold_forward *fwd = k->volume->store->forward;
    struct tables t = {.k = k};
    t.dirfd = fold_check_open_segments(k);
    if (t.dirfd < 0)
        return t.dirfd;
    int rc = fold_io_list(t.dirfd, check_table_name, &t);
    (void)close(t.dirfd);
    uint32_t *segs = NULL;
    size_t count = 0;
    if (rc == 0)
        rc = fold_forward_list(fwd, &segs, &count);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct fold_check_seg *s = fold_check_seg(k, segs[i]);
        for (uint32_t r = 0; s != NULL && r < s->count; r++) {
            struct fold_loc loc = {segs[i], s->recs[r].off};
            struct fold_loc to = fold_forward_resolve(fwd, loc);
            if (!fold_loc_equal(loc, to) && fold_check_rec(k, to) == NULL)
                fold_check_found(k, "forward.dangling", FOLD_SEVERITY_ERROR, false,
                                 fold_label_seg(segs[i]).text,
                                 "offset %" PRIu32 " is forwarded to segment %08" PRIx32
                                 " offset %" PRIu32 ", where no record is",
                                 loc.off, to.seg, to.off);
        }
    }
    free(segs);
    return rc;
}

/* A segment that was open when its file was looked at may have been sealed by opening the volume.
 */
static bool sealed_now(struct fold_check *k, struct fold_check_seg *s)
{
    char name[FOLD_SEG_NAME_BYTES];
    struct fold_seg_ident id;
    fold_seg_name(s->ident.seg, name);
    FOLD_AUTO(close) int fd = fold_io_open(k->volume->store->dirfd, name, O_RDONLY, 0);
    s->sealed = fd >= 0 && fold_segscan_footer(fd, s->ident.seg, &id, &s->sum) == 0;
    return s->sealed;
}

static int check_summary(void *arg, const struct fold_seg_summary *sum)
{
    struct fold_check *k = arg;
    struct fold_check_seg *s = fold_check_seg(k, sum->ident.seg);
    const char *code = NULL, *text = NULL;
    enum fold_severity severity = FOLD_SEVERITY_WARNING;
    bool fixed = false;
    if (s == NULL) {
        code = "segment.missing";
        text = "the index knows this segment, but its file is missing or unreadable; the chunks in "
               "it are lost";
        severity = FOLD_SEVERITY_ERROR;
    } else if (!s->sealed && !sealed_now(k, s)) {
        code = "segment.footer";
        text = "it was sealed, but its footer is damaged";
        severity = FOLD_SEVERITY_ERROR;
    } else if (sum->file_bytes != s->sum.file_bytes || sum->data_end != s->sum.data_end ||
               sum->count != s->sum.count || sum->raw_bytes != s->sum.raw_bytes ||
               sum->ident.salt != s->ident.salt) {
        code = "index.summary";
        text = "what the index says of it is not what its footer says";
    } else {
        s->summary = true;
        return 0;
    }
    /* With segment and index gone nothing is left to say that anything is missing, but the recipes.
     */
    fixed = want_index(k);
    fold_check_found(k, code, severity, fixed, fold_label_seg(sum->ident.seg).text, "%s", text);
    return 0;
}

struct entries {
    struct fold_check *k;
    uint64_t bad;
    uint64_t done;
};

static int check_entry(void *arg, const struct fold_fp *fp, struct fold_loc loc)
{
    struct entries *e = arg;
    struct fold_check *k = e->k;
    struct fold_check_rec *rec = fold_check_rec(k, loc);
    if (rec == NULL)
        rec = fold_check_rec(k, fold_forward_resolve(k->volume->store->forward, loc));
    if (rec == NULL || rec->tag != fold_check_tag(fp->w))
        e->bad++;
    else
        rec->raw_len |= FOLD_REC_INDEXED;
    if ((++e->done & 0xffff) == 0)
        fold_check_tell(k, "index", e->done, k->result->chunks);
    return 0;
}

/* Records of a segment the index has taken in must be found there, or another one with the same
 * fingerprint. */
static int check_indexed(struct fold_check *k, const struct fold_check_seg *s, uint64_t *missing)
{
    uint32_t lacking = 0, count = 0;
    for (uint32_t i = 0; i < s->count; i++)
        lacking += (s->recs[i].raw_len & FOLD_REC_INDEXED) == 0;
    if (lacking == 0 || !s->summary)
        return 0;
    struct fold_seg_entry *entries = NULL;
    int rc = fold_check_entries(k, s, &entries, &count);
    for (uint32_t i = 0; rc == 0 && i < FOLD_MIN(count, s->count); i++) {
        struct fold_fp fp = {{entries[i].w[0], entries[i].w[1], 0, 0}};
        struct fold_loc loc;
        if ((s->recs[i].raw_len & (FOLD_REC_INDEXED | FOLD_REC_DAMAGED)) != 0)
            continue;
        int got = fold_index_get(k->volume->store->index, &fp, &loc);
        if (got == -ENOENT)
            ++*missing;
        else
            rc = got;
    }
    free(entries);
    return rc;
}

static int check_database(struct fold_check *k, uint64_t *dangling, uint64_t *missing)
{
    struct fold_index *ix = k->volume->store->index;
    struct entries e = {.k = k};
    int rc = fold_index_summaries(ix, check_summary, k);
    if (rc == 0)
        rc = fold_index_each(ix, check_entry, &e);
    for (size_t i = 0; rc == 0 && i < k->seg_count; i++)
        rc = check_indexed(k, &k->segs[i], missing);
    *dangling = e.bad;
    return rc;
}

int fold_check_index(struct fold_check *k)
{
    uint64_t dangling = 0, missing = 0;
    fold_check_tell(k, "index", 0, k->result->chunks);
    struct fold_store *store = k->volume->store;
    int rc = store->sealer != NULL ? fold_sealer_flush(store->sealer) : 0;
    if (rc < 0)
        return rc;
    rc = store->index != NULL ? check_database(k, &dangling, &missing) : -FOLD_E_BAD_CATALOG;
    if (rc == -ENOMEM)
        return rc;
    if (rc < 0)
        fold_check_found(k, "index.unreadable", FOLD_SEVERITY_WARNING, want_index(k), "index",
                         "the fingerprint index cannot be read: %s", fold_err_text(rc));
    if (dangling > 0)
        fold_check_found(k, "index.dangling", FOLD_SEVERITY_WARNING, want_index(k), "index",
                         "%" PRIu64
                         " of its entries name places where no record with that fingerprint is",
                         dangling);
    if (missing > 0)
        fold_check_found(k, "index.missing", FOLD_SEVERITY_WARNING, want_index(k), "index",
                         "%" PRIu64 " stored chunks are not in it and would be stored again",
                         missing);
    return 0;
}

/* Forwards one damaged record to another one with its fingerprint, if that is good. */
static bool forward_to_twin(struct fold_check *k, uint32_t seg, const struct fold_seg_entry *e)
{
    struct fold_store *store = k->volume->store;
    struct fold_fp fp = {{e->w[0], e->w[1], 0, 0}};
    struct fold_forward_entry entry = {.off = e->off};
    struct fold_view view;
    if (store->index == NULL || fold_index_get(store->index, &fp, &entry.to) < 0)
        return false;
    entry.to = fold_forward_resolve(store->forward, entry.to);
    if (fold_loc_equal(entry.to, (struct fold_loc){seg, e->off}) ||
        fold_store_view(store, entry.to, &view) < 0)
        return false;
    bool same = view.fp.w[0] == e->w[0] && view.fp.w[1] == e->w[1] && view.raw_len == e->raw_len;
    fold_store_unview(store, &view);
    return same && fold_forward_add(store->forward, seg, &entry, 1) == 0;
}

/* Calls `fn` for the damaged records of all segments. */
static int each_damaged(struct fold_check *k,
                        void (*fn)(struct fold_check *k, struct fold_check_seg *s,
                                   const struct fold_seg_entry *e, struct fold_check_rec *rec))
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < k->seg_count; i++) {
        struct fold_check_seg *s = &k->segs[i];
        struct fold_seg_entry *entries = NULL;
        uint32_t count = 0;
        if (s->damaged == 0)
            continue;
        rc = fold_check_entries(k, s, &entries, &count);
        for (uint32_t r = 0; rc == 0 && r < count; r++) {
            struct fold_check_rec *rec =
                fold_check_rec(k, (struct fold_loc){s->ident.seg, entries[r].off});
            if (rec != NULL && (rec->raw_len & FOLD_REC_DAMAGED) != 0)
                fn(k, s, &entries[r], rec);
        }
        free(entries);
    }
    return rc;
}

static bool healed(const struct fold_check *k, uint32_t seg, uint32_t off)
{
    struct fold_loc loc = {seg, off};
    return !fold_loc_equal(fold_forward_resolve(k->volume->store->forward, loc), loc);
}

static void tell_damage(struct fold_check *k, struct fold_check_seg *s,
                        const struct fold_seg_entry *e, bool fixed, enum fold_severity severity,
                        const char *what)
{
    fold_check_found(k, "chunk.damaged", severity, fixed, fold_label_seg(s->ident.seg).text,
                     "offset %" PRIu32 " fingerprint %016" PRIx64 "%016" PRIx64
                     ": the stored chunk of %" PRIu32 " bytes is damaged%s",
                     e->off, e->w[0], e->w[1], e->raw_len, what);
}

static void try_twin(struct fold_check *k, struct fold_check_seg *s, const struct fold_seg_entry *e,
                     struct fold_check_rec *rec)
{
    (void)rec;
    if (!healed(k, s->ident.seg, e->off) && forward_to_twin(k, s->ident.seg, e))
        tell_damage(k, s, e, true, FOLD_SEVERITY_ERROR, "; the same content is stored elsewhere");
}

int fold_check_twins(struct fold_check *k)
{
    return k->opt->repair ? each_damaged(k, try_twin) : 0;
}

static void tell_left(struct fold_check *k, struct fold_check_seg *s,
                      const struct fold_seg_entry *e, struct fold_check_rec *rec)
{
    if (healed(k, s->ident.seg, e->off))
        return;
    bool named = (rec->raw_len & FOLD_REC_NAMED) != 0;
    tell_damage(k, s, e, false, named ? FOLD_SEVERITY_ERROR : FOLD_SEVERITY_NOTE,
                named ? "; writing the same content again heals it" : "; no file needs it");
}

int fold_check_damage(struct fold_check *k)
{
    return each_damaged(k, tell_left);
}
