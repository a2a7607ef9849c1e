/* SPDX-License-Identifier: MIT */
/*
 * The bytes of batches are copied to blocks, their changes sorted by key and number, and handed to
 * the database as a few large batches; inserting in order is several times cheaper for it.
 * Deletions of ranges go first: what they cover and what came before them has been left out then.
 */
#include "meta/replay.h"

#include "meta/base/bytes.h"
#include "meta/base/grow.h"
#include "meta/base/knob.h"
#include "meta/batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct op {
    uint64_t prefix; /* first bytes of the key, to compare by */
    const uint8_t *key;
    const uint8_t *val; /* NULL: deletion; of a range: its end */
    uint32_t key_len;
    uint32_t val_len;
    uint32_t number;
};

struct ops {
    struct op *items;
    size_t count, cap;
};

struct block {
    struct block *next;
    uint8_t bytes[];
};

struct fold_replay {
    struct fold_kv *kv;
    struct block *blocks;
    uint64_t held; /* bytes in blocks */
    struct ops ops;
    struct ops ranges;
    uint32_t number;
};

struct fold_replay *fold_replay_create(struct fold_kv *kv)
{
    struct fold_replay *r = calloc(1, sizeof *r);
    if (r != NULL)
        r->kv = kv;
    return r;
}

static void forget(struct fold_replay *r)
{
    while (r->blocks != NULL) {
        struct block *b = r->blocks;
        r->blocks = b->next;
        free(b);
    }
    r->held = 0;
    r->number = 0;
    r->ops.count = r->ranges.count = 0;
}

void fold_replay_destroy(struct fold_replay *r)
{
    if (r == NULL)
        return;
    forget(r);
    free(r->ops.items);
    free(r->ranges.items);
    free(r);
}

static int push(struct ops *list, const struct op *op)
{
    if (FOLD_GROW(list->items, list->cap, list->count + 1, 1024) < 0)
        return -ENOMEM;
    list->items[list->count++] = *op;
    return 0;
}

static uint64_t prefix_of(const uint8_t *key, uint32_t len)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < 8; i++)
        v = v << 8 | (i < len ? key[i] : 0);
    return v;
}

static int take_change(struct fold_replay *r, const struct fold_batch_change *c)
{
    struct op op = {.number = r->number++,
                    .prefix = prefix_of(c->key, c->key_len),
                    .key = c->key,
                    .key_len = c->key_len,
                    .val = c->val,
                    .val_len = c->val_len};
    return push(c->kind == FOLD_BATCH_DELETE_RANGE ? &r->ranges : &r->ops, &op);
}

int fold_replay_add(struct fold_replay *r, const void *data, size_t len)
{
    int rc = r->held > fold_knobs.replay_held_bytes ? fold_replay_finish(r) : 0;
    if (rc < 0)
        return rc;
    struct block *b = malloc(sizeof *b + len);
    if (b == NULL)
        return -ENOMEM;
    memcpy(b->bytes, data, len);
    b->next = r->blocks;
    r->blocks = b;
    r->held += len;
    struct fold_batch batch;
    struct fold_batch_change c;
    rc = fold_batch_open(&batch, b->bytes, len);
    while (rc == 0 && (rc = fold_batch_next(&batch, &c)) > 0)
        rc = take_change(r, &c);
    return rc;
}

static int compare_keys(const struct op *a, const struct op *b)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    return fold_bytes_compare(a->key, a->key_len, b->key, b->key_len);
}

static int by_key(const void *a, const void *b)
{
    const struct op *x = a;
    const struct op *y = b;
    int c = compare_keys(x, y);
    return c != 0 ? c : (x->number > y->number) - (x->number < y->number);
}

/* Ranges that may cover the keys from here on, while keys are gone through in order. */
struct sweep {
    const struct ops *ranges; /* by key */
    size_t next;
    struct ops active;
};

/* Does a range that was deleted later cover the op? 1, 0, -ENOMEM. */
static int is_covered(struct sweep *s, const struct op *op)
{
    while (s->next < s->ranges->count && compare_keys(&s->ranges->items[s->next], op) <= 0) {
        int rc = push(&s->active, &s->ranges->items[s->next++]);
        if (rc < 0)
            return rc;
    }
    int covered = 0;
    size_t kept = 0;
    for (size_t i = 0; i < s->active.count; i++) {
        struct op *range = &s->active.items[i];
        if (fold_bytes_compare(range->val, range->val_len, op->key, op->key_len) <= 0)
            continue; /* ends before, and so for all that follow */
        covered |= range->number > op->number;
        s->active.items[kept++] = *range;
    }
    s->active.count = kept;
    return covered;
}

/* Writes the batch if it is full, or for good. */
static int write_batch(struct fold_replay *r, struct fold_kv_batch *b, uint32_t least)
{
    uint32_t count = fold_kv_batch_count(b);
    if (count == 0 || count < least)
        return 0;
    int rc = fold_kv_write(r->kv, b);
    fold_kv_batch_clear(b);
    return rc;
}

static int write_ranges(struct fold_replay *r, struct fold_kv_batch *b)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < r->ranges.count; i++) {
        const struct op *range = &r->ranges.items[i];
        fold_kv_batch_delete_range(b, range->key, range->key_len, range->val, range->val_len);
        rc = write_batch(r, b, fold_knobs.replay_batch);
    }
    return rc;
}

static int write_ops(struct fold_replay *r, struct fold_kv_batch *b, struct sweep *s)
{
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < r->ops.count; i++) {
        const struct op *op = &r->ops.items[i];
        if (i + 1 < r->ops.count && compare_keys(op, op + 1) == 0)
            continue; /* changed again */
        rc = r->ranges.count > 0 ? is_covered(s, op) : 0;
        if (rc != 0)
            continue;
        if (op->val != NULL)
            fold_kv_batch_put(b, op->key, op->key_len, op->val, op->val_len);
        else
            fold_kv_batch_delete(b, op->key, op->key_len);
        rc = write_batch(r, b, fold_knobs.replay_batch);
    }
    return FOLD_MIN(rc, 0);
}

int fold_replay_finish(struct fold_replay *r)
{
    struct sweep s = {.ranges = &r->ranges};
    if (r->ops.count > 1)
        qsort(r->ops.items, r->ops.count, sizeof r->ops.items[0], by_key);
    if (r->ranges.count > 1)
        qsort(r->ranges.items, r->ranges.count, sizeof r->ranges.items[0], by_key);
    struct fold_kv_batch *b = fold_kv_batch_create();
    int rc = write_ranges(r, b);
    if (rc == 0)
        rc = write_ops(r, b, &s);
    if (rc == 0)
        rc = write_batch(r, b, 0);
    fold_kv_batch_destroy(b);
    free(s.active.items);
    forget(r);
    return rc;
}
