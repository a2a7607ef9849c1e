/* SPDX-License-Identifier: MIT */
/*
 * Segment files by themselves: both copies of the header, footer, table, and every record against
 * the table. Mappings are read guarded: the file may sit on a failing disk.
 */
#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/guard.h"
#include "meta/base/io.h"
#include "meta/checkparts.h"
#include "meta/gaps.h"
#include "meta/record.h"
#include "meta/repair.h"
#include "meta/segscan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#define SECTOR_BYTES 512u

struct file {
    struct fold_check *k;
    struct fold_check_seg seg;
    int fd;
    uint64_t bytes;
    struct fold_seg_entry *entries;
    const uint8_t *base;
    uint32_t synced; /* of an open one: so much was durable once */
    struct fold_check_label name;
};

uint32_t fold_check_tag(const uint64_t w[2])
{
    return (uint32_t)((w[0] ^ w[1]) >> 17);
}

struct fold_check_seg *fold_check_seg(const struct fold_check *k, uint32_t seg)
{
    size_t low = 0, high = k->seg_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (k->segs[mid].ident.seg < seg)
            low = mid + 1;
        else
            high = mid;
    }
    return low < k->seg_count && k->segs[low].ident.seg == seg ? &k->segs[low] : NULL;
}

struct fold_check_rec *fold_check_rec(const struct fold_check *k, struct fold_loc loc)
{
    const struct fold_check_seg *s = fold_check_seg(k, loc.seg);
    size_t low = 0, high = s != NULL ? s->count : 0;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->recs[mid].off < loc.off)
            low = mid + 1;
        else
            high = mid;
    }
    return s != NULL && low < s->count && s->recs[low].off == loc.off ? &s->recs[low] : NULL;
}

static int by_number(const void *a, const void *b)
{
    const struct fold_check_seg *x = a;
    const struct fold_check_seg *y = b;
    return (x->ident.seg > y->ident.seg) - (x->ident.seg < y->ident.seg);
}

/* True if the record is as the table says. */
static bool whole(struct file *f, const struct fold_seg_entry *e, uint32_t limit)
{
    const struct fold_seg_ident *id = &f->seg.ident;
    uint8_t head[FOLD_REC_MAX_HEADER];
    uint32_t len = fold_rec_header_bytes(id->fp_width);
    struct fold_rec rec;
    if ((uint64_t)e->off + len > limit || e->off < FOLD_SEG_HEADER_BYTES ||
        fold_guard_copy(head, f->base + e->off, len) < 0 ||
        fold_rec_decode(id, e->off, limit, head, &rec) < 0 || rec.fp.w[0] != e->w[0] ||
        rec.fp.w[1] != e->w[1] || rec.raw_len != e->raw_len)
        return false;
    if (!f->k->opt->data)
        return true;
    uint32_t crc = 0;
    f->k->result->bytes_verified += rec.stored_len;
    return fold_rec_payload_read(f->base + e->off + len, rec.stored_len, &crc) == 0 &&
           crc == rec.payload_crc;
}

static int check_records(struct file *f)
{
    struct fold_check_seg *s = &f->seg;
    uint32_t limit = (uint32_t)(s->sealed ? s->sum.data_end : f->bytes);
    void *map = NULL;
    s->recs = malloc(((size_t)s->count + 1) * sizeof *s->recs);
    if (s->recs == NULL)
        return -ENOMEM;
    int rc = fold_io_map(f->fd, f->bytes, &map);
    if (rc < 0)
        return rc;
    f->base = map;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct fold_seg_entry *e = &f->entries[i];
        s->recs[i] =
            (struct fold_check_rec){e->off, e->raw_len & FOLD_REC_LEN_MASK, fold_check_tag(e->w)};
        if (!whole(f, e, limit)) {
            s->recs[i].raw_len |= FOLD_REC_DAMAGED;
            s->damaged++;
        }
    }
    fold_io_unmap(map, f->bytes);
    f->k->result->chunks += s->count;
    return 0;
}

/* A header that was never synced, as far as is known, and of which sectors are zero, not wrong. */
static bool header_torn(const struct file *f, const uint8_t *is, const uint8_t *should)
{
    static const uint8_t zeros[SECTOR_BYTES];
    if (f->seg.sealed || f->synced > 0)
        return false;
    for (size_t at = 0; at < FOLD_SEG_HEADER_BYTES; at += SECTOR_BYTES)
        if (memcmp(is + at, should + at, SECTOR_BYTES) != 0 &&
            memcmp(is + at, zeros, SECTOR_BYTES) != 0)
            return false;
    return true;
}

