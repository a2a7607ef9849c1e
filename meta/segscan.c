/* SPDX-License-Identifier: MIT */
/*
 * The walk goes from header to header. At a place without a valid header it searches on in steps of
 * the alignment: a header's checksum covers the segment's random salt and the offset, so chunk
 * contents cannot pass for one. Torn and rotten bytes look alike. Each record says how much of the
 * segment was durable when it was written: damage below the highest such claim is rot, and does not
 * end the whole part; damage above it may be a torn tail. What the disk refuses to read is not
 * torn: it was written once, and costs its own records only.
 */
#include "meta/segscan.h"

#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/guard.h"
#include "meta/base/io.h"
#include "meta/base/log.h"
#include "meta/segmap.h"

#include <errno.h>

#define PAGE_BYTES 4096u

struct walk {
    const struct fold_seg_ident *id;
    const uint8_t *base;
    uint32_t size;
    uint32_t at;
    uint32_t synced;      /* highest claim of a whole record */
    uint32_t last_end;    /* end of the last whole record */
    uint32_t whole_count; /* entries up to the last whole record */
    struct fold_segment_content out;
    size_t entry_cap;
    bool unreadable;  /* the disk refused some place */
    uint32_t *damage; /* offsets, rising */
    uint32_t damage_count;
    size_t damage_cap;
};

int fold_segscan_footer(int fd, uint32_t seg, struct fold_seg_ident *id,
                        struct fold_seg_summary *sum)
{
    uint8_t header[FOLD_SEG_HEADER_BYTES];
    uint8_t tail[FOLD_SEG_FOOTER_BYTES];
    struct fold_seg_footer footer;
    struct fold_seg_ident who;
    struct stat st;
    int rc = fold_io_fstat(fd, &st);
    if (rc < 0)
        return rc;
    uint64_t size = (uint64_t)st.st_size;
    if (size < sizeof header || size > FOLD_SEG_MAX_BYTES)
        return -FOLD_E_BAD_SEGMENT;
    int head = fold_io_pread(fd, header, sizeof header, 0);
    rc = fold_io_pread(fd, tail, sizeof tail, size - sizeof tail);
    if (rc < 0 || fold_seg_footer_decode(tail, seg, size, &who, &footer) < 0) {
        rc = head < 0 ? head : fold_seg_header_decode(header, seg, id);
        return rc < 0 ? rc : 1;
    }
    *id = who;
    *sum = (struct fold_seg_summary){
        .ident = who,
        .file_bytes = (uint32_t)size,
        .data_end = footer.data_end,
        .whole_end = footer.whole_end,
        .count = footer.count,
        .raw_bytes = footer.raw_bytes,
        .stored_bytes = footer.stored_bytes,
    };
    return 0;
}

int fold_segscan_unbegun(int fd)
{
    uint8_t header[FOLD_SEG_HEADER_BYTES];
    int rc = fold_io_pread(fd, header, sizeof header, 0);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof header; i++)
        if (header[i] != 0)
            return 0;
    return 1;
}

/* Checks table and footer bytes of `len` that lie from data_end to the end of a sealed file. */
static int decode_tail(const uint8_t *tail, size_t len, uint32_t seg, uint64_t file_bytes,
                       struct fold_seg_entry **out, uint32_t *count)
{
    struct fold_seg_footer footer;
    struct fold_seg_ident id;
    int rc =
        fold_seg_footer_decode(tail + len - FOLD_SEG_FOOTER_BYTES, seg, file_bytes, &id, &footer);
    if (rc < 0)
        return rc;
    if (footer.data_end != file_bytes - len)
        return -FOLD_E_BAD_SEGMENT;
    struct fold_seg_entry *entries = malloc(((size_t)footer.count + 1) * sizeof *entries);
    if (entries == NULL)
        return -ENOMEM;
    rc = fold_seg_table_decode(tail, &footer, entries);
    if (rc < 0) {
        free(entries);
        return rc;
    }
    *out = entries;
    *count = footer.count;
    return 0;
}

