/* SPDX-License-Identifier: MIT */
/*
 * Puts the parts of the blob area together and opens and closes them in order. The work is done by
 * appender (way in), reader (way out), barrier (durability) and sealer (background); what is left
 * here is looking fingerprints up, healing, and reporting.
 */
#include "meta/store.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/gaps.h"
#include "meta/segopen.h"
#include "meta/shadow.h"
#include "meta/storeparts.h"

#include <errno.h>
#include <fcntl.h>

int fold_store_format(int storefd)
{
    int rc = fold_io_mkdir(storefd, "segments", 0700);
    if (rc == 0)
        rc = fold_index_format(storefd);
    return rc < 0 ? rc : fold_io_fsync(storefd);
}

static void set_defaults(struct fold_store_options *opt)
{
    if (opt->segment_bytes == 0)
        opt->segment_bytes = FOLD_SEG_DEFAULT_BYTES;
    opt->segment_bytes = FOLD_MAX(opt->segment_bytes, FOLD_SEG_MIN_BYTES);
    opt->segment_bytes = FOLD_MIN(opt->segment_bytes, FOLD_SEG_MAX_BYTES) & ~(FOLD_SEG_ALIGN - 1);
    if (opt->locality_cache_bytes == 0)
        opt->locality_cache_bytes = fold_knobs.locality_bytes;
    if (opt->appenders == 0)
        opt->appenders = 2;
    opt->appenders = FOLD_MIN(opt->appenders, FOLD_APPENDERS_MAX);
}

static int open_index(struct fold_store *s, int storefd)
{
    int rc = fold_index_open(storefd, s->opt.index_cache_bytes, s->opt.read_only, &s->index);
    if (rc < 0 && s->opt.read_only && rc != -ENOMEM) {
        fold_warn("the fingerprint index cannot be opened (%s); reading goes on without it",
                  fold_err_text(rc));
        return 0;
    }
    return rc;
}

static int open_writers(struct fold_store *s)
{
    if (s->opt.read_only)
        return 0;
    int rc = fold_sealer_start(s->barrier, s->open, s->index, &s->sealer);
    if (rc < 0)
        return rc;
    struct fold_appender_parts parts = {
        .dirfd = s->dirfd,
        .set = s->set,
        .open = s->open,
        .reader = s->reader,
        .barrier = s->barrier,
        .sealer = s->sealer,
        .fp_width = (uint8_t)s->opt.fp_width,
        .segment_bytes = s->opt.segment_bytes,
        .codec = s->opt.codec,
        .level = s->opt.codec_level,
        .count = s->opt.appenders,
    };
    return fold_appender_create(&parts, &s->appender);
}

static int open_parts(struct fold_store *s, int storefd)
{
    const struct fold_shadow *overlay = s->opt.overlay;
    s->dirfd = fold_io_open(storefd, "segments", O_RDONLY | O_DIRECTORY, 0);
    int rc = FOLD_MIN(s->dirfd, 0);
    if (rc == 0)
        rc = fold_segset_create(&s->set);
    if (rc == 0)
        rc = fold_segmap_create(s->dirfd, overlay, fold_knobs.segment_maps, &s->map);
    if (rc == 0)
        rc = fold_forward_open(s->dirfd, &s->forward);
    if (rc == 0)
        rc = fold_reader_create(s->set, s->map, s->forward, s->opt.verify, &s->reader);
    if (rc == 0)
        rc = fold_openindex_create(&s->open);
    if (rc == 0)
        rc = fold_locality_create(s->opt.locality_cache_bytes, &s->locality);
    if (rc == 0)
        rc = fold_barrier_create(s->dirfd, &s->barrier);
    if (rc == 0)
        rc = open_index(s, storefd);
    if (rc == 0)
        rc = open_writers(s);
    if (rc < 0)
        return rc;
    FOLD_AUTO(close) int over = -1;
    if (overlay != NULL) {
        over = fold_io_open(AT_FDCWD, fold_shadow_path(overlay), O_RDONLY | O_DIRECTORY, 0);
        if (over < 0)
            return over;
    }
    struct fold_segopen o = {
        .dirfd = over >= 0 ? over : s->dirfd,
        .fp_width = (uint8_t)s->opt.fp_width,
        .set = s->set,
        .index = s->index,
        .open = s->open,
        .barrier = s->barrier,
        .sealer = s->sealer,
        .appender = s->appender,
    };
    return fold_segopen_run(&o);
}

