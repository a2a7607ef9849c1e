/* SPDX-License-Identifier: MIT */
/* A record header: fingerprint width, offset and end come first (12 bytes), then the header. What
 * is accepted lies inside. */
#include "meta/codec.h"
#include "meta/record.h"
#include "tests/fuzz/target.h"

static void decode(const struct fold_seg_ident *id, uint32_t off, uint32_t end, const uint8_t *head)
{
    struct fold_rec rec;
    if (fold_rec_decode(id, off, end, head, &rec) < 0)
        return;
    FOLD_HOLDS(rec.raw_len >= 1 && rec.raw_len <= FOLD_CHUNK_MAX_BYTES &&
               rec.stored_len <= rec.raw_len);
    FOLD_HOLDS((uint64_t)off + fold_rec_header_bytes(id->fp_width) + rec.stored_len <= end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fold_rd r = fold_rd_init(data, size);
    struct fold_seg_ident id = {.seg = 7, .salt = 0x1122334455667788u, .capacity = 64u << 20};
    id.fp_width = fold_rd_u32(&r) % 2 != 0 ? 32 : 16;
    uint32_t off = fold_rd_u32(&r) & ~15u;
    uint32_t end = fold_rd_u32(&r);
    uint32_t len = fold_rec_header_bytes(id.fp_width);
    if (r.bad || fold_rd_left(&r) < len || end < off)
        return 0;
    uint8_t *head = fold_fuzz_copy(r.p, len);
    decode(&id, off, end, head);
    uint8_t place[16];
    struct fold_wr w = fold_wr_init(place, sizeof place);
    fold_wr_u64(&w, id.salt);
    fold_wr_u32(&w, id.seg);
    fold_wr_u32(&w, off);
    uint32_t crc = fold_kernels()->crc32c(0, head, len - 4);
    fold_fuzz_seal(head + len - 4, fold_kernels()->crc32c(crc, place, sizeof place));
    decode(&id, off, end, head);
    free(head);
    /* The rest as a compressed payload: decoding stays inside its buffers. */
    static uint8_t raw[65536];
    size_t rest = size - 12 - len;
    uint8_t *payload = fold_fuzz_copy(r.p + len, rest);
    (void)!fold_codec_decompress(FOLD_CODEC_LZ4, payload, rest, raw, end % sizeof raw + 1);
    (void)!fold_codec_decompress(FOLD_CODEC_ZSTD, payload, rest, raw, end % sizeof raw + 1);
    free(payload);
    return 0;
}
