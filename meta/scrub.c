/* SPDX-License-Identifier: MIT */
/*
 * A segment is read in windows with direct I/O, the last partial block through the page cache.
 * While a window is looked at the scrub is inside the gate, so that no collection takes the
 * segment's records away meanwhile; a segment that is gone is skipped. Records that were healed or
 * moved are not read: nothing refers to their bytes any more.
 */
#include "meta/scrub.h"

#include "meta/base/clock.h"
#include "meta/base/err.h"
#include "meta/base/gate.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "asm/kernels.h"
#include "meta/codec.h"
#include "meta/gaps.h"
#include "meta/record.h"
#include "meta/scrubparts.h"
#include "meta/storeparts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <time.h>

#define BLOCK  4096u
#define WINDOW (8u << 20) /* more than the largest record */

struct scrub {
    struct fold_store *store;
    struct fold_gate *gate;
    const struct fold_scrub_options *opt;
    struct fold_scrub_result *r;
    int storefd;
    struct fold_scrub_place place;
    uint8_t *window; /* of file offset `at`, `len` bytes */
    uint64_t at, len;
    uint8_t *raw;
    uint64_t start_ms, read_bytes, total_bytes, done_bytes;
    /* The segment at hand. */
    const struct fold_seg *seg;
    int direct, buffered;
    struct fold_seg_entry *table; /* NULL: open, or the table is damaged */
    uint32_t table_count;
};

/* A lost place costs time, and what was found is in the log. */
static void keep_place(const struct scrub *s)
{
    int rc = s->store->opt.read_only ? 0 : fold_scrub_place_save(s->storefd, &s->place);
    if (rc < 0)
        fold_warn("scrub: its position cannot be kept: %s", fold_err_text(rc));
}

static bool cancelled(const struct scrub *s)
{
    return s->opt->cancelled != NULL && s->opt->cancelled(s->opt->arg);
}

/* Waits until what was read so far is within the rate. Not inside the gate. */
static int pace(struct scrub *s)
{
    while (!cancelled(s)) {
        uint64_t due = s->opt->rate != 0 ? s->read_bytes * 1000 / s->opt->rate : 0;
        uint64_t spent = fold_clock_ms() - s->start_ms;
        if (spent >= due)
            return 0;
        struct timespec nap = {.tv_nsec = (long)FOLD_MIN(due - spent, fold_knobs.scrub_slice_ms) *
                                          1000000};
        (void)nanosleep(&nap, NULL);
    }
    return -ECANCELED;
}

static int add_damage(struct scrub *s, uint32_t off, const uint64_t *w, const char *what)
{
    struct fold_scrub_result *r = s->r;
    fold_reader_distrust(s->store->reader);
    fold_reader_count(s->store->reader, (struct fold_loc){s->seg->ident.seg, off});
    fold_error("scrub: segment %08" PRIx32 " offset %" PRIu32 " fingerprint %016" PRIx64
               "%016" PRIx64 ": %s",
               s->seg->ident.seg, off, w != NULL ? w[0] : 0, w != NULL ? w[1] : 0, what);
    if (r->count >= fold_knobs.scrub_damage) {
        r->not_listed++;
        return 0;
    }
    if ((r->count & (r->count - 1)) == 0) {
        struct fold_scrub_damage *grown =
            realloc(r->damage, FOLD_MAX(r->count * 2, (size_t)1) * sizeof *grown);
        if (grown == NULL)
            return -ENOMEM;
        r->damage = grown;
    }
    struct fold_scrub_damage *d = &r->damage[r->count++];
    *d = (struct fold_scrub_damage){
        .loc = {s->seg->ident.seg, off}, .what = what, .fp_known = w != NULL};
    if (w != NULL)
        d->fp = (struct fold_fp){{w[0], w[1], 0, 0}};
    return 0;
}

/* Brings [from, from+WINDOW) up to `end` into the window. */
static int fill_window(struct scrub *s, uint32_t from, uint32_t end)
{
    s->at = from & ~(uint64_t)(BLOCK - 1);
    s->len = FOLD_MIN((uint64_t)WINDOW, end - s->at);
    uint64_t direct = s->direct >= 0 ? s->len & ~(uint64_t)(BLOCK - 1) : 0;
    int rc = direct > 0 ? fold_io_pread(s->direct, s->window, direct, s->at) : 0;
    if (rc == -EINVAL) { /* the host takes larger blocks only, or none at all */
        direct = 0;
        rc = 0;
    }
    if (rc == 0 && direct < s->len)
        rc = fold_io_pread(s->buffered, s->window + direct, s->len - direct, s->at + direct);
    s->read_bytes += s->len;
    s->r->bytes += s->len;
    return rc;
}

static const uint8_t *in_window(const struct scrub *s, uint64_t off, uint64_t len)
{
    return off >= s->at && off + len <= s->at + s->len ? s->window + (off - s->at) : NULL;
}

