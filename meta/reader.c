/* SPDX-License-Identifier: MIT */
/*
 * Headers are copied out of the mapping before they are checked, payloads are checked in place;
 * every access to a mapping is guarded. `verified` remembers, lossily, which payloads were
 * checked within the last minute: nothing tells when pages leave memory and are read from the disk
 * anew, perhaps with other bytes, so an older check proves nothing; `reported` which damage was
 * already logged. Both are arrays of words without locks.
 */
#include "meta/readerparts.h"

#include "asm/kernels.h"
#include "meta/base/clock.h"
#include "meta/base/err.h"
#include "meta/base/guard.h"
#include "meta/base/log.h"
#include "meta/codec.h"
#include "meta/gaps.h"
#include "meta/segscan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#define VERIFIED_BITS  20u
#define BELIEVED_SHIFT 16 /* of milliseconds: about a minute */
#define REPORTED       256u

struct fold_reader {
    struct fold_segset *set;
    struct fold_segmap *map;
    struct fold_forward *forward;
    enum fold_verify verify;
    _Atomic uint64_t damaged;
    _Atomic uint64_t reported[REPORTED];
    _Atomic uint64_t logged[REPORTED];
    _Atomic uint64_t *verified;
    _Atomic uint64_t distrusts;
};

int fold_reader_create(struct fold_segset *set, struct fold_segmap *map,
                       struct fold_forward *forward, enum fold_verify verify,
                       struct fold_reader **out)
{
    struct fold_reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return -ENOMEM;
    r->verified = calloc((size_t)1 << VERIFIED_BITS, sizeof *r->verified);
    if (r->verified == NULL) {
        free(r);
        return -ENOMEM;
    }
    r->set = set;
    r->map = map;
    r->forward = forward;
    r->verify = verify;
    fold_guard_install();
    *out = r;
    return 0;
}

void fold_reader_destroy(struct fold_reader *r)
{
    if (r == NULL)
        return;
    free(r->verified);
    free(r);
}

static uint64_t word_of(struct fold_loc loc)
{
    return (uint64_t)loc.seg << 32 | loc.off;
}

static _Atomic uint64_t *verified_cell(struct fold_reader *r, struct fold_loc loc)
{
    uint64_t hash = word_of(loc) * UINT64_C(0x9e3779b97f4a7c15);
    return &r->verified[hash >> (64 - VERIFIED_BITS)];
}

static __thread fold_ino reading;

void fold_reader_for(fold_ino ino)
{
    reading = ino;
}

/* What the table of its segment says about a record whose header cannot be believed. */
static bool table_fp(struct fold_reader *r, struct fold_loc loc, struct fold_fp *out)
{
    struct fold_seg_entry *entries;
    uint32_t count, i = 0;
    if (fold_reader_table(r, loc.seg, &entries, &count) < 0)
        return false;
    while (i < count && entries[i].off != loc.off)
        i++;
    if (i < count)
        *out = (struct fold_fp){{entries[i].w[0], entries[i].w[1], 0, 0}};
    free(entries);
    return i < count;
}

void fold_reader_count(struct fold_reader *r, struct fold_loc loc)
{
    uint64_t word = word_of(loc);
    atomic_store_explicit(verified_cell(r, loc), 0, memory_order_relaxed);
    if (atomic_exchange(&r->reported[(word >> 4) % REPORTED], word) != word)
        atomic_fetch_add(&r->damaged, 1);
}

int fold_reader_report(struct fold_reader *r, struct fold_loc loc, const struct fold_fp *fp,
                       int code)
{
    char name[40] = "unknown";
    char file[40] = "";
    struct fold_fp found;
    uint64_t word = word_of(loc);
    fold_reader_count(r, loc);
    word ^= reading * UINT64_C(0x9e3779b97f4a7c15);
    if (atomic_exchange(&r->logged[(word >> 4) % REPORTED], word) == word)
        return code;
    if (fp == NULL && table_fp(r, loc, &found))
        fp = &found;
    if (fp != NULL)
        (void)snprintf(name, sizeof name, "%016" PRIx64 "%016" PRIx64, fp->w[0], fp->w[1]);
    if (reading != 0)
        (void)snprintf(file, sizeof file, " in inode %" PRIu64, reading);
    fold_error("segment %08x offset %" PRIu32 " fingerprint %s%s: %s", loc.seg, loc.off, name, file,
               fold_err_text(code));
    return code;
}