static void check_header(struct file *f)
{
    uint8_t is[FOLD_SEG_HEADER_BYTES];
    uint8_t should[FOLD_SEG_HEADER_BYTES];
    fold_seg_header_encode(&f->seg.ident, should);
    int rc = fold_io_pread(f->fd, is, sizeof is, 0);
    if (rc == 0 && memcmp(is, should, sizeof is) == 0)
        return;
    if (rc == 0 && header_torn(f, is, should)) {
        fold_check_found(f->k, "segment.torn", FOLD_SEVERITY_NOTE, false, f->name.text,
                         "it was just begun and has half of its header, as after a crash");
        return;
    }
    bool fixed = f->k->opt->repair && fold_repair_header(f->fd, &f->seg.ident) == 0;
    fold_check_found(f->k, "segment.header", FOLD_SEVERITY_ERROR, fixed, f->name.text,
                     "its header is damaged; a second copy of what it says is good");
}

static bool table_fits(const struct file *f)
{
    uint64_t raw = 0;
    for (uint32_t i = 0; i < f->seg.count; i++)
        raw += f->entries[i].raw_len;
    return raw == f->seg.sum.raw_bytes;
}

static int read_records(struct file *f, bool *clean)
{
    struct fold_segment_content content;
    int rc = fold_segscan_records(f->fd, &f->seg.ident, &content, clean);
    if (rc < 0)
        return rc;
    free(f->entries);
    f->entries = content.entries;
    f->seg.count = content.count;
    f->synced = content.synced;
    return 0;
}

static uint32_t without_gaps(struct fold_seg_entry *entries, uint32_t count,
                             const struct fold_gaps *gaps)
{
    uint32_t kept = 0;
    fold_gaps_hide(gaps, entries, count);
    for (uint32_t i = 0; i < count; i++)
        if (!fold_seg_entry_gone(&entries[i]))
            entries[kept++] = entries[i];
    return kept;
}

/* What was punched out of the segment on purpose is no damage. */
static int leave_out_gaps(struct file *f)
{
    struct fold_gaps *gaps = NULL;
    uint32_t seg = f->seg.ident.seg;
    int rc = fold_gaps_load(f->k->segfd, seg, &gaps);
    if (rc == -FOLD_E_BAD_SEGMENT) {
        bool fixed = f->k->opt->repair && fold_gaps_remove(f->k->segfd, seg) == 0;
        fold_check_found(f->k, "segment.gaps", FOLD_SEVERITY_ERROR, fixed, f->name.text,
                         "the list of what was punched out of it is damaged");
        return 0;
    }
    if (rc == 0)
        f->seg.count = without_gaps(f->entries, f->seg.count, gaps);
    free(gaps);
    return rc;
}

static int check_sealed(struct file *f)
{
    bool clean;
    struct fold_check_seg *s = &f->seg;
    s->sealed = true;
    int rc = fold_segscan_table(f->fd, &s->sum, &f->entries);
    if (rc == 0) {
        s->count = s->sum.count;
        if (table_fits(f))
            return leave_out_gaps(f);
    }
    if (rc < 0 && rc != -FOLD_E_BAD_SEGMENT)
        return rc;
    rc = read_records(f, &clean);
    if (rc < 0)
        return rc;
    bool fixed = f->k->opt->repair && fold_repair_unseal(f->fd, s->sum.data_end) == 0;
    f->k->index_broken |= fixed;
    fold_check_found(
        f->k, "segment.table", FOLD_SEVERITY_ERROR, fixed, f->name.text,
        "the table of its fingerprints is damaged; the records themselves have all it says");
    if (fixed) {
        s->sealed = false;
        f->bytes = s->sum.data_end;
    }
    return 0;
}

static int check_unsealed(struct file *f)
{
    bool clean;
    int rc = read_records(f, &clean);
    if (rc == 0 && !clean)
        fold_check_found(
            f->k, "segment.torn", FOLD_SEVERITY_NOTE, false, f->name.text,
            "it was open and ends in bytes that are no whole record, as after a crash");
    return rc;
}

static int keep(struct file *f)
{
    struct fold_check *k = f->k;
    if (FOLD_GROW(k->segs, k->seg_cap, k->seg_count + 1, 64) < 0)
        return -ENOMEM;
    k->segs[k->seg_count++] = f->seg;
    f->seg.recs = NULL;
    return 0;
}

