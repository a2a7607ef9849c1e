/* SPDX-License-Identifier: MIT */
/*
 * Blocks of up to BLOCK slices, kept in an array ordered by offset; no block is empty. A full block
 * is halved, except at the end of the map, where sequential writers append: there a new block is
 * opened.
 *
 * A change takes at most two more blocks: one where a slice is split, one where the new slice goes.
 * They are reserved before anything is changed, so a change is made whole or not at all.
 */
#include "fs/slicemap.h"

#include "fs/budget.h"

#include "meta/base/grow.h"
#include "meta/base/knob.h"

#include <assert.h>
#include <errno.h>

#define BLOCK 64u /* room in a block; filled as far as the knob says */

struct fold_slice_block {
    uint32_t n;
    struct fold_budget *budget;     /* the block is charged to it; NULL: to none */
    struct fold_slice_block *spare; /* next in a list of reserved blocks */
    struct fold_slice s[BLOCK];
};

/* The most blocks that one change adds. */
#define RESERVE 2u

static uint64_t slice_end(const struct fold_slice *s)
{
    return s->off + s->len;
}

/* Many small slices take more memory than the bytes they name: blocks are charged, too. */
static struct fold_slice_block *block_create(struct fold_budget *budget)
{
    struct fold_slice_block *b = malloc(sizeof *b);
    if (b == NULL)
        return NULL;
    b->n = 0;
    b->budget = budget;
    b->spare = NULL;
    if (budget != NULL)
        fold_budget_add(budget, sizeof *b);
    return b;
}

static void block_destroy(struct fold_slice_block *b)
{
    struct fold_budget *budget = b->budget;
    free(b);
    if (budget != NULL)
        fold_budget_sub(budget, sizeof *b);
}

