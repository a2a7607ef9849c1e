/* SPDX-License-Identifier: MIT */
/*
 * Comparing bytes at hand with stored chunks. A batch pins a group of chunks and goes through all
 * that are stored as they are in one pass, which fetches the next pair while it compares the
 * present one; compressed chunks are decoded into one scratch buffer and compared from there. One
 * guard covers the pass: after a fault somewhere in it each pair is compared alone, so that only
 * the chunk that cannot be read fails. A mismatch, and a match of decoded bytes, is believed only
 * of a chunk whose checksum is right.
 */
#include "meta/readerparts.h"

#include "asm/compare.h"
#include "meta/base/err.h"
#include "meta/base/guard.h"
#include "meta/codec.h"

#include <errno.h>

/* Pairs of one pass: bits of a word. */
#define GROUP 64u

static int same_guarded(const void *data, const uint8_t *payload, size_t len, bool *same)
{
    int rc;
    FOLD_GUARDED(rc, *same = fold_kernels()->compare(data, payload, len) == len);
    return rc;
}

static int all_guarded(const struct fold_compare_pair *pairs, size_t n, uint64_t *same)
{
    int rc;
    FOLD_GUARDED(rc, fold_kernels()->compare_batch(pairs, n, same));
    return rc;
}

/* Equality of the pinned chunk with bytes of the same length. */
static int same_bytes(const struct fold_pinned *p, const void *data, bool *same)
{
    if (p->rec.codec == FOLD_CODEC_NONE)
        return same_guarded(data, p->payload, p->rec.raw_len, same);
    void *raw = fold_codec_scratch(FOLD_SCRATCH_VERIFY, p->rec.raw_len);
    if (raw == NULL)
        return -ENOMEM;
    int rc = fold_reader_unpack(p->rec.codec, p->payload, p->rec.stored_len, raw, p->rec.raw_len);
    if (rc == 0)
        *same = fold_kernels()->compare(data, raw, p->rec.raw_len) == p->rec.raw_len;
    return rc;
}

/* What a comparison that ended with `rc` and `same` says: a mismatch may still be damage, and so
 * may a payload that decodes to the right bytes: readers check it before they decode. */
static int judge(struct fold_reader *r, const struct fold_pinned *p, int rc, bool same)
{
    if (rc == -FOLD_E_BAD_RECORD || rc == -EIO)
        return fold_reader_report(r, p->loc, &p->rec.fp, rc);
    bool proved = same && p->rec.codec == FOLD_CODEC_NONE;
    return rc == 0 && !proved ? fold_reader_check(r, p) : rc;
}

int fold_reader_compare(struct fold_reader *r, struct fold_loc loc, const void *data, uint32_t len,
                        bool *equal)
{
    struct fold_pinned p;
    bool same = false;
    int rc = fold_reader_pin(r, loc, &p);
    if (rc < 0)
        return rc;
    if (p.rec.raw_len == len)
        rc = same_bytes(&p, data, &same);
    rc = judge(r, &p, rc, same);
    fold_reader_unpin(r, &p);
    if (rc == 0)
        *equal = same;
    return rc;
}

/* Compares the chunks that are stored as they are: pair k is chunk who[k]. */
static void compare_plain(const struct fold_pinned *pins, struct fold_match *m,
                          const struct fold_compare_pair *pairs, const uint8_t *who, size_t n)
{
    uint64_t same = 0;
    bool whole = n > 1 && all_guarded(pairs, n, &same) == 0;
    for (size_t k = 0; k < n; k++) {
        struct fold_match *one = &m[who[k]];
        if (whole)
            one->equal = (same >> k & 1) != 0;
        else
            one->rc = same_bytes(&pins[who[k]], one->data, &one->equal);
    }
}

static void compare_group(struct fold_reader *r, struct fold_match *m, size_t n)
{
    struct fold_pinned pins[GROUP];
    struct fold_compare_pair pairs[GROUP];
    uint8_t who[GROUP];
    size_t plain = 0;
    for (size_t i = 0; i < n; i++) {
        struct fold_pinned *p = &pins[i];
        m[i].equal = false;
        m[i].rc = fold_reader_pin(r, m[i].loc, p);
        if (m[i].rc < 0)
            p->map = NULL;
        if (m[i].rc < 0 || p->rec.raw_len != m[i].len)
            continue;
        if (p->rec.codec == FOLD_CODEC_NONE) {
            pairs[plain] = (struct fold_compare_pair){m[i].data, p->payload, m[i].len};
            who[plain++] = (uint8_t)i;
        } else {
            m[i].rc = same_bytes(p, m[i].data, &m[i].equal);
        }
    }
    compare_plain(pins, m, pairs, who, plain);
    for (size_t i = 0; i < n; i++) {
        if (pins[i].map == NULL)
            continue;
        m[i].rc = judge(r, &pins[i], m[i].rc, m[i].equal);
        m[i].equal = m[i].equal && m[i].rc == 0;
        fold_reader_unpin(r, &pins[i]);
    }
}

void fold_reader_compare_batch(struct fold_reader *r, struct fold_match *m, size_t n)
{
    for (size_t i = 0; i < n; i += GROUP)
        compare_group(r, m + i, FOLD_MIN(n - i, (size_t)GROUP));
}