static int check_opened(struct file *f, uint32_t seg)
{
    struct stat st;
    int rc = fold_io_fstat(f->fd, &st);
    if (rc < 0)
        return rc;
    f->bytes = (uint64_t)st.st_size;
    int kind = 0;
    bool empty = f->bytes <= FOLD_SEG_HEADER_BYTES;
    if (!empty)
        kind = fold_segscan_footer(f->fd, seg, &f->seg.ident, &f->seg.sum);
    if (empty || (kind == -FOLD_E_BAD_SEGMENT && fold_segscan_unbegun(f->fd) == 1)) {
        fold_check_found(f->k, "segment.empty", FOLD_SEVERITY_NOTE, false, f->name.text,
                         "it holds nothing, as after a crash; mounting removes or continues it");
        return 0;
    }
    if (kind == -FOLD_E_BAD_SEGMENT ||
        (kind >= 0 && f->seg.ident.fp_width != (f->k->params.hash == 1 ? 16 : 32))) {
        fold_check_found(f->k, "segment.unreadable", FOLD_SEVERITY_ERROR, false, f->name.text,
                         "neither header nor footer is whole; the chunks in it are lost");
        return 0;
    }
    rc = kind < 0 ? kind : kind == 0 ? check_sealed(f) : check_unsealed(f);
    if (rc < 0)
        return rc;
    check_header(f);
    rc = check_records(f);
    return rc < 0 ? rc : keep(f);
}

static int check_file(struct fold_check *k, const char *name, uint32_t seg)
{
    struct file f = {.k = k, .name = fold_label_seg(seg)};
    f.fd = fold_io_open(k->segfd, name, k->opt->repair ? O_RDWR : O_RDONLY, 0);
    if (f.fd < 0)
        return f.fd;
    int rc = check_opened(&f, seg);
    (void)close(f.fd);
    free(f.entries);
    free(f.seg.recs);
    if (rc < 0 && rc != -ENOMEM) {
        fold_check_found(k, "segment.io", FOLD_SEVERITY_ERROR, false, f.name.text,
                         "it cannot be read: %s", fold_err_text(rc));
        rc = 0;
    }
    return rc;
}

struct names {
    uint32_t *seg;
    size_t count, cap;
};

static int note_name(void *arg, const char *name)
{
    struct names *n = arg;
    uint32_t seg = fold_seg_name_parse(name);
    if (seg == 0)
        return 0;
    if (FOLD_GROW(n->seg, n->cap, n->count + 1, 256) < 0)
        return -ENOMEM;
    n->seg[n->count++] = seg;
    return 0;
}

int fold_check_segments(struct fold_check *k)
{
    struct names n = {0};
    FOLD_AUTO(close) int fd = fold_check_open_segments(k);
    if (fd < 0)
        return fd;
    k->segfd = fd;
    int rc = fold_io_list(fd, note_name, &n);
    for (size_t i = 0; rc == 0 && i < n.count; i++) {
        char name[FOLD_SEG_NAME_BYTES];
        fold_seg_name(n.seg[i], name);
        fold_check_tell(k, "segments", i, n.count);
        rc = check_file(k, name, n.seg[i]);
    }
    fold_check_tell(k, "segments", n.count, n.count);
    k->segfd = -1;
    free(n.seg);
    k->result->segments = k->seg_count;
    if (rc == 0 && k->seg_count > 1)
        qsort(k->segs, k->seg_count, sizeof *k->segs, by_number);
    return rc;
}

int fold_check_entries(struct fold_check *k, const struct fold_check_seg *s,
                       struct fold_seg_entry **out, uint32_t *count)
{
    char name[FOLD_SEG_NAME_BYTES];
    struct fold_seg_ident id;
    struct fold_seg_summary sum;
    FOLD_AUTO(close) int dir = fold_check_open_segments(k);
    if (dir < 0)
        return dir;
    fold_seg_name(s->ident.seg, name);
    FOLD_AUTO(close) int fd = fold_io_open(dir, name, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    int kind = fold_segscan_footer(fd, s->ident.seg, &id, &sum);
    if (kind == 0) {
        struct fold_gaps *gaps = NULL;
        int rc = fold_gaps_load(dir, s->ident.seg, &gaps);
        if (rc == 0 || rc == -FOLD_E_BAD_SEGMENT)
            rc = fold_segscan_table(fd, &sum, out);
        if (rc == 0)
            *count = without_gaps(*out, sum.count, gaps);
        free(gaps);
        if (rc != -FOLD_E_BAD_SEGMENT)
            return rc;
    }
    struct fold_segment_content content;
    bool clean;
    int rc = fold_segscan_records(fd, &s->ident, &content, &clean);
    if (rc == 0) {
        *out = content.entries;
        *count = content.count;
    }
    return rc;
}