/* Raw bytes and fingerprint of a record whose payload has the right checksum. */
static const char *check_content(struct scrub *s, const struct fold_rec *rec,
                                 const uint8_t *payload)
{
    const uint8_t *raw = payload;
    if (rec->dict != 0)
        return NULL;
    if (rec->codec != FOLD_CODEC_NONE) {
        if (fold_codec_decompress((enum fold_codec)rec->codec, payload, rec->stored_len, s->raw,
                                  rec->raw_len) < 0)
            return "it cannot be decompressed";
        raw = s->raw;
    }
    return s->opt->matches(s->opt->arg, raw, rec->raw_len, &rec->fp)
               ? NULL
               : "its bytes do not have its fingerprint";
}

static bool still_used(const struct scrub *s, uint32_t off)
{
    struct fold_loc loc = {s->seg->ident.seg, off};
    uint8_t state = atomic_load(&s->seg->state);
    if (state == FOLD_SEG_GONE ||
        !fold_loc_equal(fold_forward_resolve(s->store->forward, loc), loc))
        return false;
    /* It may have been punched since the table was read. */
    struct fold_gaps *gaps = NULL;
    bool gone = fold_gaps_load(s->store->dirfd, loc.seg, &gaps) == 0 && fold_gaps_cover(gaps, off);
    free(gaps);
    return !gone;
}

/*
 * The record at `off`: 1 and *next set, 0 if more of the file must be read first, negative on
 * error. `entry` is what the table says about it, or NULL.
 */
static int check_record(struct scrub *s, uint32_t off, uint32_t end,
                        const struct fold_seg_entry *entry, uint32_t *next)
{
    const struct fold_seg_ident *id = &s->seg->ident;
    uint32_t head_len = fold_rec_header_bytes(id->fp_width);
    uint32_t limit = entry != NULL && *next != 0 ? *next : end;
    const uint8_t *head = in_window(s, off, head_len);
    struct fold_rec rec;
    if (head == NULL)
        return 0;
    if (fold_rec_decode(id, off, limit, head, &rec) < 0) {
        if (entry != NULL && still_used(s, off))
            return add_damage(s, off, entry->w, "the header of the stored chunk is damaged") < 0
                       ? -ENOMEM
                       : 1;
        *next = entry != NULL ? *next : off + FOLD_SEG_ALIGN;
        return 1;
    }
    const uint8_t *payload = in_window(s, (uint64_t)off + head_len, rec.stored_len);
    if (payload == NULL)
        return 0;
    const char *what = NULL;
    if (fold_rec_payload_crc(payload, rec.stored_len) != rec.payload_crc)
        what = "the stored chunk is damaged";
    else
        what = check_content(s, &rec, payload);
    s->r->chunks++;
    if (entry == NULL)
        *next = off + fold_rec_bytes(id->fp_width, rec.stored_len);
    return what != NULL && still_used(s, off) && add_damage(s, off, rec.fp.w, what) < 0 ? -ENOMEM
                                                                                        : 1;
}

/* Goes on from record number *i (with a table) or offset *off as far as the window reaches. */
static int check_window(struct scrub *s, uint32_t *i, uint32_t *off, uint32_t end)
{
    for (;;) {
        const struct fold_seg_entry *entry = NULL;
        uint32_t next = 0;
        if (s->table != NULL) {
            if (*i >= s->table_count) {
                *off = end;
                return 0;
            }
            entry = &s->table[*i];
            *off = entry->off;
            next = *i + 1 < s->table_count ? s->table[*i + 1].off : end;
            if (fold_seg_entry_gone(entry)) {
                ++*i;
                *off = next;
                continue;
            }
        }
        if (*off >= end || end - *off < fold_rec_header_bytes(s->seg->ident.fp_width)) {
            *off = end;
            return 0;
        }
        int rc = check_record(s, *off, end, entry, &next);
        if (rc <= 0)
            return rc;
        if (s->table != NULL)
            ++*i;
        else
            *off = next;
    }
}

static int read_segment(struct scrub *s)
{
    uint32_t end = atomic_load_explicit(&s->seg->data_end, memory_order_acquire);
    uint32_t off = FOLD_SEG_HEADER_BYTES, i = 0;
    uint32_t last = UINT32_MAX;
    int rc = 0;
    while (rc == 0 && off < end) {
        unsigned token = fold_gate_enter(s->gate);
        if (last == off) { /* a record that claims more than a window: its header lies, and no other
                              is believed */
            rc = add_damage(s, off, s->table != NULL && i < s->table_count ? s->table[i].w : NULL,
                            "the stored chunk is damaged");
            off += FOLD_SEG_ALIGN;
            i++;
        }
        if (rc == 0)
            rc = fill_window(s, off, end);
        last = off;
        if (rc == 0)
            rc = check_window(s, &i, &off, end);
        fold_gate_leave(s->gate, token);
        if (s->opt->progress != NULL)
            s->opt->progress(s->opt->arg, FOLD_MIN(s->done_bytes + off, s->total_bytes),
                             s->total_bytes);
        if (rc == 0)
            rc = pace(s);
    }
    if (rc == -EIO || rc == -ENODATA) {
        int added = atomic_load(&s->seg->state) == FOLD_SEG_GONE
                        ? 0
                        : add_damage(s, off, NULL, "the segment cannot be read from here on");
        rc = added;
    }
    return rc;
}

