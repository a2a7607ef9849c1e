/* SPDX-License-Identifier: MIT */
/*
 * Encoding of segment headers, tables, footers and summaries. Every structure ends in a CRC-32C of
 * all bytes before it; decoding checks it first, then that the values fit one another, so that
 * callers may trust offsets and counts.
 */
#include "meta/segfmt.h"

#include "meta/base/crc.h"
#include "meta/base/err.h"
#include "meta/record.h"

#include <assert.h>
#include <stdio.h>

#define HEADER_MAGIC UINT64_C(0x31474553444c4f46) /* "FOLDSEG1" */
#define FOOTER_MAGIC UINT64_C(0x31444e45444c4f46) /* "FOLDEND1" */
#define VERSION      1u
#define HEADER_COPY  64u
#define SECOND_COPY  2048u

static uint32_t crc_of(const void *data, size_t len)
{
    return fold_kernels()->crc32c(0, data, len);
}

static bool ident_sane(const struct fold_seg_ident *id)
{
    return (id->fp_width == 16 || id->fp_width == 32) && id->seg != 0 &&
           id->capacity >= FOLD_SEG_MIN_BYTES && id->capacity <= FOLD_SEG_MAX_BYTES;
}

/* What header and footer begin with. */
static void put_ident(struct fold_wr *w, uint64_t magic, const struct fold_seg_ident *id)
{
    fold_wr_u64(w, magic);
    fold_wr_u16(w, VERSION);
    fold_wr_u8(w, id->fp_width);
    fold_wr_u8(w, 0);
    fold_wr_u32(w, id->seg);
    fold_wr_u64(w, id->salt);
    fold_wr_u32(w, id->capacity);
}

/* False if the bytes are no such beginning of segment `seg`. */
static bool get_ident(struct fold_rd *r, uint64_t magic, uint32_t seg, struct fold_seg_ident *id)
{
    bool known = fold_rd_u64(r) == magic && fold_rd_u16(r) == VERSION;
    id->fp_width = fold_rd_u8(r);
    known = fold_rd_u8(r) == 0 && known;
    id->seg = fold_rd_u32(r);
    id->salt = fold_rd_u64(r);
    id->capacity = fold_rd_u32(r);
    return known && !r->bad && id->seg == seg && ident_sane(id);
}

void fold_seg_file_name(uint32_t seg, const char *suffix, char name[FOLD_SEG_NAME_BYTES])
{
    (void)snprintf(name, FOLD_SEG_NAME_BYTES, "%08x%.4s", seg, suffix);
}

uint32_t fold_seg_file_parse(const char *name, const char *suffix)
{
    char expect[FOLD_SEG_NAME_BYTES];
    char *end;
    if (strlen(name) != 12)
        return 0;
    unsigned long seg = strtoul(name, &end, 16);
    if (end != name + 8 || seg > UINT32_MAX)
        return 0;
    fold_seg_file_name((uint32_t)seg, suffix, expect);
    return strcmp(name, expect) == 0 ? (uint32_t)seg : 0;
}

void fold_seg_name(uint32_t seg, char name[FOLD_SEG_NAME_BYTES])
{
    fold_seg_file_name(seg, ".seg", name);
}

uint32_t fold_seg_name_parse(const char *name)
{
    return fold_seg_file_parse(name, ".seg");
}

void fold_seg_header_encode(const struct fold_seg_ident *id, uint8_t out[FOLD_SEG_HEADER_BYTES])
{
    memset(out, 0, FOLD_SEG_HEADER_BYTES);
    struct fold_wr w = fold_wr_init(out, HEADER_COPY);
    put_ident(&w, HEADER_MAGIC, id);
    w.p = out + HEADER_COPY - FOLD_CRC_BYTES;
    fold_crc_put(&w);
    assert(!w.bad);
    memcpy(out + SECOND_COPY, out, HEADER_COPY);
}

static int header_copy_decode(const uint8_t *in, uint32_t seg, struct fold_seg_ident *out)
{
    if (!fold_crc_holds(in, HEADER_COPY))
        return -FOLD_E_BAD_SEGMENT;
    struct fold_rd r = fold_rd_init(in, HEADER_COPY);
    struct fold_seg_ident id;
    if (!get_ident(&r, HEADER_MAGIC, seg, &id))
        return -FOLD_E_BAD_SEGMENT;
    *out = id;
    return 0;
}

int fold_seg_header_decode(const uint8_t in[FOLD_SEG_HEADER_BYTES], uint32_t seg,
                           struct fold_seg_ident *out)
{
    int rc = header_copy_decode(in, seg, out);
    return rc == 0 ? 0 : header_copy_decode(in + SECOND_COPY, seg, out);
}

void fold_seg_tail_encode(const struct fold_seg_ident *id, struct fold_seg_footer *footer,
                          const struct fold_seg_entry *entries, uint8_t *out)
{
    size_t table_bytes = (size_t)footer->count * FOLD_SEG_ENTRY_BYTES;
    struct fold_wr t = fold_wr_init(out, table_bytes);
    for (uint32_t i = 0; i < footer->count; i++) {
        fold_wr_u64(&t, entries[i].w[0]);
        fold_wr_u64(&t, entries[i].w[1]);
        fold_wr_u32(&t, entries[i].off);
        fold_wr_u32(&t, entries[i].raw_len);
    }
    footer->table_crc = crc_of(out, table_bytes);
    struct fold_wr w = fold_wr_init(out + table_bytes, FOLD_SEG_FOOTER_BYTES);
    put_ident(&w, FOOTER_MAGIC, id);
    fold_wr_u32(&w, footer->data_end);
    fold_wr_u32(&w, footer->count);
    fold_wr_u32(&w, footer->table_crc);
    fold_wr_u64(&w, footer->raw_bytes);
    fold_wr_u64(&w, footer->stored_bytes);
    fold_wr_u32(&w, footer->whole_end);
    fold_crc_put(&w);
    assert(!t.bad && !w.bad && w.p == w.end);
}

