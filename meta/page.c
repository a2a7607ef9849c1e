/* SPDX-License-Identifier: MIT */
/*
 * Recipe pages as values: editing, packing, unpacking. Pure: no catalog, no locks.
 *
 * Packed form: u8 version, varint number of extents, then each extent: a tag byte and what it
 * announces. Locations are told as the distance from the extent before, so that chunks that were
 * stored one after the other cost six or seven bytes.
 */
#include "meta/recipe.h"

#include "meta/base/bytes.h"
#include "meta/base/err.h"

#include <assert.h>

#define PAGE_VERSION 1
#define LOC_UNIT     16u /* records begin at multiples of it */
#define CHUNK_MAX    (4u << 20)

#define TAG_GAP       0x01u /* varint: bytes of hole before the extent */
#define TAG_SKIP      0x02u /* varint: skip */
#define TAG_SEGMENT   0x04u /* zigzag varint: segment minus the one before */
#define TAG_BACK      0x08u /* the location lies before the last one */
#define TAG_UNWRITTEN 0x10u /* no location */
#define TAG_TAIL      0x20u
#define TAG_KNOWN     0x3fu

/* Upper bound of a packed extent: tag, gap 3, len 3, skip 4, segment 5, offset 5. */
#define EXTENT_PACKED_MAX 24
#define PAGE_PACKED_HEAD  8

void fold_page_fini(struct fold_page *p)
{
    free(p->extents);
    *p = (struct fold_page){NULL, 0, 0};
}

static uint64_t end_of(const struct fold_extent *e)
{
    return e->off + e->len;
}

uint32_t fold_page_find(const struct fold_page *p, uint64_t off)
{
    uint32_t lo = 0, hi = p->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (end_of(&p->extents[mid]) > off)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

uint64_t fold_page_mapped(const struct fold_page *p)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->count; i++)
        sum += p->extents[i].len;
    return sum;
}

static int reserve(struct fold_page *p, uint32_t more)
{
    uint32_t need = p->count + more;
    if (need <= p->cap)
        return 0;
    uint32_t cap = FOLD_MAX(need, p->cap + p->cap / 2 + 8);
    struct fold_extent *bigger = realloc(p->extents, (size_t)cap * sizeof *bigger);
    if (bigger == NULL)
        return -ENOMEM;
    p->extents = bigger;
    p->cap = cap;
    return 0;
}

bool fold_extent_slice(const struct fold_extent *e, uint64_t off, uint64_t len,
                       struct fold_extent *out)
{
    uint64_t end;
    if (__builtin_add_overflow(off, len, &end))
        end = UINT64_MAX;
    uint64_t from = FOLD_MAX(e->off, off);
    uint64_t to = FOLD_MIN(end_of(e), end);
    if (from >= to)
        return false;
    struct fold_extent part = *e;
    part.off = from;
    part.len = (uint32_t)(to - from);
    if (e->kind == FOLD_EXTENT_DATA)
        part.skip = e->skip + (uint32_t)(from - e->off);
    *out = part;
    return true;
}

static void move(struct fold_page *p, uint32_t to, uint32_t from)
{
    if (p->count > from)
        memmove(&p->extents[to], &p->extents[from], (p->count - from) * sizeof *p->extents);
    p->count = p->count - from + to;
}

/* Punch with room for one more extent already reserved. Returns the index of the first extent
 * behind the hole. */
static uint32_t punch(struct fold_page *p, uint64_t off, uint64_t end)
{
    uint32_t i = fold_page_find(p, off);
    if (i == p->count || p->extents[i].off >= end)
        return i;
    struct fold_extent first = p->extents[i];
    struct fold_extent left, right;
    bool keep_left = fold_extent_slice(&first, 0, off, &left);
    uint32_t last = i;
    while (last + 1 < p->count && p->extents[last + 1].off < end)
        last++;
    struct fold_extent final = p->extents[last];
    bool keep_right = fold_extent_slice(&final, end, UINT64_MAX, &right);
    uint32_t kept = (uint32_t)keep_left + (uint32_t)keep_right;
    move(p, i + kept, last + 1);
    if (keep_left)
        p->extents[i++] = left;
    if (keep_right)
        p->extents[i] = right;
    return i;
}