int fold_store_open(int storefd, const struct fold_store_options *opt, struct fold_store **out)
{
    if (opt->fp_width != 16 && opt->fp_width != 32)
        return -EINVAL;
    struct fold_store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -ENOMEM;
    s->opt = *opt;
    s->dirfd = -1;
    set_defaults(&s->opt);
    int rc = open_parts(s, storefd);
    if (rc < 0) {
        (void)fold_store_close(s, false);
        return rc;
    }
    *out = s;
    return 0;
}

int fold_store_close(struct fold_store *s, bool clean)
{
    int rc = 0;
    if (s == NULL)
        return 0;
    if (clean && s->appender != NULL) {
        fold_appender_roll(s->appender);
        rc = fold_sealer_flush(s->sealer);
        int lasting = fold_barrier_sync(s->barrier);
        rc = rc < 0 ? rc : lasting;
    }
    fold_sealer_stop(s->sealer);
    fold_appender_destroy(s->appender);
    fold_barrier_destroy(s->barrier);
    fold_reader_destroy(s->reader);
    fold_segmap_destroy(s->map);
    fold_forward_close(s->forward);
    fold_locality_destroy(s->locality);
    fold_openindex_destroy(s->open);
    fold_index_close(s->index);
    fold_segset_destroy(s->set);
    if (s->dirfd >= 0)
        (void)close(s->dirfd);
    free(s);
    return rc;
}

int fold_store_put(struct fold_store *s, struct fold_put *puts, size_t n)
{
    if (s->appender == NULL)
        return -EROFS;
    return fold_appender_put(s->appender, puts, n, false);
}

/* The place of a hit after forwarding, if it can be read and really is the chunk asked for. */
static bool accept(struct fold_store *s, const struct fold_fp *fp, struct fold_loc *loc)
{
    struct fold_loc to = fold_forward_resolve(s->forward, *loc);
    const struct fold_seg *seg = fold_segset_get(s->set, to.seg);
    if (seg == NULL || atomic_load(&seg->state) == FOLD_SEG_GONE || atomic_load(&seg->condemned) ||
        to.off >= atomic_load_explicit(&seg->data_end, memory_order_acquire) ||
        fold_gaps_cover(atomic_load(&seg->doomed), to.off))
        return false;
    if (s->opt.fp_width == 32) {
        struct fold_fp there;
        if (fold_reader_fp(s->reader, to, &there) < 0 || !fold_fp_equal(&there, fp))
            return false;
    }
    *loc = to;
    /* A collection that is under way learns of the new use here; the caller is inside the gate. */
    struct fold_livemap *live = atomic_load(&s->live);
    if (live != NULL)
        fold_livemap_mark(live, to);
    return true;
}

/* After an index hit: brings the list of the segment in if hits there repeat. */
static bool load_list(struct fold_store *s, uint32_t seg)
{
    struct fold_seg_entry *entries;
    uint32_t count;
    if (!fold_locality_wants(s->locality, seg))
        return false;
    if (fold_reader_table(s->reader, seg, &entries, &count) < 0)
        return false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!fold_seg_entry_gone(&entries[i]))
            entries[kept++] = entries[i];
    fold_locality_load(s->locality, seg, entries, kept);
    free(entries);
    return true;
}