int fold_segscan_table(int fd, const struct fold_seg_summary *sum, struct fold_seg_entry **out)
{
    size_t len = sum->file_bytes - sum->data_end;
    uint32_t count;
    FOLD_AUTO(free) uint8_t *tail = malloc(len);
    if (tail == NULL)
        return -ENOMEM;
    int rc = fold_io_pread(fd, tail, len, sum->data_end);
    if (rc < 0)
        return rc == -ENODATA ? -FOLD_E_BAD_SEGMENT : rc;
    return decode_tail(tail, len, sum->ident.seg, sum->file_bytes, out, &count);
}

int fold_segscan_mapped_table(const struct fold_map *map, const struct fold_seg *seg,
                              struct fold_seg_entry **out, uint32_t *count)
{
    uint32_t data_end = atomic_load(&seg->data_end);
    uint32_t file_bytes = atomic_load(&seg->file_bytes);
    if (file_bytes > map->len || file_bytes < data_end + FOLD_SEG_FOOTER_BYTES)
        return -FOLD_E_BAD_SEGMENT;
    size_t len = file_bytes - data_end;
    FOLD_AUTO(free) uint8_t *tail = malloc(len);
    if (tail == NULL)
        return -ENOMEM;
    int rc = fold_guard_copy(tail, map->base + data_end, len);
    return rc < 0 ? rc : decode_tail(tail, len, seg->ident.seg, file_bytes, out, count);
}

/* The header at `off`, if there is a valid one. 1, 0, or -EIO. */
static int header_at(const struct walk *w, uint32_t off, struct fold_rec *rec)
{
    uint8_t head[FOLD_REC_MAX_HEADER];
    uint32_t len = fold_rec_header_bytes(w->id->fp_width);
    if (w->size < len || off > w->size - len)
        return 0;
    int rc = fold_guard_copy(head, w->base + off, len);
    if (rc < 0)
        return rc;
    return fold_rec_decode(w->id, off, w->size, head, rec) == 0;
}

static int payload_crc_at(const struct walk *w, uint32_t off, const struct fold_rec *rec,
                          uint32_t *crc)
{
    const uint8_t *payload = w->base + off + fold_rec_header_bytes(w->id->fp_width);
    return fold_rec_payload_read(payload, rec->stored_len, crc);
}

/* The first multiple of the alignment in [from, size), of one page, whose bytes look like a record;
 * `size` if there is none. */
static __attribute__((noinline)) uint32_t search_magic(const uint8_t *base, uint32_t from,
                                                       uint32_t size)
{
    for (uint64_t at = from; at + FOLD_SEG_ALIGN <= size; at += FOLD_SEG_ALIGN)
        if (fold_rec_magic(base + at))
            return (uint32_t)at;
    return size;
}

static int magic_in(const struct walk *w, uint32_t from, uint32_t to, uint32_t *found)
{
    int rc;
    FOLD_GUARDED(rc, *found = search_magic(w->base, from, to));
    return rc;
}

/* The same in the whole file, over pages that cannot be read. */
static uint32_t next_magic(struct walk *w, uint32_t from)
{
    while (from < w->size) {
        uint32_t end = FOLD_MIN((from | (PAGE_BYTES - 1)) + 1, w->size);
        uint32_t found = end;
        if (magic_in(w, from, end, &found) < 0)
            w->unreadable = true;
        else if (found < end)
            return found;
        from = end;
    }
    return w->size;
}

static int note_damage(struct walk *w, uint32_t off)
{
    int rc = FOLD_GROW(w->damage, w->damage_cap, (size_t)w->damage_count + 1, 64);
    if (rc == 0)
        w->damage[w->damage_count++] = off;
    return rc;
}

