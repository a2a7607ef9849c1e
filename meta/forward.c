/* SPDX-License-Identifier: MIT */
/*
 * Tables are sorted arrays, hashed by segment number with chains; they are immutable once
 * published, and replaced as a whole under `lock`. `maybe` counts tables per residue class of
 * segment numbers and is read without a lock first, so that the common case, no table at all, costs
 * one load. `change` serialises writers and is held across the file write; readers never wait for
 * it.
 */
#include "meta/forward.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/lock.h"
#include "meta/base/log.h"
#include "meta/segfmt.h"
#include "meta/smallfile.h"

#include <errno.h>
#include <stdatomic.h>

#define MAGIC       UINT64_C(0x31445746444c4f46) /* "FOLDFWD1" */
#define SUFFIX      ".fwd"
#define HEAD_BYTES  4u
#define ENTRY_BYTES 12u
#define MAYBE       16384u
#define BUCKETS     1024u
#define MAX_FILE    (256u << 20)

struct table {
    struct table *next;
    uint32_t seg;
    uint32_t count;
    struct fold_forward_entry entry[];
};

struct fold_forward {
    int dirfd;
    struct fold_lock change; /* writers; held across file writes */
    struct fold_rwlock lock; /* guards the hash */
    _Atomic uint16_t maybe[MAYBE];
    struct table *bucket[BUCKETS];
};

static struct table *table_alloc(uint32_t seg, size_t count)
{
    struct table *t = malloc(sizeof *t + count * sizeof t->entry[0]);
    if (t == NULL)
        return NULL;
    t->next = NULL;
    t->seg = seg;
    t->count = (uint32_t)count;
    return t;
}

static struct table **slot_of(struct fold_forward *f, uint32_t seg)
{
    struct table **at = &f->bucket[seg % BUCKETS];
    while (*at != NULL && (*at)->seg != seg)
        at = &(*at)->next;
    return at;
}

static const struct fold_forward_entry *search(const struct table *t, uint32_t off)
{
    size_t low = 0;
    size_t high = t->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->entry[mid].off < off)
            low = mid + 1;
        else
            high = mid;
    }
    return low < t->count && t->entry[low].off == off ? &t->entry[low] : NULL;
}

/* Puts `t` (or nothing) in the place of the segment's table; returns the old one. */
static struct table *publish(struct fold_forward *f, uint32_t seg, struct table *t)
{
    fold_rwlock_write(&f->lock);
    struct table **at = slot_of(f, seg);
    struct table *old = *at;
    if (old != NULL)
        *at = old->next;
    if (t != NULL) {
        at = slot_of(f, seg);
        t->next = *at;
        *at = t;
    }
    if (old == NULL && t != NULL)
        atomic_fetch_add(&f->maybe[seg % MAYBE], 1);
    if (old != NULL && t == NULL)
        atomic_fetch_sub(&f->maybe[seg % MAYBE], 1);
    fold_rwlock_drop(&f->lock);
    return old;
}

static int table_save(struct fold_forward *f, const struct table *t)
{
    char name[FOLD_SEG_NAME_BYTES];
    size_t len = FOLD_SMALLFILE_BYTES(HEAD_BYTES + (size_t)t->count * ENTRY_BYTES);
    FOLD_AUTO(free) uint8_t *buf = malloc(len);
    if (buf == NULL)
        return -ENOMEM;
    struct fold_wr w = fold_smallfile_begin(buf, len, MAGIC, t->seg);
    fold_wr_u32(&w, t->count);
    for (uint32_t i = 0; i < t->count; i++) {
        fold_wr_u32(&w, t->entry[i].off);
        fold_wr_u32(&w, t->entry[i].to.seg);
        fold_wr_u32(&w, t->entry[i].to.off);
    }
    fold_seg_file_name(t->seg, SUFFIX, name);
    return fold_smallfile_replace(&w, f->dirfd, name);
}