/* Marks what locality found among [from, n). */
static void ask_locality(struct fold_store *s, const struct fold_fp *const *fps, size_t from,
                         size_t n, struct fold_loc *locs, enum fold_hit *hits)
{
    if (fold_locality_find(s->locality, fps + from, n - from, locs + from) == 0)
        return;
    for (size_t i = from; i < n; i++) {
        if (hits[i] != FOLD_HIT_NONE || locs[i].seg == 0)
            continue;
        if (accept(s, fps[i], &locs[i]))
            hits[i] = FOLD_HIT_LOCALITY;
        else
            locs[i].seg = 0;
    }
}

/* Says once what is wrong with the index; true. */
static bool index_sick(struct fold_store *s, int rc)
{
    if (!atomic_exchange(&s->index_sick, true))
        fold_warn("the fingerprint index cannot be read everywhere (%s): duplicates may be missed; "
                  "fsck --repair builds it anew",
                  fold_err_text(rc));
    return true;
}

/* One index lookup at a time: the first hits bring in the list that answers the rest. */
static int ask_index_for(struct fold_store *s, const struct fold_fp *const *fps, size_t n,
                         struct fold_loc *locs, enum fold_hit *hits)
{
    for (size_t i = 0; i < n; i++) {
        struct fold_loc loc;
        if (hits[i] != FOLD_HIT_NONE)
            continue;
        int rc = fold_index_get(s->index, fps[i], &loc);
        if (rc == -ENOENT)
            continue;
        /* The index is derived data: where it is damaged, chunks are stored once more. */
        if ((rc == -FOLD_E_BAD_CATALOG || rc == -FOLD_E_CATALOG_IO) && index_sick(s, rc))
            continue;
        if (rc < 0)
            return rc;
        uint32_t seg = loc.seg;
        if (!accept(s, fps[i], &loc))
            continue;
        locs[i] = loc;
        hits[i] = FOLD_HIT_INDEX;
        if (load_list(s, seg))
            ask_locality(s, fps, i + 1, n, locs, hits);
    }
    return 0;
}

int fold_store_find(struct fold_store *s, const struct fold_fp *const *fps, size_t n,
                    bool ask_index, struct fold_loc *locs, enum fold_hit *hits)
{
    size_t open = 0;
    for (size_t i = 0; i < n; i++) {
        hits[i] = FOLD_HIT_NONE;
        if (fold_openindex_find(s->open, fps[i], &locs[i]) && accept(s, fps[i], &locs[i])) {
            hits[i] = FOLD_HIT_OPEN;
            open++;
        } else {
            locs[i] = (struct fold_loc){0, 0};
        }
    }
    if (open < n)
        ask_locality(s, fps, 0, n, locs, hits);
    if (!ask_index || s->index == NULL)
        return 0;
    return ask_index_for(s, fps, n, locs, hits);
}

int fold_store_view(struct fold_store *s, struct fold_loc loc, struct fold_view *out)
{
    return fold_reader_view(s->reader, loc, out);
}

void fold_store_unview(struct fold_store *s, struct fold_view *v)
{
    fold_reader_unview(s->reader, v);
}

void fold_store_view_dup(struct fold_store *s, const struct fold_view *v, struct fold_view *out)
{
    fold_reader_view_dup(s->reader, v, out);
}

int fold_store_decode(struct fold_store *s, const struct fold_view *v, void *dst)
{
    return fold_reader_decode(s->reader, v, dst);
}

int fold_store_compare(struct fold_store *s, struct fold_loc loc, const void *data, uint32_t len,
                       bool *equal)
{
    return fold_reader_compare(s->reader, loc, data, len, equal);
}

void fold_store_compare_batch(struct fold_store *s, struct fold_match *m, size_t n)
{
    fold_reader_compare_batch(s->reader, m, n);
}

struct fold_loc fold_store_where(struct fold_store *s, struct fold_loc loc)
{
    return fold_forward_resolve(s->forward, loc);
}

void fold_store_prefetch(struct fold_store *s, struct fold_loc loc, uint32_t bytes)
{
    fold_reader_prefetch(s->reader, loc, bytes);
}

