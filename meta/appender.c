/* SPDX-License-Identifier: MIT */
/*
 * Chunks are taken in windows that one write can carry. Of each window compression and checksums
 * come first, without any lock; then, under the lock of one open segment: look each fingerprint up
 * once more (another thread may have stored it meanwhile), append, enter the open index. A location
 * becomes known only after its record is in the file. A writer takes the first place that is free,
 * so that a lone writer fills one segment and its fsync has one file to flush.
 */
#include "meta/appender.h"

#include "meta/base/err.h"
#include "meta/base/lock.h"
#include "meta/base/log.h"
#include "meta/codec.h"

#include <assert.h>
#include <errno.h>

#define WINDOW_BYTES FOLD_CHUNK_MAX_BYTES
#define SEEN_SLOTS   (2u * FOLD_SEGMENT_BATCH)

struct place {
    struct fold_lock lock;
    struct fold_segment *seg; /* guarded by lock; NULL until the first record */
};

struct fold_appender {
    struct fold_appender_parts parts;
    _Atomic unsigned turn; /* which place a writer waits for when none is free */
    struct place place[FOLD_APPENDERS_MAX];
};

/* Chunks on their way into a segment; a window is at most FOLD_SEGMENT_BATCH of them. */
struct window {
    struct fold_put *puts;
    size_t n;
    struct fold_piece piece[FOLD_SEGMENT_BATCH];
    /* After the look-up: the pieces that are new, and which put each one is. */
    size_t fresh;
    uint8_t put_of[FOLD_SEGMENT_BATCH];
    /* Fingerprints seen in this window: put number + 1, 0 = empty. */
    uint8_t seen[SEEN_SLOTS];
    uint8_t same_as[FOLD_SEGMENT_BATCH]; /* put number + 1 of the equal chunk before it */
};

int fold_appender_create(const struct fold_appender_parts *parts, struct fold_appender **out)
{
    struct fold_appender *a = calloc(1, sizeof *a);
    if (a == NULL)
        return -ENOMEM;
    assert(parts->count >= 1 && parts->count <= FOLD_APPENDERS_MAX);
    a->parts = *parts;
    for (unsigned i = 0; i < parts->count; i++)
        fold_lock_init(&a->place[i].lock, FOLD_RANK_APPEND, "append");
    *out = a;
    return 0;
}

void fold_appender_destroy(struct fold_appender *a)
{
    if (a == NULL)
        return;
    for (unsigned i = 0; i < a->parts.count; i++) {
        fold_segment_unref(a->place[i].seg);
        fold_lock_fini(&a->place[i].lock);
    }
    free(a);
}

bool fold_appender_resume(struct fold_appender *a, struct fold_segment *seg)
{
    for (unsigned i = 0; i < a->parts.count; i++) {
        struct place *pl = &a->place[i];
        fold_lock_take(&pl->lock);
        bool free_place = pl->seg == NULL;
        if (free_place)
            pl->seg = seg;
        fold_lock_drop(&pl->lock);
        if (free_place)
            return true;
    }
    return false;
}

static struct place *place_take(struct fold_appender *a) FOLD_NO_ANALYSIS
{
    unsigned count = a->parts.count;
    for (unsigned i = 0; i < count; i++)
        if (fold_lock_try(&a->place[i].lock))
            return &a->place[i];
    unsigned i = atomic_fetch_add_explicit(&a->turn, 1, memory_order_relaxed) % count;
    fold_lock_take(&a->place[i].lock);
    return &a->place[i];
}

static void place_drop(struct place *pl) FOLD_NO_ANALYSIS
{
    fold_lock_drop(&pl->lock);
}

/* How many leading puts make a window. */
static size_t window_len(const struct fold_put *puts, size_t n)
{
    size_t bytes = 0;
    size_t k = 0;
    while (k < n && k < FOLD_SEGMENT_BATCH && (k == 0 || bytes + puts[k].len <= WINDOW_BYTES))
        bytes += puts[k++].len;
    return k;
}

/* Compresses and checksums the window; the output lies in this thread's scratch memory. */
static int window_prepare(const struct fold_appender *a, struct window *w)
{
    size_t used = 0;
    uint8_t *scratch = NULL;
    struct fold_codec_run run = {0};
    if (a->parts.codec != FOLD_CODEC_NONE) {
        scratch = fold_codec_scratch(FOLD_SCRATCH_PUT, WINDOW_BYTES);
        if (scratch == NULL)
            return -ENOMEM;
    }
    for (size_t i = 0; i < w->n; i++) {
        const struct fold_put *put = &w->puts[i];
        struct fold_piece *p = &w->piece[i];
        size_t stored = 0;
        if (put->len == 0 || put->len > FOLD_CHUNK_MAX_BYTES)
            return -EINVAL;
        if (scratch != NULL)
            stored = fold_codec_compress_next(&run, a->parts.codec, a->parts.level, put->data,
                                              put->len, scratch + used);
        p->payload = stored > 0 ? scratch + used : put->data;
        used += stored;
        p->rec = (struct fold_rec){
            .codec = (uint8_t)(stored > 0 ? a->parts.codec : FOLD_CODEC_NONE),
            .raw_len = put->len,
            .stored_len = (uint32_t)(stored > 0 ? stored : put->len),
            .fp = put->fp,
        };
        p->rec.payload_crc = fold_rec_payload_crc(p->payload, p->rec.stored_len);
    }
    return 0;
}

/* Number + 1 of an equal chunk earlier in the window; otherwise remembers this one and returns 0.
 */
