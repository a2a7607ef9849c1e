/* SPDX-License-Identifier: MIT */
/*
 * Blocks of up to BLOCK slices, kept in an array ordered by offset; no block is empty. A full block
 * is halved, except at the end of the map, where sequential writers append: there a new block is
 * opened.
 */
#include "fs/slicemap.h"

#include "meta/base/knob.h"

#include <errno.h>

#define BLOCK 64u /* room in a block; filled as far as the knob says */

struct fold_slice_block {
    uint32_t n;
    struct fold_slice s[BLOCK];
};

static uint64_t slice_end(const struct fold_slice *s)
{
    return s->off + s->len;
}

void fold_slices_clear(struct fold_slices *m)
{
    for (uint32_t b = 0; b < m->count; b++) {
        for (uint32_t i = 0; i < m->blocks[b]->n; i++)
            fold_buf_put(m->blocks[b]->s[i].buf);
        free(m->blocks[b]);
    }
    free(m->blocks);
    *m = (struct fold_slices){0};
}

static uint32_t find_block(const struct fold_slices *m, uint64_t off)
{
    uint32_t lo = 0, hi = m->count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        const struct fold_slice_block *b = m->blocks[mid];
        if (slice_end(&b->s[b->n - 1]) > off)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static struct fold_slice *seek(const struct fold_slices *m, uint64_t off,
                               struct fold_slice_pos *pos)
{
    pos->block = find_block(m, off);
    pos->index = 0;
    if (pos->block == m->count)
        return NULL;
    struct fold_slice_block *b = m->blocks[pos->block];
    uint32_t lo = 0, hi = b->n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (slice_end(&b->s[mid]) > off)
            hi = mid;
        else
            lo = mid + 1;
    }
    pos->index = lo;
    return &b->s[lo];
}

const struct fold_slice *fold_slices_seek(const struct fold_slices *m, uint64_t off,
                                          struct fold_slice_pos *pos)
{
    return seek(m, off, pos);
}

static struct fold_slice *at(const struct fold_slices *m, struct fold_slice_pos *pos)
{
    if (pos->block < m->count && pos->index >= m->blocks[pos->block]->n) {
        pos->block++;
        pos->index = 0;
    }
    return pos->block < m->count ? &m->blocks[pos->block]->s[pos->index] : NULL;
}

const struct fold_slice *fold_slices_next(const struct fold_slices *m, struct fold_slice_pos *pos)
{
    pos->index++;
    return at(m, pos);
}

static int insert_block(struct fold_slices *m, uint32_t where, struct fold_slice_block *b)
{
    if (m->count == m->cap) {
        uint32_t cap = m->cap > 0 ? m->cap * 2 : 4;
        struct fold_slice_block **grown = realloc(m->blocks, cap * sizeof *grown);
        if (grown == NULL)
            return -ENOMEM;
        m->blocks = grown;
        m->cap = cap;
    }
    memmove(&m->blocks[where + 1], &m->blocks[where], (m->count - where) * sizeof m->blocks[0]);
    m->blocks[where] = b;
    m->count++;
    return 0;
}

/* Makes room in the block at `pos`, which may move to a new block. */
static int make_room(struct fold_slices *m, struct fold_slice_pos *pos)
{
    if (pos->block == m->count && m->count > 0 &&
        m->blocks[m->count - 1]->n < fold_knobs.slice_block) {
        pos->block = m->count - 1;
        pos->index = m->blocks[pos->block]->n;
    }
    if (pos->block < m->count && m->blocks[pos->block]->n < fold_knobs.slice_block)
        return 0;
    struct fold_slice_block *fresh = malloc(sizeof *fresh);
    if (fresh == NULL)
        return -ENOMEM;
    fresh->n = 0;
    if (pos->block == m->count) {
        int rc = insert_block(m, m->count, fresh);
        if (rc != 0)
            free(fresh);
        pos->index = 0;
        return rc;
    }
    int rc = insert_block(m, pos->block + 1, fresh);
    if (rc != 0) {
        free(fresh);
        return rc;
    }
    struct fold_slice_block *old = m->blocks[pos->block];
    fresh->n = old->n / 2;
    old->n -= fresh->n;
    memcpy(fresh->s, &old->s[old->n], fresh->n * sizeof fresh->s[0]);
    if (pos->index > old->n) {
        pos->index -= old->n;
        pos->block++;
    }
    return 0;
}