int fold_page_punch(struct fold_page *p, uint64_t off, uint64_t len)
{
    uint64_t end;
    if (__builtin_add_overflow(off, len, &end))
        end = UINT64_MAX;
    if (len == 0)
        return 0;
    int rc = reserve(p, 1);
    if (rc == 0)
        (void)punch(p, off, end);
    return rc;
}

static bool continues(const struct fold_extent *a, const struct fold_extent *b)
{
    if (end_of(a) != b->off || a->kind != b->kind || a->flags != b->flags)
        return false;
    return a->kind == FOLD_EXTENT_UNWRITTEN ||
           (fold_loc_equal(a->loc, b->loc) && a->skip + a->len == b->skip);
}

int fold_page_insert(struct fold_page *p, const struct fold_extent *e)
{
    assert(e->len > 0 && e->off / FOLD_PAGE_BYTES == (end_of(e) - 1) / FOLD_PAGE_BYTES);
    struct fold_extent fresh = *e; /* `e` may point into the page */
    int rc = reserve(p, 2);
    if (rc < 0)
        return rc;
    uint32_t i = punch(p, fresh.off, end_of(&fresh));
    if (i > 0 && continues(&p->extents[i - 1], &fresh)) {
        i--;
        p->extents[i].len += fresh.len;
    } else {
        move(p, i + 1, i);
        p->extents[i] = fresh;
    }
    if (i + 1 < p->count && continues(&p->extents[i], &p->extents[i + 1])) {
        p->extents[i].len += p->extents[i + 1].len;
        move(p, i + 1, i + 2);
    }
    return 0;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

static bool packable(const struct fold_extent *e)
{
    if (e->kind == FOLD_EXTENT_UNWRITTEN)
        return e->skip == 0 && e->flags == 0;
    return e->kind == FOLD_EXTENT_DATA && e->loc.seg != 0 && e->loc.off % LOC_UNIT == 0 &&
           (e->flags & ~FOLD_EXTENT_TAIL) == 0 && e->skip <= CHUNK_MAX &&
           e->len <= CHUNK_MAX - e->skip;
}

int fold_page_encode(const struct fold_page *p, uint64_t page_no, void **data, size_t *len)
{
    uint8_t *buf = malloc(PAGE_PACKED_HEAD + (size_t)p->count * EXTENT_PACKED_MAX);
    if (buf == NULL)
        return -ENOMEM;
    uint64_t base = page_no * FOLD_PAGE_BYTES;
    uint64_t pos = base;
    struct fold_loc last = {0, 0};
    uint8_t *out = buf;
    *out++ = PAGE_VERSION;
    out = put_varint(out, p->count);
    for (uint32_t i = 0; i < p->count; i++) {
        const struct fold_extent *e = &p->extents[i];
        if (!packable(e) || e->off < pos || e->len == 0 || end_of(e) > base + FOLD_PAGE_BYTES) {
            free(buf);
            return -EINVAL;
        }
        uint8_t *tag = out++;
        unsigned bits = 0;
        if (e->off != pos) {
            bits |= TAG_GAP;
            out = put_varint(out, e->off - pos);
        }
        out = put_varint(out, e->len);
        pos = end_of(e);
        if (e->kind == FOLD_EXTENT_UNWRITTEN) {
            *tag = (uint8_t)(bits | TAG_UNWRITTEN);
            continue;
        }
        if (e->skip != 0) {
            bits |= TAG_SKIP;
            out = put_varint(out, e->skip);
        }
        if (e->loc.seg != last.seg) {
            int64_t d = (int64_t)e->loc.seg - (int64_t)last.seg;
            bits |= TAG_SEGMENT;
            out = put_varint(out, ((uint64_t)d << 1) ^ (uint64_t)(d >> 63));
        }
        bool back = e->loc.off < last.off;
        out = put_varint(out, (back ? last.off - e->loc.off : e->loc.off - last.off) / LOC_UNIT);
        bits |= back ? TAG_BACK : 0;
        bits |= e->flags & FOLD_EXTENT_TAIL ? TAG_TAIL : 0;
        last = e->loc;
        *tag = (uint8_t)bits;
    }
    *data = buf;
    *len = (size_t)(out - buf);
    return 0;
}

/* Location of the next extent from the one before: false if it lies nowhere. */
static bool read_loc(struct fold_rd *r, unsigned tag, struct fold_loc *last)
{
    if (tag & TAG_SEGMENT) {
        uint64_t z = fold_rd_varint(r);
        uint64_t seg = last->seg + ((z >> 1) ^ (0 - (z & 1)));
        if (seg > UINT32_MAX || seg == last->seg)
            return false;
        last->seg = (uint32_t)seg;
    }
    uint64_t units = fold_rd_varint(r);
    if (units > UINT32_MAX / LOC_UNIT)
        return false;
    uint32_t step = (uint32_t)units * LOC_UNIT;
    if (tag & TAG_BACK) {
        if (step == 0 || step > last->off)
            return false;
        last->off -= step;
    } else {
        if (step > UINT32_MAX - last->off)
            return false;
        last->off += step;
    }
    return last->seg != 0;
}

static bool read_extent(struct fold_rd *r, uint64_t room, struct fold_loc *last,
                        struct fold_extent *e)
{
    unsigned tag = fold_rd_u8(r);
    uint64_t gap = tag & TAG_GAP ? fold_rd_varint(r) : 0;
    uint64_t len = fold_rd_varint(r);
    if ((tag & ~TAG_KNOWN) != 0 || ((tag & TAG_GAP) != 0 && gap == 0) || gap > room || len == 0 ||
        len > room - gap)
        return false;
    e->off += gap;
    e->len = (uint32_t)len;
    e->skip = 0;
    if (tag & TAG_UNWRITTEN) {
        e->loc = (struct fold_loc){0, 0};
        e->kind = FOLD_EXTENT_UNWRITTEN;
        e->flags = 0;
        return (tag & ~(TAG_GAP | TAG_UNWRITTEN)) == 0;
    }
    if (tag & TAG_SKIP) {
        uint64_t skip = fold_rd_varint(r);
        if (skip == 0 || skip > CHUNK_MAX || len > CHUNK_MAX - skip)
            return false;
        e->skip = (uint32_t)skip;
    }
    if (!read_loc(r, tag, last))
        return false;
    e->loc = *last;
    e->kind = FOLD_EXTENT_DATA;
    e->flags = tag & TAG_TAIL ? FOLD_EXTENT_TAIL : 0;
    return true;
}

int fold_page_refill(const void *data, size_t len, uint64_t page_no, struct fold_page *p)
{
    struct fold_rd r = fold_rd_init(data, len);
    uint8_t version = fold_rd_u8(&r);
    uint64_t count = fold_rd_varint(&r);
    /* An extent takes two bytes at least: the memory asked for is bounded by the input. */
    if (r.bad || version != PAGE_VERSION || count == 0 || count > fold_rd_left(&r) / 2 ||
        page_no > UINT64_MAX / FOLD_PAGE_BYTES - 1)
        return -FOLD_E_BAD_RECIPE;
    if (count > p->cap) {
        struct fold_extent *grown = realloc(p->extents, count * sizeof *grown);
        if (grown == NULL)
            return -ENOMEM;
        p->extents = grown;
        p->cap = (uint32_t)count;
    }
    struct fold_extent *list = p->extents;
    p->count = 0;
    uint64_t pos = page_no * FOLD_PAGE_BYTES;
    uint64_t end = pos + FOLD_PAGE_BYTES;
    struct fold_loc last = {0, 0};
    for (uint64_t i = 0; i < count; i++) {
        list[i].off = pos;
        if (!read_extent(&r, end - pos, &last, &list[i])) {
            r.bad = true;
            break;
        }
        pos = end_of(&list[i]);
    }
    if (!fold_rd_done(&r))
        return -FOLD_E_BAD_RECIPE;
    p->count = (uint32_t)count;
    return 0;
}

int fold_page_decode(const void *data, size_t len, uint64_t page_no, struct fold_page *out)
{
    struct fold_page page = {NULL, 0, 0};
    int rc = fold_page_refill(data, len, page_no, &page);
    if (rc == 0)
        *out = page;
    else
        fold_page_fini(&page);
    return rc;
}
