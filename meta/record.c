/* SPDX-License-Identifier: MIT */
/*
 * Record headers. Layout in docs/FORMAT.md; the checksum is taken over the header bytes before it,
 * then over salt, segment and offset, which are not stored again.
 */
#include "meta/record.h"

#include "asm/kernels.h"
#include "meta/base/bytes.h"
#include "meta/base/err.h"
#include "meta/base/guard.h"
#include "meta/store.h"

#include <assert.h>

#define MAGIC     0x4b484346u /* "FCHK" */
#define CRC_BYTES 4u

static uint32_t header_crc(const struct fold_seg_ident *id, uint32_t off, const uint8_t *header,
                           size_t len)
{
    uint8_t place[16];
    struct fold_wr w = fold_wr_init(place, sizeof place);
    fold_wr_u64(&w, id->salt);
    fold_wr_u32(&w, id->seg);
    fold_wr_u32(&w, off);
    uint32_t crc = fold_kernels()->crc32c(0, header, len);
    return fold_kernels()->crc32c(crc, place, sizeof place);
}

void fold_rec_encode(const struct fold_seg_ident *id, uint32_t off, const struct fold_rec *rec,
                     uint8_t *out)
{
    uint32_t len = fold_rec_header_bytes(id->fp_width);
    struct fold_wr w = fold_wr_init(out, len);
    fold_wr_u32(&w, MAGIC);
    fold_wr_u8(&w, rec->codec);
    fold_wr_u8(&w, 0);
    fold_wr_u16(&w, 0);
    fold_wr_u32(&w, rec->dict);
    fold_wr_u32(&w, rec->raw_len);
    fold_wr_u32(&w, rec->stored_len);
    fold_wr_u32(&w, rec->synced);
    fold_wr_u32(&w, rec->payload_crc);
    for (unsigned i = 0; i < id->fp_width / 8u; i++)
        fold_wr_u64(&w, rec->fp.w[i]);
    fold_wr_u32(&w, header_crc(id, off, out, len - CRC_BYTES));
    assert(!w.bad && w.p == w.end);
}

static bool rec_sane(const struct fold_seg_ident *id, uint32_t off, uint32_t end,
                     const struct fold_rec *rec)
{
    if (rec->raw_len == 0 || rec->raw_len > FOLD_CHUNK_MAX_BYTES || rec->stored_len == 0 ||
        rec->stored_len > rec->raw_len || rec->codec > FOLD_CODEC_ZSTD)
        return false;
    if (rec->codec == FOLD_CODEC_NONE && rec->stored_len != rec->raw_len)
        return false;
    return fold_rec_bytes(id->fp_width, rec->stored_len) <= end - off;
}

int fold_rec_decode(const struct fold_seg_ident *id, uint32_t off, uint32_t end, const uint8_t *in,
                    struct fold_rec *out)
{
    uint32_t len = fold_rec_header_bytes(id->fp_width);
    if (off < FOLD_SEG_HEADER_BYTES || off % FOLD_SEG_ALIGN != 0 || off > end || end - off < len)
        return -FOLD_E_BAD_RECORD;
    struct fold_rd r = fold_rd_init(in, len);
    struct fold_rec rec = {0};
    bool known = fold_rd_u32(&r) == MAGIC;
    rec.codec = fold_rd_u8(&r);
    known = fold_rd_u8(&r) == 0 && known;
    known = fold_rd_u16(&r) == 0 && known;
    rec.dict = fold_rd_u32(&r);
    rec.raw_len = fold_rd_u32(&r);
    rec.stored_len = fold_rd_u32(&r);
    rec.synced = fold_rd_u32(&r);
    rec.payload_crc = fold_rd_u32(&r);
    for (unsigned i = 0; i < id->fp_width / 8u; i++)
        rec.fp.w[i] = fold_rd_u64(&r);
    uint32_t crc = fold_rd_u32(&r);
    if (!known || !fold_rd_done(&r) || crc != header_crc(id, off, in, len - CRC_BYTES))
        return -FOLD_E_BAD_RECORD;
    if (!rec_sane(id, off, end, &rec))
        return -FOLD_E_BAD_RECORD;
    *out = rec;
    return 0;
}

bool fold_rec_magic(const uint8_t in[4])
{
    struct fold_rd r = fold_rd_init(in, 4);
    return fold_rd_u32(&r) == MAGIC;
}

uint32_t fold_rec_payload_crc(const void *payload, size_t len)
{
    return fold_kernels()->crc32c(0, payload, len);
}

int fold_rec_payload_read(const void *payload, size_t len, uint32_t *crc)
{
    int rc;
    FOLD_GUARDED(rc, *crc = fold_rec_payload_crc(payload, len));
    return rc;
}