static unsigned seen_before(struct window *w, size_t i)
{
    const struct fold_put *put = &w->puts[i];
    size_t at = (size_t)put->fp.w[0] % SEEN_SLOTS;
    for (; w->seen[at] != 0; at = (at + 1) % SEEN_SLOTS) {
        const struct fold_put *other = &w->puts[w->seen[at] - 1];
        if (fold_fp_equal(&other->fp, &put->fp) && other->len == put->len &&
            memcmp(other->data, put->data, put->len) == 0)
            return w->seen[at];
    }
    w->seen[at] = (uint8_t)(i + 1);
    return 0;
}

/* True if another thread has stored these very bytes and they read back well. */
static bool stored_meanwhile(struct fold_appender *a, struct fold_put *put)
{
    struct fold_loc loc;
    struct fold_fp there;
    bool equal;
    if (!fold_openindex_find(a->parts.open, &put->fp, &loc))
        return false;
    if (a->parts.fp_width == 32 &&
        (fold_reader_fp(a->parts.reader, loc, &there) < 0 || !fold_fp_equal(&there, &put->fp)))
        return false;
    if (fold_reader_compare(a->parts.reader, loc, put->data, put->len, &equal) < 0 || !equal)
        return false;
    put->loc = loc;
    put->found = true;
    return true;
}

/* Drops what is stored already from the window. */
static void window_sift(struct fold_appender *a, struct window *w, bool anew)
{
    w->fresh = 0;
    memset(w->seen, 0, sizeof w->seen);
    for (size_t i = 0; i < w->n; i++) {
        w->puts[i].found = false;
        w->same_as[i] = (uint8_t)seen_before(w, i);
        bool look = !anew && !w->puts[i].force;
        if (w->same_as[i] != 0 || (look && stored_meanwhile(a, &w->puts[i])))
            continue;
        w->put_of[w->fresh] = (uint8_t)i;
        w->piece[w->fresh] = w->piece[i];
        w->fresh++;
    }
}

static void hand_over(struct fold_appender *a, struct place *pl)
{
    fold_sealer_submit(a->parts.sealer, pl->seg);
    pl->seg = NULL;
}

/* Opens a segment for the place if it has none. */
static int place_ready(struct fold_appender *a, struct place *pl)
{
    struct fold_segment *seg;
    const struct fold_appender_parts *p = &a->parts;
    if (pl->seg != NULL)
        return 0;
    int rc = fold_segment_create(p->dirfd, p->set, p->fp_width, p->segment_bytes, &seg);
    if (rc < 0)
        return rc;
    rc = fold_barrier_add(p->barrier, seg, true);
    if (rc < 0) {
        fold_segment_unref(seg);
        return rc;
    }
    pl->seg = seg;
    return 0;
}

/* After a write error: on a full disk the segment goes on later; one the disk refuses is sealed as
 * it is. */
static void after_failure(struct fold_appender *a, struct place *pl, int rc)
{
    uint32_t count;
    fold_error("segment %08x: appending failed: %s", fold_segment_info(pl->seg)->ident.seg,
               fold_err_text(rc));
    (void)fold_segment_entries(pl->seg, &count);
    if (rc != -ENOSPC && rc != -EDQUOT && rc != -ENOMEM && count > 0)
        hand_over(a, pl);
}

/* Makes the appended pieces [from, to) known. */
static void publish(struct fold_appender *a, struct window *w, const struct place *pl, size_t from,
                    size_t to, bool anew)
{
    uint32_t seg = fold_segment_info(pl->seg)->ident.seg;
    for (size_t k = from; k < to; k++) {
        struct fold_put *put = &w->puts[w->put_of[k]];
        put->loc = (struct fold_loc){seg, w->piece[k].off};
        /* Without memory the chunk is only not found again before its segment is indexed. */
        if (fold_openindex_insert(a->parts.open, &put->fp, put->loc, anew) < 0)
            fold_warn("out of memory: a chunk may be stored twice");
    }
}

static int window_append(struct fold_appender *a, struct window *w, struct place *pl, bool anew)
{
    size_t at = 0;
    while (at < w->fresh) {
        size_t done;
        int rc = place_ready(a, pl);
        if (rc < 0)
            return rc;
        rc = fold_segment_append(pl->seg, &w->piece[at], w->fresh - at, &done);
        if (rc < 0) {
            after_failure(a, pl, rc);
            return rc;
        }
        publish(a, w, pl, at, at + done, anew);
        at += done;
        if (done == 0) {
            uint32_t count;
            (void)fold_segment_entries(pl->seg, &count);
            if (count == 0)
                return -EFBIG;
            hand_over(a, pl);
        }
    }
    return 0;
}

int fold_appender_put(struct fold_appender *a, struct fold_put *puts, size_t n, bool anew)
{
    struct window w;
    int rc = fold_sealer_throttle(a->parts.sealer);
    if (rc < 0)
        return rc;
    if (fold_barrier_error(a->parts.barrier) != 0)
        return -FOLD_E_SICK;
    for (size_t at = 0; at < n; at += w.n) {
        w.puts = &puts[at];
        w.n = window_len(w.puts, n - at);
        rc = window_prepare(a, &w);
        if (rc < 0)
            return rc;
        struct place *pl = place_take(a);
        window_sift(a, &w, anew);
        rc = window_append(a, &w, pl, anew);
        place_drop(pl);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < w.n; i++) {
            if (w.same_as[i] == 0)
                continue;
            w.puts[i].loc = w.puts[w.same_as[i] - 1].loc;
            w.puts[i].found = true;
        }
    }
    return 0;
}

void fold_appender_roll(struct fold_appender *a)
{
    for (unsigned i = 0; i < a->parts.count; i++) {
        struct place *pl = &a->place[i];
        uint32_t count = 0;
        fold_lock_take(&pl->lock);
        if (pl->seg != NULL)
            (void)fold_segment_entries(pl->seg, &count);
        if (count > 0)
            hand_over(a, pl);
        fold_lock_drop(&pl->lock);
    }
}
