/* SPDX-License-Identifier: MIT */
/*
 * One batch goes through: twins inside the batch, filter, store lookup, verification, and one put
 * for all that is new. Counters are relaxed atomics, added once per batch. The filter is derived
 * data: until its rebuilding has finished it is fed but not believed.
 */
#include "hashing/dedup.h"

#include "asm/kernels.h"
#include "hashing/filter.h"
#include "meta/base/err.h"
#include "meta/base/knob.h"
#include "meta/base/lock.h"
#include "meta/base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#define FILTER_NAME "filter"
#define TWIN_SLOTS  512u

struct counters {
    _Atomic uint64_t bytes_in, zero, duplicate, verified, probes, negatives, false_positives;
    _Atomic uint64_t locality, lookups, collisions, healed;
};

struct fold_dedup {
    struct fold_store *store;
    struct fold_hasher hasher;
    struct fold_filter *filter;
    atomic_bool ready; /* the filter holds every stored fingerprint */
    atomic_bool stop;
    bool rebuilding; /* the thread exists; only open and close touch it */
    pthread_t thread;
    struct counters count;
};

/* State of one fold_dedup_store call, on its stack. */
struct batch {
    struct fold_chunk *pieces;
    size_t n;
    uint16_t twin[FOLD_DEDUP_BATCH];  /* index of an earlier equal piece, or its own */
    uint16_t fresh[FOLD_DEDUP_BATCH]; /* pieces to be put */
    bool collided[FOLD_DEDUP_BATCH];  /* same fingerprint as a stored chunk of other content */
    size_t fresh_count;
    uint64_t duplicate, verified, locality, lookups, false_positives;
};

static void add(_Atomic uint64_t *c, uint64_t v)
{
    if (v != 0)
        atomic_fetch_add_explicit(c, v, memory_order_relaxed);
}

static int rebuild_one(void *arg, const struct fold_fp *fp, struct fold_loc loc)
{
    struct fold_dedup *d = arg;
    (void)loc;
    if (atomic_load_explicit(&d->stop, memory_order_relaxed))
        return -ECANCELED;
    return fold_filter_insert(d->filter, fp);
}

static void *rebuild_main(void *arg)
{
    struct fold_dedup *d = arg;
    pthread_setname_np(pthread_self(), "fold-filter");
    int rc = fold_store_each(d->store, rebuild_one, d);
    if (rc == 0)
        atomic_store(&d->ready, true);
    else if (rc != -ECANCELED)
        fold_warn("the filter could not be rebuilt (%s); lookups go to the index",
                  fold_err_text(rc));
    return NULL;
}

int fold_dedup_open(struct fold_store *store, int storefd, enum fold_hash_kind kind,
                    const uint8_t *secret, bool read_only, struct fold_dedup **out)
{
    struct fold_dedup *d = calloc(1, sizeof *d);
    if (d == NULL)
        return -ENOMEM;
    d->store = store;
    fold_hasher_init(&d->hasher, kind, secret);
    if (read_only) {
        *out = d;
        return 0;
    }
    int rc = fold_filter_load(storefd, FILTER_NAME, fold_store_stamp(store), &d->filter);
    if (rc == 0) {
        atomic_store(&d->ready, true);
        *out = d;
        return 0;
    }
    struct fold_store_info info;
    fold_store_info(store, &info);
    rc = fold_filter_create(info.chunks, &d->filter);
    if (rc == 0) {
        rc = -pthread_create(&d->thread, NULL, rebuild_main, d);
        d->rebuilding = rc == 0;
    }
    if (rc != 0) {
        fold_dedup_close(d, false, -1);
        return rc;
    }
    *out = d;
    return 0;
}

void fold_dedup_close(struct fold_dedup *d, bool clean, int storefd)
{
    if (d == NULL)
        return;
    atomic_store(&d->stop, true);
    if (d->rebuilding)
        pthread_join(d->thread, NULL);
    struct fold_filter_info info = {0};
    if (d->filter != NULL)
        fold_filter_info(d->filter, &info);
    /* A filter that grew much errs more often: the next mount makes one of the right size. */
    if (clean && atomic_load(&d->ready) && info.doublings < fold_knobs.filter_doublings) {
        int rc = fold_filter_save(d->filter, storefd, FILTER_NAME, fold_store_stamp(d->store));
        if (rc != 0)
            fold_warn("the filter was not saved (%s); the next mount rebuilds it",
                      fold_err_text(rc));
    }
    fold_filter_destroy(d->filter);
    free(d);
}

void fold_dedup_fingerprint(const struct fold_dedup *d, struct fold_chunk *piece)
{
    fold_hasher_one(&d->hasher, piece->data, piece->len, &piece->fp);
}

static bool same_bytes(const struct fold_chunk *p, const struct fold_chunk *q)
{
    return fold_kernels()->compare(p->data, q->data, p->len) == p->len;
}