uint64_t fold_reader_damaged(const struct fold_reader *r)
{
    return atomic_load(&r->damaged);
}

/* Reads and checks the header in a pinned mapping. */
static int read_header(struct fold_reader *r, const struct fold_seg *seg, uint32_t end,
                       struct fold_pinned *p)
{
    uint8_t head[FOLD_REC_MAX_HEADER];
    uint32_t len = fold_rec_header_bytes(seg->ident.fp_width);
    if (end > p->map->len || end - p->loc.off < len)
        return fold_reader_report(r, p->loc, NULL, -FOLD_E_BAD_RECORD);
    int rc = fold_guard_copy(head, p->map->base + p->loc.off, len);
    if (rc < 0)
        return fold_reader_report(r, p->loc, NULL, rc);
    rc = fold_rec_decode(&seg->ident, p->loc.off, end, head, &p->rec);
    if (rc < 0)
        return fold_reader_report(r, p->loc, NULL, rc);
    p->payload = p->map->base + p->loc.off + len;
    return 0;
}

int fold_reader_pin(struct fold_reader *r, struct fold_loc loc, struct fold_pinned *p)
{
    p->loc = fold_forward_resolve(r->forward, loc);
    const struct fold_seg *seg = fold_segset_get(r->set, p->loc.seg);
    if (seg == NULL || atomic_load(&seg->state) == FOLD_SEG_GONE)
        return fold_reader_report(r, p->loc, NULL, -FOLD_E_LOST_CHUNK);
    uint32_t end = atomic_load_explicit(&seg->data_end, memory_order_acquire);
    if (p->loc.off < FOLD_SEG_HEADER_BYTES || p->loc.off >= end)
        return fold_reader_report(r, p->loc, NULL, -FOLD_E_LOST_CHUNK);
    int rc = fold_segmap_pin(r->map, seg, &p->map);
    if (rc == -ENOENT)
        return fold_reader_report(r, p->loc, NULL, -FOLD_E_LOST_CHUNK);
    if (rc < 0)
        return rc == -EIO ? fold_reader_report(r, p->loc, NULL, rc) : rc;
    rc = read_header(r, seg, end, p);
    if (rc < 0)
        fold_segmap_unpin(r->map, p->map);
    return rc;
}

void fold_reader_unpin(struct fold_reader *r, struct fold_pinned *p)
{
    fold_segmap_unpin(r->map, p->map);
}

int fold_reader_check(struct fold_reader *r, const struct fold_pinned *p)
{
    uint32_t crc;
    int rc = fold_rec_payload_read(p->payload, p->rec.stored_len, &crc);
    if (rc < 0)
        return fold_reader_report(r, p->loc, &p->rec.fp, rc);
    if (crc != p->rec.payload_crc)
        return fold_reader_report(r, p->loc, &p->rec.fp, -FOLD_E_BAD_RECORD);
    return 0;
}

void fold_reader_distrust(struct fold_reader *r)
{
    atomic_fetch_add(&r->distrusts, 1);
}

/* What the cell of a chunk holds that was verified lately. */
static uint64_t verified_word(struct fold_reader *r, struct fold_loc loc)
{
    uint64_t age = (fold_clock_ms() >> BELIEVED_SHIFT) + atomic_load(&r->distrusts);
    return word_of(loc) ^ age * UINT64_C(0xd6e8feb86659fd93);
}

static int verify(struct fold_reader *r, const struct fold_pinned *p)
{
    if (r->verify == FOLD_VERIFY_NONE)
        return 0;
    _Atomic uint64_t *cell = verified_cell(r, p->loc);
    uint64_t word = verified_word(r, p->loc);
    if (r->verify == FOLD_VERIFY_FIRST && atomic_load_explicit(cell, memory_order_relaxed) == word)
        return 0;
    int rc = fold_reader_check(r, p);
    if (rc == 0)
        atomic_store_explicit(cell, word, memory_order_relaxed);
    return rc;
}

int fold_reader_view(struct fold_reader *r, struct fold_loc loc, struct fold_view *out)
{
    struct fold_pinned p;
    int rc = fold_reader_pin(r, loc, &p);
    if (rc < 0)
        return rc;
    rc = verify(r, &p);
    if (rc < 0) {
        fold_reader_unpin(r, &p);
        return rc;
    }
    *out = (struct fold_view){
        .payload = p.payload,
        .stored_len = p.rec.stored_len,
        .raw_len = p.rec.raw_len,
        .codec = p.rec.codec,
        .loc = p.loc,
        .fp = p.rec.fp,
        .pin = p.map,
    };
    return 0;
}