/* Takes the record at w->at in and steps over it. */
static int take_record(struct walk *w, const struct fold_rec *rec)
{
    uint32_t crc = 0;
    bool readable = payload_crc_at(w, w->at, rec, &crc) == 0;
    bool whole = readable && crc == rec->payload_crc;
    int rc = FOLD_GROW(w->out.entries, w->entry_cap, (size_t)w->out.count + 1, 64);
    if (rc == 0 && readable && !whole)
        rc = note_damage(w, w->at);
    if (rc < 0)
        return rc;
    w->out.entries[w->out.count++] =
        (struct fold_seg_entry){{rec->fp.w[0], rec->fp.w[1]}, w->at, rec->raw_len};
    uint32_t bytes = fold_rec_bytes(w->id->fp_width, rec->stored_len);
    w->at += bytes;
    w->unreadable = w->unreadable || !readable;
    if (whole)
        w->synced = FOLD_MAX(w->synced, FOLD_MIN(rec->synced, w->at - bytes));
    if (whole || !readable) {
        w->last_end = w->at;
        w->whole_count = w->out.count;
    }
    return 0;
}

/* Whether there is a header at `off`; a place that cannot be read has none. */
static bool has_header(struct walk *w, uint32_t off, struct fold_rec *rec, bool *readable)
{
    int rc = header_at(w, off, rec);
    *readable = rc >= 0;
    w->unreadable = w->unreadable || rc < 0;
    return rc > 0;
}

static int walk_all(struct walk *w)
{
    while (w->at < w->size) {
        struct fold_rec rec;
        bool readable;
        int rc = 0;
        if (has_header(w, w->at, &rec, &readable)) {
            rc = take_record(w, &rec);
        } else {
            if (readable)
                rc = note_damage(w, w->at);
            do
                w->at = next_magic(w, w->at + FOLD_SEG_ALIGN);
            while (w->at < w->size && !has_header(w, w->at, &rec, &readable));
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Cuts what follows the last whole record and works out the sums. */
static void finish(struct walk *w, bool *clean)
{
    struct fold_segment_content *out = &w->out;
    *clean = w->damage_count == 0 && !w->unreadable && w->last_end == w->size;
    out->count = w->whole_count;
    out->data_end = w->last_end;
    out->whole_end = w->last_end;
    out->synced = w->synced;
    for (uint32_t i = w->damage_count; i > 0; i--)
        if (w->damage[i - 1] >= w->synced && w->damage[i - 1] < out->whole_end)
            out->whole_end = w->damage[i - 1];
    for (uint32_t i = 0; i < out->count; i++) {
        struct fold_rec rec;
        int rc = header_at(w, out->entries[i].off, &rec);
        out->raw_bytes += out->entries[i].raw_len;
        out->stored_bytes += rc > 0 ? fold_rec_bytes(w->id->fp_width, rec.stored_len) : 0;
    }
}

int fold_segscan_records(int fd, const struct fold_seg_ident *id,
                         struct fold_segment_content *content, bool *clean)
{
    struct stat st;
    void *base;
    int rc = fold_io_fstat(fd, &st);
    if (rc < 0)
        return rc;
    if (st.st_size < (off_t)FOLD_SEG_HEADER_BYTES || st.st_size > (off_t)FOLD_SEG_MAX_BYTES)
        return -FOLD_E_BAD_SEGMENT;
    rc = fold_io_map(fd, (size_t)st.st_size, &base);
    if (rc < 0)
        return rc;
    struct walk w = {
        .id = id,
        .base = base,
        .size = (uint32_t)st.st_size,
        .at = FOLD_SEG_HEADER_BYTES,
        .last_end = FOLD_SEG_HEADER_BYTES,
    };
    rc = walk_all(&w);
    if (rc == 0)
        finish(&w, clean);
    fold_io_unmap(base, (size_t)st.st_size);
    free(w.damage);
    if (rc < 0) {
        fold_error("segment %08x: cannot be read: %s", id->seg, fold_err_text(rc));
        free(w.out.entries);
        return rc;
    }
    *content = w.out;
    return 0;
}