/* Equal pieces of one batch are stored once: the later ones follow the first. */
static void find_twins(struct fold_dedup *d, struct batch *b)
{
    uint16_t slots[TWIN_SLOTS];
    memset(slots, 0xff, sizeof slots);
    for (size_t i = 0; i < b->n; i++) {
        struct fold_chunk *p = &b->pieces[i];
        b->twin[i] = (uint16_t)i;
        b->collided[i] = false;
        size_t h = p->fp.w[1] % TWIN_SLOTS;
        for (; slots[h] != 0xffff; h = (h + 1) % TWIN_SLOTS) {
            struct fold_chunk *q = &b->pieces[slots[h]];
            if (!fold_fp_equal(&p->fp, &q->fp))
                continue;
            if (p->len == q->len && (fold_hasher_trusted(&d->hasher) || same_bytes(p, q))) {
                b->twin[i] = slots[h];
                b->verified += fold_hasher_trusted(&d->hasher) ? 0 : p->len;
            } else {
                b->collided[i] = true; /* kept apart from its namesake */
            }
            break;
        }
        if (slots[h] == 0xffff)
            slots[h] = (uint16_t)i;
    }
}

/* Under a cryptographic fingerprint only sees to it that the stored copy is whole. */
static int look_at_hit(struct fold_dedup *d, struct fold_loc loc)
{
    struct fold_view view;
    int rc = fold_store_view(d->store, loc, &view);
    if (rc == 0)
        fold_store_unview(d->store, &view);
    return rc;
}

/* Looks at the stored copies of n hits: compares bytes, all in one pass. */
static void look_at_hits(struct fold_dedup *d, struct fold_match *hits, size_t n)
{
    if (!fold_hasher_trusted(&d->hasher)) {
        fold_store_compare_batch(d->store, hits, n);
        return;
    }
    for (size_t k = 0; k < n; k++) {
        hits[k].rc = look_at_hit(d, hits[k].loc);
        hits[k].equal = hits[k].rc == 0;
    }
}

/* Believes a hit only as it was looked at; heals a damaged copy from the good bytes at hand. */
static int settle_hit(struct fold_dedup *d, struct batch *b, size_t i, const struct fold_match *hit)
{
    struct fold_chunk *p = &b->pieces[i];
    bool equal = hit->equal;
    int rc = hit->rc;
    if (rc == -FOLD_E_BAD_RECORD || rc == -FOLD_E_LOST_CHUNK || rc == -EIO) {
        rc = fold_store_heal(d->store, hit->loc, p->data, p->len, &p->fp);
        equal = rc == 0;
        if (equal)
            add(&d->count.healed, 1);
        else if (rc == -EEXIST)
            rc = 0; /* a collision, after all */
    }
    if (rc != 0)
        return rc;
    if (!fold_hasher_trusted(&d->hasher))
        b->verified += p->len;
    if (equal) {
        p->loc = hit->loc;
        p->duplicate = true;
        b->duplicate += p->len;
    } else {
        add(&d->count.collisions, 1);
        b->collided[i] = true;
        b->fresh[b->fresh_count++] = (uint16_t)i;
    }
    return 0;
}

static struct fold_match match_of(const struct fold_chunk *p, struct fold_loc loc)
{
    return (struct fold_match){.loc = loc, .data = p->data, .len = p->len};
}

/* Asks the store for n pieces that the filter may have seen, and looks at what it knows. */
static int settle_maybe(struct fold_dedup *d, struct batch *b, const struct fold_fp *const *fps,
                        const uint16_t *who, size_t n, bool ready)
{
    struct fold_loc locs[FOLD_DEDUP_BATCH];
    enum fold_hit kinds[FOLD_DEDUP_BATCH];
    struct fold_match hits[FOLD_DEDUP_BATCH];
    uint16_t known[FOLD_DEDUP_BATCH];
    size_t count = 0;
    int rc = fold_store_find(d->store, fps, n, true, locs, kinds);
    if (rc != 0)
        return rc;
    for (size_t k = 0; k < n; k++) {
        b->locality += kinds[k] == FOLD_HIT_LOCALITY;
        b->lookups += kinds[k] == FOLD_HIT_INDEX || kinds[k] == FOLD_HIT_NONE;
        if (kinds[k] == FOLD_HIT_NONE) {
            b->false_positives += ready;
            b->fresh[b->fresh_count++] = who[k];
        } else {
            known[count] = who[k];
            hits[count++] = match_of(&b->pieces[who[k]], locs[k]);
        }
    }
    look_at_hits(d, hits, count);
    for (size_t k = 0; rc == 0 && k < count; k++)
        rc = settle_hit(d, b, known[k], &hits[k]);
    return rc;
}