void fold_reader_unview(struct fold_reader *r, struct fold_view *v)
{
    if (v->pin == NULL)
        return;
    fold_segmap_unpin(r->map, v->pin);
    v->pin = NULL;
    v->payload = NULL;
}

void fold_reader_view_dup(struct fold_reader *r, const struct fold_view *v, struct fold_view *out)
{
    fold_segmap_again(r->map, v->pin);
    *out = *v;
}

int fold_reader_unpack(enum fold_codec codec, const uint8_t *src, size_t len, void *dst,
                       size_t raw_len)
{
    int rc;
    int decoded = 0;
    int *result = &decoded;
    FOLD_GUARDED(rc, *result = fold_codec_decompress(codec, src, len, dst, raw_len));
    return rc < 0 ? rc : decoded;
}

int fold_reader_decode(struct fold_reader *r, const struct fold_view *v, void *dst)
{
    int rc = fold_reader_unpack(v->codec, v->payload, v->stored_len, dst, v->raw_len);
    return rc < 0 && rc != -ENOMEM ? fold_reader_report(r, v->loc, &v->fp, rc) : rc;
}

int fold_reader_fp(struct fold_reader *r, struct fold_loc loc, struct fold_fp *out)
{
    struct fold_pinned p;
    int rc = fold_reader_pin(r, loc, &p);
    if (rc < 0)
        return rc;
    *out = p.rec.fp;
    fold_reader_unpin(r, &p);
    return 0;
}

int fold_reader_sizes(struct fold_reader *r, struct fold_loc loc, uint32_t *raw_len,
                      uint32_t *record_bytes)
{
    struct fold_pinned p;
    int rc = fold_reader_pin(r, loc, &p);
    if (rc < 0)
        return rc;
    uint8_t width = fold_segset_get(r->set, p.loc.seg)->ident.fp_width;
    *raw_len = p.rec.raw_len;
    *record_bytes = fold_rec_bytes(width, p.rec.stored_len);
    fold_reader_unpin(r, &p);
    return 0;
}

int fold_reader_table(struct fold_reader *r, uint32_t seg, struct fold_seg_entry **out,
                      uint32_t *count)
{
    const struct fold_seg *s = fold_segset_get(r->set, seg);
    struct fold_map *map;
    if (s == NULL || atomic_load_explicit(&s->state, memory_order_acquire) != FOLD_SEG_SEALED)
        return -FOLD_E_BAD_SEGMENT;
    int rc = fold_segmap_pin(r->map, s, &map);
    if (rc < 0)
        return rc;
    struct fold_gaps *gaps = NULL;
    if (atomic_load(&s->gap_bytes) > 0)
        rc = fold_gaps_load(fold_segmap_dirfd(r->map), seg, &gaps);
    if (rc == 0)
        rc = fold_segscan_mapped_table(map, s, out, count);
    if (rc == 0)
        fold_gaps_hide(gaps, *out, *count);
    free(gaps);
    fold_segmap_unpin(r->map, map);
    return rc;
}

void fold_reader_prefetch(struct fold_reader *r, struct fold_loc loc, uint32_t bytes)
{
    struct fold_map *map;
    loc = fold_forward_resolve(r->forward, loc);
    const struct fold_seg *seg = fold_segset_get(r->set, loc.seg);
    if (seg == NULL || atomic_load(&seg->state) == FOLD_SEG_GONE)
        return;
    uint64_t end = atomic_load_explicit(&seg->data_end, memory_order_acquire);
    if (loc.off >= end || fold_segmap_pin(r->map, seg, &map) < 0)
        return;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t from = loc.off & ~(page - 1);
    uint64_t to = FOLD_MIN(FOLD_MIN((uint64_t)loc.off + bytes, end), (uint64_t)map->len);
    if (to > from) {
        union {
            const uint8_t *in;
            void *out;
        } at = {.in = map->base + from};
        /* Populating also saves the reader a fault for each page; kernels before 5.14 know only the
         * milder form. */
        if (madvise(at.out, (size_t)(to - from), MADV_POPULATE_READ) != 0)
            (void)madvise(at.out, (size_t)(to - from), MADV_WILLNEED);
    }
    fold_segmap_unpin(r->map, map);
}