static int scrub_segment(struct scrub *s)
{
    char name[FOLD_SEG_NAME_BYTES];
    uint32_t number = s->seg->ident.seg;
    fold_seg_name(number, name);
    s->direct = fold_io_open(s->store->dirfd, name, O_RDONLY | O_DIRECT, 0);
    s->buffered = fold_io_open(s->store->dirfd, name, O_RDONLY, 0);
    int rc = s->buffered;
    if (rc >= 0) {
        s->table = NULL;
        if (fold_reader_table(s->store->reader, number, &s->table, &s->table_count) < 0)
            s->table = NULL;
        rc = read_segment(s);
        free(s->table);
    } else if (rc == -ENOENT) {
        rc = atomic_load(&s->seg->state) == FOLD_SEG_GONE
                 ? 0
                 : add_damage(s, 0, NULL, "the segment file is missing");
    }
    if (s->direct >= 0)
        (void)close(s->direct);
    if (s->buffered >= 0)
        (void)close(s->buffered);
    s->r->segments++;
    s->done_bytes += atomic_load(&s->seg->file_bytes);
    return rc;
}

/* Reads one segment and remembers whether it is damaged; without room for that the run goes on
 * here. */
static int scrub_one(struct scrub *s, uint32_t n, bool *stays)
{
    uint64_t before = s->r->count + s->r->not_listed;
    int rc = scrub_segment(s);
    bool bad = s->r->count + s->r->not_listed > before;
    if (rc == 0 && !fold_scrub_place_mark(&s->place, n, bad))
        *stays = true;
    return rc;
}

static int scrub_all(struct scrub *s)
{
    uint32_t last = fold_segset_last(s->store->set), first = s->r->resumed_at;
    bool stays = false;
    int rc = 0;
    for (uint32_t n = 1; rc == 0 && n != 0 && n <= last; n++) {
        s->seg = fold_segset_get(s->store->set, n);
        uint8_t state = s->seg != NULL ? atomic_load(&s->seg->state) : FOLD_SEG_GONE;
        if (state != FOLD_SEG_OPEN && state != FOLD_SEG_SEALED)
            continue;
        if (n < first && !fold_scrub_place_bad(&s->place, n)) {
            s->done_bytes += atomic_load(&s->seg->file_bytes);
            continue;
        }
        if (n >= first && !stays) {
            s->place.seg = n;
            keep_place(s);
        }
        rc = scrub_one(s, n, &stays);
    }
    if (rc == 0) {
        s->place.seg = 0;
        keep_place(s);
    }
    return rc;
}

int fold_scrub_run(struct fold_store *store, struct fold_catalog *catalog, struct fold_gate *gate,
                   int storefd, const struct fold_scrub_options *opt, struct fold_scrub_result *out)
{
    *out = (struct fold_scrub_result){0};
    struct scrub s = {.store = store,
                      .gate = gate,
                      .opt = opt,
                      .r = out,
                      .storefd = storefd,
                      .start_ms = fold_clock_ms()};
    struct fold_segset_totals totals;
    fold_segset_totals(store->set, &totals);
    s.total_bytes = totals.file_bytes;
    if (opt->restart || fold_scrub_place_load(storefd, &s.place) < 0)
        s.place = (struct fold_scrub_place){0};
    out->resumed_at = s.place.seg;
    s.window = aligned_alloc(BLOCK, WINDOW);
    s.raw = malloc(FOLD_CHUNK_MAX_BYTES);
    int rc = s.window != NULL && s.raw != NULL ? scrub_all(&s) : -ENOMEM;
    fold_scrub_place_fini(&s.place);
    free(s.window);
    free(s.raw);
    if (out->count > 0 && rc != -ENOMEM) {
        int named = fold_scrub_name_files(store, catalog, out);
        rc = rc < 0 ? rc : named;
    }
    return rc;
}

void fold_scrub_free(struct fold_scrub_result *r)
{
    for (size_t i = 0; i < r->count; i++) {
        for (size_t f = 0; f < r->damage[i].file_count && r->damage[i].files != NULL; f++)
            free(r->damage[i].files[f]);
        free(r->damage[i].files);
        free(r->damage[i].inos);
    }
    free(r->damage);
    *r = (struct fold_scrub_result){0};
}