/* The content of the table of segment `seg`: 0, -FOLD_E_BAD_SEGMENT, -ENOMEM. */
static int table_decode(struct fold_rd *r, uint32_t seg, struct table **out)
{
    uint32_t count = fold_rd_u32(r);
    if (r->bad || fold_rd_left(r) != (size_t)count * ENTRY_BYTES)
        return -FOLD_E_BAD_SEGMENT;
    struct table *t = table_alloc(seg, count);
    if (t == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        t->entry[i].off = fold_rd_u32(r);
        t->entry[i].to.seg = fold_rd_u32(r);
        t->entry[i].to.off = fold_rd_u32(r);
        if (i > 0 && t->entry[i].off <= t->entry[i - 1].off) {
            free(t);
            return -FOLD_E_BAD_SEGMENT;
        }
    }
    *out = t;
    return 0;
}

static int table_load(const struct fold_forward *f, uint32_t seg, struct table **out)
{
    char name[FOLD_SEG_NAME_BYTES];
    FOLD_AUTO(free) void *data = NULL;
    struct fold_rd content;
    uint32_t named;
    fold_seg_file_name(seg, SUFFIX, name);
    int rc = fold_smallfile_load(f->dirfd, name, MAX_FILE, MAGIC, &data, &named, &content);
    if (rc < 0)
        return rc;
    return named == seg ? table_decode(&content, seg, out) : -FOLD_E_BAD_SEGMENT;
}

static int load_one(void *arg, const char *name)
{
    struct fold_forward *f = arg;
    uint32_t seg = fold_seg_file_parse(name, SUFFIX);
    struct table *t;
    if (seg == 0)
        return 0;
    int rc = table_load(f, seg, &t);
    if (rc == 0)
        free(publish(f, seg, t));
    else if (rc == -FOLD_E_BAD_SEGMENT)
        fold_error("forwarding table %s is damaged; chunks that moved away cannot be found", name);
    else
        return rc;
    return 0;
}

int fold_forward_open(int dirfd, struct fold_forward **out)
{
    struct fold_forward *f = calloc(1, sizeof *f);
    if (f == NULL)
        return -ENOMEM;
    f->dirfd = dirfd;
    fold_lock_init(&f->change, FOLD_RANK_STORE, "forward change");
    fold_rwlock_init(&f->lock, FOLD_RANK_LEAF, "forward");
    int rc = fold_io_list(dirfd, load_one, f);
    if (rc < 0) {
        fold_forward_close(f);
        return rc;
    }
    *out = f;
    return 0;
}

void fold_forward_close(struct fold_forward *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (f->bucket[i] != NULL) {
            struct table *t = f->bucket[i];
            f->bucket[i] = t->next;
            free(t);
        }
    }
    fold_rwlock_fini(&f->lock);
    fold_lock_fini(&f->change);
    free(f);
}

bool fold_forward_step(struct fold_forward *f, struct fold_loc *loc)
{
    if (FOLD_LIKELY(atomic_load_explicit(&f->maybe[loc->seg % MAYBE], memory_order_acquire) == 0))
        return false;
    fold_rwlock_read(&f->lock);
    const struct table *t = *slot_of(f, loc->seg);
    const struct fold_forward_entry *e = t != NULL ? search(t, loc->off) : NULL;
    struct fold_loc to = e != NULL ? e->to : *loc;
    fold_rwlock_drop(&f->lock);
    bool moved = !fold_loc_equal(to, *loc);
    *loc = to;
    return moved;
}

struct fold_loc fold_forward_resolve(struct fold_forward *f, struct fold_loc loc)
{
    for (unsigned hop = 0; hop < FOLD_FORWARD_HOPS && fold_forward_step(f, &loc); hop++)
        ;
    return loc;
}

