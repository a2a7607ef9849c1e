/* SPDX-License-Identifier: MIT */
/*
 * Bounds-checked cursors over byte strings: the only way bytes from disk become values.
 * Little-endian unless the name says big-endian (keys). A cursor that ran over its end is `bad` for
 * good and yields zeros; check once at the end. And the order of byte strings.
 */
#ifndef FOLD_META_BASE_BYTES_H
#define FOLD_META_BASE_BYTES_H

#include "meta/base/attr.h"

#include <stdbool.h>

/* Order of byte strings, as memcmp; one that begins with all of another comes behind it. */
static inline int fold_bytes_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
    int order = memcmp(a, b, FOLD_MIN(a_len, b_len));
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* Reader: fixed input of `len` bytes owned by the caller. */
struct fold_rd {
    const uint8_t *p;
    const uint8_t *end;
    bool bad;
};

/* Writer: output into a caller's buffer of `cap` bytes. */
struct fold_wr {
    uint8_t *base;
    uint8_t *p;
    uint8_t *end;
    bool bad;
};

static inline struct fold_rd fold_rd_init(const void *buf, size_t len)
{
    const uint8_t *p = buf;
    return (struct fold_rd){p, len > 0 ? p + len : p, false};
}

static inline size_t fold_rd_left(const struct fold_rd *r)
{
    return (size_t)(r->end - r->p);
}

/* True if all bytes were consumed and none was missing. */
static inline bool fold_rd_done(const struct fold_rd *r)
{
    return !r->bad && r->p == r->end;
}

/* Returns `len` bytes in place, NULL (and bad) if fewer are left. */
static inline const uint8_t *fold_rd_bytes(struct fold_rd *r, size_t len)
{
    if (r->bad || fold_rd_left(r) < len) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += len;
    return p;
}

static inline uint64_t fold_rd_le(struct fold_rd *r, unsigned width)
{
    const uint8_t *p = fold_rd_bytes(r, width);
    uint64_t v = 0;
    if (p != NULL)
        for (unsigned i = 0; i < width; i++)
            v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static inline uint8_t fold_rd_u8(struct fold_rd *r)
{
    return (uint8_t)fold_rd_le(r, 1);
}
static inline uint16_t fold_rd_u16(struct fold_rd *r)
{
    return (uint16_t)fold_rd_le(r, 2);
}
static inline uint32_t fold_rd_u32(struct fold_rd *r)
{
    return (uint32_t)fold_rd_le(r, 4);
}
static inline uint64_t fold_rd_u64(struct fold_rd *r)
{
    return fold_rd_le(r, 8);
}

static inline uint64_t fold_rd_be64(struct fold_rd *r)
{
    return __builtin_bswap64(fold_rd_le(r, 8));
}

/* LEB128, at most 10 bytes; longer or overflowing input is bad. */
static inline uint64_t fold_rd_varint(struct fold_rd *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        const uint8_t *p = fold_rd_bytes(r, 1);
        if (p == NULL)
            return 0;
        if (shift == 63 && *p > 1)
            break;
        v |= (uint64_t)(*p & 0x7f) << shift;
        if ((*p & 0x80) == 0)
            return v;
    }
    r->bad = true;
    return 0;
}

static inline struct fold_wr fold_wr_init(void *buf, size_t cap)
{
    uint8_t *p = buf;
    return (struct fold_wr){p, p, p + cap, false};
}

static inline size_t fold_wr_len(const struct fold_wr *w)
{
    return (size_t)(w->p - w->base);
}

static inline void fold_wr_bytes(struct fold_wr *w, const void *src, size_t len)
{
    if (w->bad || (size_t)(w->end - w->p) < len) {
        w->bad = true;
        return;
    }
    if (len > 0)
        memcpy(w->p, src, len);
    w->p += len;
}

static inline void fold_wr_le(struct fold_wr *w, uint64_t v, unsigned width)
{
    uint8_t b[8];
    for (unsigned i = 0; i < width; i++)
        b[i] = (uint8_t)(v >> (8 * i));
    fold_wr_bytes(w, b, width);
}

static inline void fold_wr_u8(struct fold_wr *w, uint8_t v)
{
    fold_wr_le(w, v, 1);
}
static inline void fold_wr_u16(struct fold_wr *w, uint16_t v)
{
    fold_wr_le(w, v, 2);
}
static inline void fold_wr_u32(struct fold_wr *w, uint32_t v)
{
    fold_wr_le(w, v, 4);
}
static inline void fold_wr_u64(struct fold_wr *w, uint64_t v)
{
    fold_wr_le(w, v, 8);
}

static inline void fold_wr_be64(struct fold_wr *w, uint64_t v)
{
    fold_wr_le(w, __builtin_bswap64(v), 8);
}

static inline void fold_wr_varint(struct fold_wr *w, uint64_t v)
{
    while (v >= 0x80) {
        fold_wr_u8(w, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    fold_wr_u8(w, (uint8_t)v);
}

#endif