static bool footer_sane(const struct fold_seg_footer *f, uint64_t file_bytes)
{
    return f->data_end >= FOLD_SEG_HEADER_BYTES && f->data_end % FOLD_SEG_ALIGN == 0 &&
           fold_seg_sealed_bytes(f->data_end, f->count) == file_bytes &&
           f->whole_end <= f->data_end && f->stored_bytes <= f->data_end - FOLD_SEG_HEADER_BYTES;
}

int fold_seg_footer_decode(const uint8_t in[FOLD_SEG_FOOTER_BYTES], uint32_t seg,
                           uint64_t file_bytes, struct fold_seg_ident *id,
                           struct fold_seg_footer *out)
{
    if (!fold_crc_holds(in, FOLD_SEG_FOOTER_BYTES))
        return -FOLD_E_BAD_SEGMENT;
    struct fold_rd r = fold_rd_init(in, FOLD_SEG_FOOTER_BYTES);
    struct fold_seg_ident who;
    struct fold_seg_footer f;
    bool known = get_ident(&r, FOOTER_MAGIC, seg, &who);
    f.data_end = fold_rd_u32(&r);
    f.count = fold_rd_u32(&r);
    f.table_crc = fold_rd_u32(&r);
    f.raw_bytes = fold_rd_u64(&r);
    f.stored_bytes = fold_rd_u64(&r);
    f.whole_end = fold_rd_u32(&r);
    if (r.bad || !known || !footer_sane(&f, file_bytes))
        return -FOLD_E_BAD_SEGMENT;
    *id = who;
    *out = f;
    return 0;
}

int fold_seg_table_decode(const uint8_t *in, const struct fold_seg_footer *footer,
                          struct fold_seg_entry *out)
{
    size_t len = (size_t)footer->count * FOLD_SEG_ENTRY_BYTES;
    if (crc_of(in, len) != footer->table_crc)
        return -FOLD_E_BAD_SEGMENT;
    struct fold_rd r = fold_rd_init(in, len);
    uint32_t floor = FOLD_SEG_HEADER_BYTES;
    for (uint32_t i = 0; i < footer->count; i++) {
        struct fold_seg_entry *e = &out[i];
        e->w[0] = fold_rd_u64(&r);
        e->w[1] = fold_rd_u64(&r);
        e->off = fold_rd_u32(&r);
        e->raw_len = fold_rd_u32(&r);
        if (e->off < floor || e->off >= footer->data_end || e->off % FOLD_SEG_ALIGN != 0 ||
            e->raw_len == 0 || e->raw_len > FOLD_CHUNK_MAX_BYTES)
            return -FOLD_E_BAD_SEGMENT;
        floor = e->off + FOLD_SEG_ALIGN;
    }
    return fold_rd_done(&r) ? 0 : -FOLD_E_BAD_SEGMENT;
}

void fold_seg_summary_encode(const struct fold_seg_summary *s, uint8_t out[FOLD_SEG_SUMMARY_BYTES])
{
    struct fold_wr w = fold_wr_init(out, FOLD_SEG_SUMMARY_BYTES);
    fold_wr_u8(&w, VERSION);
    fold_wr_u8(&w, s->ident.fp_width);
    fold_wr_u16(&w, 0);
    fold_wr_u32(&w, s->ident.seg);
    fold_wr_u64(&w, s->ident.salt);
    fold_wr_u32(&w, s->ident.capacity);
    fold_wr_u32(&w, s->file_bytes);
    fold_wr_u32(&w, s->data_end);
    fold_wr_u32(&w, s->whole_end);
    fold_wr_u32(&w, s->count);
    fold_wr_u64(&w, s->raw_bytes);
    fold_wr_u64(&w, s->stored_bytes);
    fold_wr_u32(&w, 0);
    fold_crc_put(&w);
    assert(!w.bad && w.p == w.end);
}

int fold_seg_summary_decode(const uint8_t *in, size_t len, struct fold_seg_summary *out)
{
    if (len != FOLD_SEG_SUMMARY_BYTES || !fold_crc_holds(in, len))
        return -FOLD_E_BAD_SEGMENT;
    struct fold_rd r = fold_rd_init(in, len);
    struct fold_seg_summary s;
    bool known = fold_rd_u8(&r) == VERSION;
    s.ident.fp_width = fold_rd_u8(&r);
    (void)fold_rd_u16(&r);
    s.ident.seg = fold_rd_u32(&r);
    s.ident.salt = fold_rd_u64(&r);
    s.ident.capacity = fold_rd_u32(&r);
    s.file_bytes = fold_rd_u32(&r);
    s.data_end = fold_rd_u32(&r);
    s.whole_end = fold_rd_u32(&r);
    s.count = fold_rd_u32(&r);
    s.raw_bytes = fold_rd_u64(&r);
    s.stored_bytes = fold_rd_u64(&r);
    (void)fold_rd_u32(&r);
    if (r.bad || !known || !ident_sane(&s.ident) ||
        fold_seg_sealed_bytes(s.data_end, s.count) != s.file_bytes)
        return -FOLD_E_BAD_SEGMENT;
    *out = s;
    return 0;
}