static int insert_at(struct fold_slices *m, struct fold_slice_pos *pos, const struct fold_slice *s)
{
    int rc = make_room(m, pos);
    if (rc != 0)
        return rc;
    struct fold_slice_block *b = m->blocks[pos->block];
    memmove(&b->s[pos->index + 1], &b->s[pos->index], (b->n - pos->index) * sizeof b->s[0]);
    b->s[pos->index] = *s;
    b->n++;
    m->bytes += s->len;
    return 0;
}

static void remove_at(struct fold_slices *m, struct fold_slice_pos *pos)
{
    struct fold_slice_block *b = m->blocks[pos->block];
    m->bytes -= b->s[pos->index].len;
    fold_buf_put(b->s[pos->index].buf);
    b->n--;
    memmove(&b->s[pos->index], &b->s[pos->index + 1], (b->n - pos->index) * sizeof b->s[0]);
    if (b->n == 0) {
        free(b);
        m->count--;
        memmove(&m->blocks[pos->block], &m->blocks[pos->block + 1],
                (m->count - pos->block) * sizeof m->blocks[0]);
        pos->index = 0;
    }
}

/* Cuts `s` at file offset `at_off`, inserting its right part behind it. */
static int split(struct fold_slices *m, struct fold_slice_pos pos, uint64_t at_off)
{
    struct fold_slice *s = &m->blocks[pos.block]->s[pos.index];
    uint32_t keep = (uint32_t)(at_off - s->off);
    struct fold_slice right = {
        .off = at_off, .data = s->data + keep, .buf = s->buf, .len = s->len - keep};
    s->len = keep;
    m->bytes -= right.len;
    struct fold_slice_pos where = {pos.block, pos.index + 1};
    int rc = insert_at(m, &where, &right);
    if (rc != 0) {
        m->blocks[pos.block]->s[pos.index].len += right.len;
        m->bytes += right.len;
        return rc;
    }
    fold_buf_ref(right.buf);
    return 0;
}

int fold_slices_punch(struct fold_slices *m, uint64_t off, uint64_t len)
{
    uint64_t end;
    if (__builtin_add_overflow(off, len, &end))
        end = UINT64_MAX;
    if (off >= end)
        return 0;
    struct fold_slice_pos pos;
    struct fold_slice *s = seek(m, off, &pos);
    if (s != NULL && s->off < off && slice_end(s) > end) {
        int rc = split(m, pos, end);
        if (rc != 0)
            return rc;
        s = seek(m, off, &pos);
    }
    if (s != NULL && s->off < off) {
        m->bytes -= slice_end(s) - off;
        s->len = (uint32_t)(off - s->off);
        pos.index++;
    }
    while ((s = at(m, &pos)) != NULL && s->off < end) {
        if (slice_end(s) > end) {
            uint32_t gone = (uint32_t)(end - s->off);
            s->off += gone;
            s->data += gone;
            s->len -= gone;
            m->bytes -= gone;
            break;
        }
        remove_at(m, &pos);
    }
    return 0;
}

/* The slice that ends where `s` begins, in the file and in memory, is made longer instead. */
static bool extend_left(struct fold_slices *m, struct fold_slice_pos pos,
                        const struct fold_slice *s)
{
    if (pos.index == 0) {
        if (pos.block == 0)
            return false;
        pos.block--;
        pos.index = m->blocks[pos.block]->n;
    }
    struct fold_slice *left = &m->blocks[pos.block]->s[pos.index - 1];
    uint32_t sum;
    if (slice_end(left) != s->off || left->buf != s->buf || left->data + left->len != s->data ||
        __builtin_add_overflow(left->len, s->len, &sum))
        return false;
    left->len = sum;
    m->bytes += s->len;
    fold_buf_put(s->buf);
    return true;
}

int fold_slices_insert(struct fold_slices *m, const struct fold_slice *s)
{
    int rc = fold_slices_punch(m, s->off, s->len);
    if (rc != 0)
        return rc;
    struct fold_slice_pos pos;
    (void)seek(m, s->off, &pos);
    if (extend_left(m, pos, s))
        return 0;
    return insert_at(m, &pos, s);
}

uint64_t fold_slices_covered(const struct fold_slices *m, uint64_t off, uint64_t len)
{
    uint64_t sum = 0;
    uint64_t end = off + len;
    struct fold_slice_pos pos;
    for (const struct fold_slice *s = fold_slices_seek(m, off, &pos); s != NULL && s->off < end;
         s = fold_slices_next(m, &pos))
        sum += FOLD_MIN(slice_end(s), end) - FOLD_MAX(s->off, off);
    return sum;
}