/* The new record is durable before anything points to it; the open index, later the index, then
 * name it directly. */
int fold_store_heal(struct fold_store *s, struct fold_loc loc, const void *data, uint32_t len,
                    const struct fold_fp *fp)
{
    if (s->appender == NULL)
        return -EROFS;
    bool equal;
    struct fold_loc old = fold_forward_resolve(s->forward, loc);
    if (fold_reader_compare(s->reader, old, data, len, &equal) == 0 && equal)
        return 0; /* healed by somebody else meanwhile */
    uint32_t raw_len, record_bytes;
    if (fold_reader_sizes(s->reader, old, &raw_len, &record_bytes) == 0 && raw_len != len)
        return -EEXIST;
    struct fold_put put = {.data = data, .len = len, .fp = *fp};
    int rc = fold_appender_put(s->appender, &put, 1, true);
    if (rc == 0)
        rc = fold_barrier_sync(s->barrier);
    struct fold_forward_entry entry = {old.off, put.loc};
    if (rc == 0)
        rc = fold_forward_add(s->forward, old.seg, &entry, 1);
    if (rc < 0)
        return rc;
    atomic_fetch_add(&s->healed, 1);
    fold_warn("segment %08x offset %u: healed from the same content, now at segment %08x offset %u",
              old.seg, old.off, put.loc.seg, put.loc.off);
    return 0;
}

int fold_store_sync(struct fold_store *s)
{
    return s->appender != NULL ? fold_barrier_sync(s->barrier) : 0;
}

int fold_store_unlogged(struct fold_store *s, void *buf, size_t cap, size_t *len,
                        struct fold_dep marks[FOLD_STORE_MAX_DEPS], size_t *count)
{
    return fold_barrier_unlogged(s->barrier, buf, cap, len, marks, count);
}

void fold_store_logged(struct fold_store *s, const struct fold_dep *marks, size_t count)
{
    fold_barrier_logged(s->barrier, marks, count);
}

int fold_store_deps(struct fold_store *s, struct fold_dep deps[FOLD_STORE_MAX_DEPS], size_t *count)
{
    *count = 0;
    return s->appender != NULL ? fold_barrier_deps(s->barrier, deps, count) : 0;
}

bool fold_store_holds(struct fold_store *s, struct fold_dep dep)
{
    const struct fold_seg *seg = fold_segset_get(s->set, dep.seg);
    if (seg == NULL || atomic_load(&seg->state) == FOLD_SEG_GONE)
        return fold_forward_has(s->forward, dep.seg);
    return dep.end <= atomic_load(&seg->whole_end);
}

int fold_store_each(struct fold_store *s, fold_store_fp_fn fn, void *arg)
{
    int rc = 0;
    if (s->sealer != NULL)
        fold_sealer_hold(s->sealer);
    if (s->index != NULL)
        rc = fold_index_each(s->index, fn, arg);
    if (rc == 0)
        rc = fold_openindex_each(s->open, fn, arg);
    if (s->sealer != NULL)
        fold_sealer_release(s->sealer);
    return rc;
}

void fold_store_info(struct fold_store *s, struct fold_store_info *out)
{
    struct fold_segset_totals t;
    fold_segset_totals(s->set, &t);
    *out = (struct fold_store_info){
        .chunks = t.chunks,
        .raw_bytes = t.raw_bytes,
        .stored_bytes = t.stored_bytes,
        .segment_bytes = t.occupied_bytes,
        .index_bytes = s->index != NULL ? fold_index_bytes(s->index) : 0,
        .segments = t.segments,
        .open_segments = t.open,
        .damaged = fold_reader_damaged(s->reader),
        .healed = atomic_load(&s->healed),
        .garbage_bytes = atomic_load(&s->garbage),
    };
}

uint64_t fold_store_stamp(struct fold_store *s)
{
    struct fold_segset_totals t;
    fold_segset_totals(s->set, &t);
    return t.stamp;
}