static int look_up(struct fold_dedup *d, struct batch *b)
{
    struct fold_fp fps[FOLD_DEDUP_BATCH];
    uint16_t who[FOLD_DEDUP_BATCH];
    uint64_t maybe[FOLD_DEDUP_BATCH / 64] = {0};
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (b->twin[i] != i)
            continue;
        if (b->collided[i]) {
            b->fresh[b->fresh_count++] = (uint16_t)i;
            continue;
        }
        fps[n] = b->pieces[i].fp;
        who[n++] = (uint16_t)i;
    }
    if (n == 0)
        return 0;
    bool ready = atomic_load(&d->ready);
    if (ready) {
        fold_filter_probe(d->filter, fps, n, maybe);
        add(&d->count.probes, n);
    } else {
        memset(maybe, 0xff, sizeof maybe);
    }
    const struct fold_fp *ask[FOLD_DEDUP_BATCH];
    uint16_t asked[FOLD_DEDUP_BATCH];
    size_t m = 0;
    for (size_t k = 0; k < n; k++) {
        if ((maybe[k / 64] >> (k % 64) & 1) != 0) {
            ask[m] = &fps[k];
            asked[m++] = who[k];
        } else {
            b->fresh[b->fresh_count++] = who[k];
        }
    }
    add(&d->count.negatives, n - m);
    return m > 0 ? settle_maybe(d, b, ask, asked, m, ready) : 0;
}

/* A put that found its fingerprint stored by another thread is a hit like any other. */
static int settle_race(struct fold_dedup *d, struct batch *b, size_t i, struct fold_loc loc)
{
    size_t before = b->fresh_count;
    struct fold_match hit = match_of(&b->pieces[i], loc);
    look_at_hits(d, &hit, 1);
    int rc = settle_hit(d, b, i, &hit);
    if (rc != 0 || b->fresh_count == before)
        return rc;
    b->fresh_count = before;
    struct fold_put put = {
        .data = b->pieces[i].data, .len = b->pieces[i].len, .fp = b->pieces[i].fp, .force = true};
    rc = fold_store_put(d->store, &put, 1);
    if (rc == 0)
        b->pieces[i].loc = put.loc;
    return rc;
}

static int put_fresh(struct fold_dedup *d, struct batch *b)
{
    struct fold_put puts[FOLD_DEDUP_BATCH];
    size_t n = b->fresh_count;
    for (size_t k = 0; k < n; k++) {
        const struct fold_chunk *p = &b->pieces[b->fresh[k]];
        puts[k] = (struct fold_put){
            .data = p->data, .len = p->len, .fp = p->fp, .force = b->collided[b->fresh[k]]};
    }
    int rc = n > 0 ? fold_store_put(d->store, puts, n) : 0;
    /* Some may be stored: a collection will find them unused, and make the filter forget them. */
    for (size_t k = 0; rc != 0 && k < n; k++)
        if (!puts[k].force)
            fold_dedup_learn(d, &puts[k].fp);
    if (rc != 0)
        return rc;
    for (size_t k = 0; k < n; k++) {
        size_t i = b->fresh[k];
        if (puts[k].found) {
            rc = settle_race(d, b, i, puts[k].loc);
            if (rc != 0)
                return rc;
            continue;
        }
        b->pieces[i].loc = puts[k].loc;
        if (!b->collided[i])
            fold_dedup_learn(d, &puts[k].fp);
    }
    return 0;
}

int fold_dedup_store(struct fold_dedup *d, struct fold_chunk *pieces, size_t n)
{
    assert(n <= FOLD_DEDUP_BATCH);
    struct batch b = {.pieces = pieces, .n = n};
    for (size_t i = 0; i < n; i++)
        pieces[i].duplicate = false;
    find_twins(d, &b);
    int rc = look_up(d, &b);
    if (rc == 0)
        rc = put_fresh(d, &b);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        if (b.twin[i] == i)
            continue;
        pieces[i].loc = pieces[b.twin[i]].loc;
        pieces[i].duplicate = true;
        b.duplicate += pieces[i].len;
    }
    add(&d->count.duplicate, b.duplicate);
    add(&d->count.verified, b.verified);
    add(&d->count.locality, b.locality);
    add(&d->count.lookups, b.lookups);
    add(&d->count.false_positives, b.false_positives);
    return 0;
}

void fold_dedup_forget(struct fold_dedup *d, const struct fold_fp *fp)
{
    (void)fold_filter_delete(d->filter, fp);
}

void fold_dedup_learn(struct fold_dedup *d, const struct fold_fp *fp)
{
    /* A filter that cannot grow answers "maybe" to everything by itself. */
    if (fold_filter_insert(d->filter, fp) != 0)
        fold_warn("the filter could not grow; lookups go to the index");
}

void fold_dedup_note(struct fold_dedup *d, uint64_t bytes_in, uint64_t zero_bytes)
{
    add(&d->count.bytes_in, bytes_in);
    add(&d->count.zero, zero_bytes);
}

void fold_dedup_counts(const struct fold_dedup *d, struct fold_ingest_counts *out)
{
    const struct counters *c = &d->count;
    *out = (struct fold_ingest_counts){
        .bytes_in = atomic_load(&c->bytes_in),
        .zero_bytes = atomic_load(&c->zero),
        .duplicate_bytes = atomic_load(&c->duplicate),
        .verified_bytes = atomic_load(&c->verified),
        .filter_probes = atomic_load(&c->probes),
        .filter_negatives = atomic_load(&c->negatives),
        .filter_false_positives = atomic_load(&c->false_positives),
        .locality_hits = atomic_load(&c->locality),
        .index_lookups = atomic_load(&c->lookups),
        .collisions = atomic_load(&c->collisions),
        .healed = atomic_load(&c->healed),
    };
}