void fold_slices_clear(struct fold_slices *m)
{
    for (uint32_t b = 0; b < m->count; b++) {
        for (uint32_t i = 0; i < m->blocks[b]->n; i++)
            fold_buf_put(m->blocks[b]->s[i].buf);
        block_destroy(m->blocks[b]);
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

/*
 * Makes sure that one change around `off` finds the blocks it may need, on behalf of a slice in
 * `buf`. -ENOMEM: nothing has changed. To be undone with release().
 */
static int reserve(struct fold_slices *m, uint64_t off, const struct fold_buf *buf)
{
    uint32_t at = find_block(m, off);
    if (at == m->count && at > 0)
        at--;
    if (at < m->count && m->blocks[at]->n + RESERVE <= fold_knobs.slice_block)
        return 0;
    if (FOLD_GROW(m->blocks, m->cap, m->count + RESERVE, 4) < 0)
        return -ENOMEM;
    struct fold_budget *budget = buf != NULL && buf->charged ? buf->budget : NULL;
    for (unsigned i = 0; i < RESERVE; i++) {
        struct fold_slice_block *b = block_create(budget);
        if (b == NULL)
            return -ENOMEM; /* what there is goes with release() */
        b->spare = m->spare;
        m->spare = b;
    }
    return 0;
}

/* Gives back what was reserved and not needed. */
static void release(struct fold_slices *m)
{
    while (m->spare != NULL) {
        struct fold_slice_block *b = m->spare;
        m->spare = b->spare;
        block_destroy(b);
    }
}

/* A reserved block takes its place among the others. */
static struct fold_slice_block *insert_block(struct fold_slices *m, uint32_t where)
{
    struct fold_slice_block *b = m->spare;
    assert(b != NULL && m->count < m->cap);
    m->spare = b->spare;
    b->spare = NULL;
    memmove(&m->blocks[where + 1], &m->blocks[where], (m->count - where) * sizeof m->blocks[0]);
    m->blocks[where] = b;
    m->count++;
    return b;
}

/* Makes room in the block at `pos`, which may move to a new block. */
static void make_room(struct fold_slices *m, struct fold_slice_pos *pos)
{
    const uint32_t full = (uint32_t)fold_knobs.slice_block;
    if (pos->index == 0 && pos->block > 0 && m->blocks[pos->block - 1]->n < full) {
        pos->block--;
        pos->index = m->blocks[pos->block]->n;
    }
    if (pos->block < m->count && m->blocks[pos->block]->n < full)
        return;
    if (pos->block == m->count) {
        (void)insert_block(m, m->count);
        pos->index = 0;
        return;
    }
    struct fold_slice_block *fresh = insert_block(m, pos->block + 1);
    struct fold_slice_block *old = m->blocks[pos->block];
    fresh->n = old->n / 2;
    old->n -= fresh->n;
    memcpy(fresh->s, &old->s[old->n], fresh->n * sizeof fresh->s[0]);
    if (pos->index > old->n) {
        pos->index -= old->n;
        pos->block++;
    }
}

static void insert_at(struct fold_slices *m, struct fold_slice_pos *pos, const struct fold_slice *s)
{
    make_room(m, pos);
    struct fold_slice_block *b = m->blocks[pos->block];
    memmove(&b->s[pos->index + 1], &b->s[pos->index], (b->n - pos->index) * sizeof b->s[0]);
    b->s[pos->index] = *s;
    b->n++;
    m->bytes += s->len;
}

static void remove_at(struct fold_slices *m, struct fold_slice_pos *pos)
{
    struct fold_slice_block *b = m->blocks[pos->block];
    m->bytes -= b->s[pos->index].len;
    fold_buf_put(b->s[pos->index].buf);
    b->n--;
    memmove(&b->s[pos->index], &b->s[pos->index + 1], (b->n - pos->index) * sizeof b->s[0]);
    if (b->n == 0) { /* the same change may need it again */
        m->count--;
        memmove(&m->blocks[pos->block], &m->blocks[pos->block + 1],
                (m->count - pos->block) * sizeof m->blocks[0]);
        b->spare = m->spare;
        m->spare = b;
        pos->index = 0;
    }
}

/* Cuts the slice at `pos` at file offset `at_off`, inserting its right part behind it. */
static void split(struct fold_slices *m, struct fold_slice_pos pos, uint64_t at_off)
{
    struct fold_slice *s = &m->blocks[pos.block]->s[pos.index];
    uint32_t keep = (uint32_t)(at_off - s->off);
    struct fold_slice right = {
        .off = at_off, .data = s->data + keep, .buf = s->buf, .len = s->len - keep};
    s->len = keep;
    m->bytes -= right.len;
    fold_buf_ref(right.buf);
    struct fold_slice_pos where = {pos.block, pos.index + 1};
    insert_at(m, &where, &right);
}

/* With the blocks reserved that a split may need. */
static void punch(struct fold_slices *m, uint64_t off, uint64_t end)
{
    struct fold_slice_pos pos;
    struct fold_slice *s = seek(m, off, &pos);
    if (s != NULL && s->off < off && slice_end(s) > end) {
        split(m, pos, end);
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
}

int fold_slices_punch(struct fold_slices *m, uint64_t off, uint64_t len)
{
    uint64_t end;
    if (__builtin_add_overflow(off, len, &end))
        end = UINT64_MAX;
    if (off >= end)
        return 0;
    struct fold_slice_pos pos;
    const struct fold_slice *s = seek(m, off, &pos);
    if (s == NULL || s->off >= end)
        return 0;
    bool splits = s->off < off && slice_end(s) > end;
    int rc = splits ? reserve(m, off, s->buf) : 0;
    if (rc == 0)
        punch(m, off, end);
    release(m);
    return rc;
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
    int rc = reserve(m, s->off, s->buf);
    if (rc == 0) {
        struct fold_slice_pos pos;
        if (s->len > 0)
            punch(m, s->off, slice_end(s));
        (void)seek(m, s->off, &pos);
        if (!extend_left(m, pos, s))
            insert_at(m, &pos, s);
    }
    release(m);
    return rc;
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
