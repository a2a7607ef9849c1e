/* SPDX-License-Identifier: MIT */
/*
 * The form is that of RocksDB, which the journal has made part of the format (docs/FORMAT.md). Only
 * what meta/kv.h can put into a batch is known here.
 */
#include "meta/batch.h"

#include "meta/base/err.h"

#define SEQUENCE_BYTES 8u /* of the header; the database's own */

#define TAG_DELETE       0x00u
#define TAG_PUT          0x01u
#define TAG_DELETE_RANGE 0x0fu

int fold_batch_open(struct fold_batch *b, const void *data, size_t len)
{
    b->rd = fold_rd_init(data, len);
    (void)fold_rd_bytes(&b->rd, SEQUENCE_BYTES);
    b->left = fold_rd_u32(&b->rd);
    return b->rd.bad || len > UINT32_MAX ? -FOLD_E_BAD_JOURNAL : 0;
}

/* The length fits: no batch has more bytes. */
static const uint8_t *take_string(struct fold_rd *rd, uint32_t *len)
{
    uint64_t n = fold_rd_varint(rd);
    *len = (uint32_t)n;
    return fold_rd_bytes(rd, n);
}

int fold_batch_next(struct fold_batch *b, struct fold_batch_change *out)
{
    if (b->left == 0)
        return fold_rd_done(&b->rd) ? 0 : -FOLD_E_BAD_JOURNAL;
    struct fold_batch_change c = {.kind = FOLD_BATCH_DELETE};
    uint8_t tag = fold_rd_u8(&b->rd);
    c.key = take_string(&b->rd, &c.key_len);
    if (tag != TAG_DELETE) {
        c.kind = tag == TAG_PUT ? FOLD_BATCH_PUT : FOLD_BATCH_DELETE_RANGE;
        c.val = take_string(&b->rd, &c.val_len);
    }
    if (b->rd.bad || (tag != TAG_DELETE && tag != TAG_PUT && tag != TAG_DELETE_RANGE))
        return -FOLD_E_BAD_JOURNAL;
    b->left--;
    *out = c;
    return 1;
}