int fold_forward_list(struct fold_forward *f, uint32_t **segs, size_t *count)
{
    size_t tables, entries;
    fold_lock_take(&f->change); /* no table comes or goes meanwhile */
    fold_forward_count(f, &tables, &entries);
    uint32_t *list = malloc((tables + 1) * sizeof *list);
    size_t n = 0;
    if (list != NULL) {
        fold_rwlock_read(&f->lock);
        for (size_t b = 0; b < BUCKETS; b++)
            for (const struct table *t = f->bucket[b]; t != NULL && n < tables; t = t->next)
                list[n++] = t->seg;
        fold_rwlock_drop(&f->lock);
    }
    fold_lock_drop(&f->change);
    if (list == NULL)
        return -ENOMEM;
    *segs = list;
    *count = n;
    return 0;
}

static int by_off(const void *a, const void *b)
{
    const struct fold_forward_entry *x = a;
    const struct fold_forward_entry *y = b;
    return x->off < y->off ? -1 : x->off > y->off;
}

/* The old table with the entries put in; NULL without memory. */
static struct table *merge(const struct table *old, uint32_t seg,
                           const struct fold_forward_entry *entries, size_t n)
{
    size_t old_count = old != NULL ? old->count : 0;
    struct table *t = table_alloc(seg, old_count + n);
    FOLD_AUTO(free) struct fold_forward_entry *fresh = malloc(n * sizeof *fresh);
    if (t == NULL || fresh == NULL) {
        free(t);
        return NULL;
    }
    memcpy(fresh, entries, n * sizeof *fresh);
    qsort(fresh, n, sizeof *fresh, by_off);
    size_t i = 0;
    size_t k = 0;
    t->count = 0;
    while (i < old_count || k < n) {
        if (k + 1 < n && fresh[k].off == fresh[k + 1].off) {
            k++;
            continue;
        }
        bool take_old = k == n || (i < old_count && old->entry[i].off < fresh[k].off);
        if (!take_old && i < old_count && old->entry[i].off == fresh[k].off)
            i++;
        t->entry[t->count++] = take_old ? old->entry[i++] : fresh[k++];
    }
    return t;
}

/* After a failed save: whether the file is the new one all the same, for lack of a durable name
 * only.
 */
static bool in_place(const struct fold_forward *f, const struct table *t)
{
    FOLD_AUTO(free) struct table *there = NULL;
    if (table_load(f, t->seg, &there) < 0)
        return false;
    return there->count == t->count &&
           memcmp(there->entry, t->entry, t->count * sizeof t->entry[0]) == 0;
}

int fold_forward_add(struct fold_forward *f, uint32_t seg, const struct fold_forward_entry *entries,
                     size_t n)
{
    if (n == 0)
        return 0;
    fold_lock_take(&f->change);
    fold_rwlock_read(&f->lock);
    struct table *t = merge(*slot_of(f, seg), seg, entries, n);
    fold_rwlock_drop(&f->lock);
    int rc = t != NULL ? table_save(f, t) : -ENOMEM;
    if (rc == 0 || (t != NULL && in_place(f, t)))
        t = publish(f, seg, t);
    free(t);
    fold_lock_drop(&f->change);
    return rc;
}

int fold_forward_retire(struct fold_forward *f, uint32_t seg)
{
    char name[FOLD_SEG_NAME_BYTES];
    fold_seg_file_name(seg, SUFFIX, name);
    fold_lock_take(&f->change);
    int rc = fold_io_unlink(f->dirfd, name);
    if (rc == 0 || rc == -ENOENT) {
        free(publish(f, seg, NULL));
        rc = 0;
    }
    fold_lock_drop(&f->change);
    return rc;
}

bool fold_forward_has(struct fold_forward *f, uint32_t seg)
{
    fold_rwlock_read(&f->lock);
    bool has = *slot_of(f, seg) != NULL;
    fold_rwlock_drop(&f->lock);
    return has;
}

void fold_forward_count(struct fold_forward *f, size_t *tables, size_t *entries)
{
    *tables = *entries = 0;
    fold_rwlock_read(&f->lock);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct table *t = f->bucket[i]; t != NULL; t = t->next) {
            (*tables)++;
            *entries += t->count;
        }
    }
    fold_rwlock_drop(&f->lock);
}
