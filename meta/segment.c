/* SPDX-License-Identifier: MIT */
/*
 * Order of a seal: the table is written behind the records, both are made durable, then the footer
 * is written and made durable. A valid footer therefore proves that all before it is on disk: a
 * table that does not fit its footer is damaged, not torn. An append that fails leaves the end
 * where it was; whatever reached the file beyond it is overwritten by the next append or cut by the
 * seal. Space is preallocated in steps ahead of the end, so that sealing seldom meets a full disk
 * and files stay contiguous; the remainder is given back when the segment is sealed.
 * `lock` guards the state of syncing and is never held across a system call; `syncing` lets one
 * thread in at a time, because the kernel reports a write-back error to the first fdatasync only.
 */
#include "meta/segment.h"

#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/lock.h"
#include "meta/base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>

struct fold_segment {
    struct fold_segset *set;
    struct fold_seg *info;
    int fd;
    _Atomic uint32_t refs;

    uint32_t end;       /* owner's */
    uint32_t allocated; /* owner's; preallocated up to here, UINT32_MAX: the host cannot */
    struct fold_seg_entry *entries; /* owner's */
    size_t entry_cap;
    bool tabled; /* owner's; the table of all entries was written */

    struct fold_lock lock;
    pthread_cond_t cond;
    bool syncing;            /* guarded by lock */
    bool table_pending;      /* the table was written and not synced; guarded by lock */
    _Atomic uint32_t synced; /* written under lock */
    _Atomic int failed;      /* written under lock */
    _Atomic uint32_t logged; /* below: also in the journal */
};

static struct fold_segment *segment_alloc(struct fold_segset *set, int fd)
{
    struct fold_segment *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->set = set;
    s->fd = fd;
    atomic_store(&s->refs, 1);
    fold_lock_init(&s->lock, FOLD_RANK_LEAF, "segment sync");
    fold_cond_init(&s->cond);
    return s;
}

void fold_segment_ref(struct fold_segment *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

void fold_segment_unref(struct fold_segment *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (s->fd >= 0)
        (void)close(s->fd);
    free(s->entries);
    (void)pthread_cond_destroy(&s->cond);
    fold_lock_fini(&s->lock);
    free(s);
}

/* Opens a new file under the next free number. */
static int create_file(int dirfd, struct fold_segset *set, uint32_t *seg)
{
    for (;;) {
        char name[FOLD_SEG_NAME_BYTES];
        *seg = fold_segset_reserve(set);
        if (*seg == 0)
            return -EOVERFLOW;
        fold_seg_name(*seg, name);
        int fd = fold_io_open(dirfd, name, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd != -EEXIST)
            return fd;
    }
}

static int write_header(int fd, const struct fold_seg_ident *id)
{
    uint8_t header[FOLD_SEG_HEADER_BYTES];
    fold_seg_header_encode(id, header);
    return fold_io_pwrite(fd, header, sizeof header, 0);
}

int fold_segment_create(int dirfd, struct fold_segset *set, uint8_t fp_width, uint32_t capacity,
                        struct fold_segment **out)
{
    struct fold_seg_ident id = {.fp_width = fp_width, .capacity = capacity};
    struct fold_segment *s = segment_alloc(set, -1);
    if (s == NULL)
        return -ENOMEM;
    if (getrandom(&id.salt, sizeof id.salt, 0) != (ssize_t)sizeof id.salt) {
        fold_segment_unref(s);
        return -EIO;
    }
    int rc = create_file(dirfd, set, &id.seg);
    if (rc >= 0) {
        s->fd = rc;
        rc = write_header(s->fd, &id);
        if (rc == 0 && (s->info = fold_segset_add(set, &id, FOLD_SEG_HEADER_BYTES)) == NULL)
            rc = -ENOMEM;
        if (rc < 0) {
            char name[FOLD_SEG_NAME_BYTES];
            fold_seg_name(id.seg, name);
            if (fold_io_unlink(dirfd, name) < 0)
                fold_warn("segment %08x: an empty file stays behind", id.seg);
        }
    }
    if (rc < 0) {
        fold_segment_unref(s);
        return rc;
    }
    s->end = FOLD_SEG_HEADER_BYTES;
    *out = s;
    return 0;
}

int fold_segment_adopt(int fd, struct fold_segset *set, const struct fold_seg_ident *id,
                       const struct fold_segment_content *content, struct fold_segment **out)
{
    struct fold_segment *s = segment_alloc(set, fd);
    if (s == NULL) {
        (void)close(fd);
        return -ENOMEM;
    }
    s->info = fold_segset_add(set, id, content->data_end);
    if (s->info == NULL) {
        fold_segment_unref(s);
        return -ENOMEM;
    }
    s->end = content->data_end;
    s->allocated = content->data_end;
    s->entries = content->entries;
    s->entry_cap = content->count;
    atomic_store(&s->info->whole_end, content->whole_end);
    atomic_store(&s->info->count, content->count);
    atomic_store(&s->info->raw_bytes, content->raw_bytes);
    atomic_store(&s->info->stored_bytes, content->stored_bytes);
    *out = s;
    return 0;
}

struct fold_segment *fold_segment_wrap(struct fold_segset *set, uint32_t seg,
                                       struct fold_seg_entry *entries)
{
    struct fold_segment *s = segment_alloc(set, -1);
    if (s == NULL)
        return NULL;
    s->info = fold_segset_get(set, seg);
    s->entries = entries;
    assert(s->info != NULL && atomic_load(&s->info->state) == FOLD_SEG_SEALED);
    return s;
}

const struct fold_seg *fold_segment_info(const struct fold_segment *s)
{
    return s->info;
}

const struct fold_seg_entry *fold_segment_entries(const struct fold_segment *s, uint32_t *count)
{
    *count = atomic_load(&s->info->count);
    return s->entries;
}

/* How many leading pieces fit, with table and footer behind them; sets their places and the end
 * after them. */
static size_t fit(const struct fold_segment *s, struct fold_piece *pieces, size_t n, uint32_t *end)
{
    const struct fold_seg_ident *id = &s->info->ident;
    uint32_t count = atomic_load(&s->info->count);
    uint32_t at = s->end;
    size_t k = 0;
    while (k < n && k < FOLD_SEGMENT_BATCH) {
        uint64_t next = (uint64_t)at + fold_rec_bytes(id->fp_width, pieces[k].rec.stored_len);
        if (next > id->capacity ||
            fold_seg_sealed_bytes((uint32_t)next, count + (uint32_t)k + 1) > id->capacity)
            break;
        pieces[k++].off = at;
        at = (uint32_t)next;
    }
    *end = at;
    return k;
}

/* Reserves disk space ahead of `end`. A hint: without it the write itself meets the full disk. */
static void preallocate(struct fold_segment *s, uint32_t end)
{
    if (end <= s->allocated)
        return;
    uint64_t from = FOLD_MAX(s->allocated, s->end);
    uint32_t capacity = s->info->ident.capacity;
    uint64_t to = FOLD_MIN(from + fold_segment_ahead(capacity), (uint64_t)capacity);
    int rc = 0;
    if (to > from)
        rc = fold_io_fallocate(s->fd, FALLOC_FL_KEEP_SIZE, from, to - from);
    s->allocated = rc == -EOPNOTSUPP || rc == -ENOSYS ? UINT32_MAX : (uint32_t)FOLD_MAX(to, end);
}

/* Writes headers, payloads and padding of k pieces at the end with one vector. */
static int write_pieces(struct fold_segment *s, struct fold_piece *pieces, size_t k)
{
    /* Each piece: the padding of the one before and its own header in one element, then its
     * payload. */
    static const uint8_t zeros[FOLD_SEG_ALIGN];
    uint8_t heads[FOLD_SEGMENT_BATCH][FOLD_SEG_ALIGN + FOLD_REC_MAX_HEADER];
    struct iovec iov[2 * FOLD_SEGMENT_BATCH + 1];
    const struct fold_seg_ident *id = &s->info->ident;
    uint32_t synced = fold_segment_synced(s);
    uint32_t head_len = fold_rec_header_bytes(id->fp_width);
    uint32_t pad = 0;
    int count = 0;
    for (size_t i = 0; i < k; i++) {
        struct fold_piece *p = &pieces[i];
        p->rec.synced = synced;
        memset(heads[i], 0, pad);
        fold_rec_encode(id, p->off, &p->rec, heads[i] + pad);
        iov[count++] = (struct iovec){heads[i], pad + head_len};
        memcpy(&iov[count].iov_base, &p->payload, sizeof p->payload);
        iov[count++].iov_len = p->rec.stored_len;
        pad = fold_rec_bytes(id->fp_width, p->rec.stored_len) - head_len - p->rec.stored_len;
    }
    if (pad > 0) {
        const uint8_t *tail = zeros;
        memcpy(&iov[count].iov_base, &tail, sizeof tail);
        iov[count++].iov_len = pad;
    }
    return fold_io_pwritev(s->fd, iov, count, s->end);
}

int fold_segment_append(struct fold_segment *s, struct fold_piece *pieces, size_t n, size_t *done)
{
    struct fold_seg *info = s->info;
    uint32_t end;
    uint32_t count = atomic_load(&info->count);
    size_t k = fit(s, pieces, n, &end);
    if (k == 0) {
        *done = 0;
        return 0;
    }
    int rc = FOLD_GROW(s->entries, s->entry_cap, count + k, fold_knobs.segment_entries);
    if (rc < 0)
        return rc;
    preallocate(s, end);
    rc = write_pieces(s, pieces, k);
    if (rc < 0) {
        /* Bytes beyond the end are harmless: the next append overwrites them. */
        if (fold_io_truncate(s->fd, s->end) < 0)
            fold_warn("segment %08x: the rest of a failed write stays", info->ident.seg);
        return rc;
    }
    uint64_t raw = 0;
    for (size_t i = 0; i < k; i++) {
        const struct fold_rec *rec = &pieces[i].rec;
        s->entries[count + i] =
            (struct fold_seg_entry){{rec->fp.w[0], rec->fp.w[1]}, pieces[i].off, rec->raw_len};
        raw += rec->raw_len;
    }
    atomic_fetch_add(&info->raw_bytes, raw);
    atomic_fetch_add(&info->stored_bytes, end - s->end);
    atomic_store(&info->count, count + (uint32_t)k);
    atomic_store(&info->file_bytes, end);
    if (atomic_load(&info->whole_end) == s->end)
        atomic_store(&info->whole_end, end);
    s->end = end;
    atomic_store_explicit(&info->data_end, end, memory_order_release);
    *done = k;
    return 0;
}

uint32_t fold_segment_safe(const struct fold_segment *s)
{
    uint32_t logged = atomic_load_explicit(&s->logged, memory_order_acquire);
    return FOLD_MAX(logged, fold_segment_synced(s));
}

int fold_segment_read(struct fold_segment *s, uint32_t off, void *buf, uint32_t len)
{
    return fold_io_pread(s->fd, buf, len, off);
}

void fold_segment_logged(struct fold_segment *s, uint32_t end)
{
    uint32_t was = atomic_load(&s->logged);
    while (was < end && !atomic_compare_exchange_weak(&s->logged, &was, end))
        continue;
}

uint32_t fold_segment_synced(const struct fold_segment *s)
{
    return atomic_load_explicit(&s->synced, memory_order_acquire);
}

int fold_segment_failed(const struct fold_segment *s)
{
    return atomic_load_explicit(&s->failed, memory_order_acquire);
}

void fold_segment_push(struct fold_segment *s)
{
    uint32_t from = fold_segment_synced(s);
    uint32_t to = atomic_load(&s->info->data_end);
    if (to > from)
        (void)sync_file_range(s->fd, from, to - from, SYNC_FILE_RANGE_WRITE);
}

int fold_segment_sync(struct fold_segment *s)
{
    uint32_t target = atomic_load_explicit(&s->info->data_end, memory_order_acquire);
    fold_lock_take(&s->lock);
    while (s->syncing)
        (void)fold_lock_wait(&s->lock, &s->cond, NULL);
    int rc = fold_segment_failed(s);
    bool table = s->table_pending;
    bool data = fold_segment_synced(s) < target;
    if (rc < 0 || (!data && !table)) {
        fold_lock_drop(&s->lock);
        return rc;
    }
    s->syncing = true;
    fold_lock_drop(&s->lock);
    target = atomic_load_explicit(&s->info->data_end, memory_order_acquire);
    rc = fold_io_fdatasync(s->fd);
    fold_lock_take(&s->lock);
    s->syncing = false;
    if (rc < 0 && data) {
        atomic_store(&s->failed, rc);
        fold_error("segment %08x: making data durable failed: %s", s->info->ident.seg,
                   fold_err_text(rc));
    } else if (rc == 0) {
        atomic_store_explicit(&s->synced, target, memory_order_release);
        s->table_pending = s->table_pending && !table;
    }
    (void)pthread_cond_broadcast(&s->cond);
    fold_lock_drop(&s->lock);
    return rc;
}

/* Table and footer as they are to be on disk; `len` bytes, malloc'd. NULL without memory. */
static uint8_t *encode_tail(const struct fold_segment *s, const struct fold_seg_summary *sum,
                            size_t *len)
{
    struct fold_seg_footer footer = {
        .data_end = sum->data_end,
        .whole_end = sum->whole_end,
        .count = sum->count,
        .raw_bytes = sum->raw_bytes,
        .stored_bytes = sum->stored_bytes,
    };
    *len = (size_t)(fold_seg_sealed_bytes(sum->data_end, sum->count) - sum->data_end);
    uint8_t *tail = malloc(*len);
    if (tail != NULL)
        fold_seg_tail_encode(&sum->ident, &footer, s->entries, tail);
    return tail;
}

int fold_segment_table(struct fold_segment *s)
{
    struct fold_seg_summary sum;
    size_t len;
    fold_seg_summarise(s->info, &sum);
    FOLD_AUTO(free) uint8_t *tail = encode_tail(s, &sum, &len);
    if (tail == NULL)
        return -ENOMEM;
    int rc = fold_io_pwrite(s->fd, tail, len - FOLD_SEG_FOOTER_BYTES, sum.data_end);
    if (rc < 0)
        return rc;
    s->tabled = true;
    fold_lock_take(&s->lock);
    s->table_pending = true;
    fold_lock_drop(&s->lock);
    return 0;
}

/* The footer behind the table, durable; nothing follows it. */
static int write_footer(struct fold_segment *s, struct fold_seg_summary *sum)
{
    size_t len;
    FOLD_AUTO(free) uint8_t *tail = encode_tail(s, sum, &len);
    if (tail == NULL)
        return -ENOMEM;
    uint64_t total = (uint64_t)sum->data_end + len;
    size_t table = len - FOLD_SEG_FOOTER_BYTES;
    int rc = fold_io_pwrite(s->fd, tail + table, FOLD_SEG_FOOTER_BYTES, sum->data_end + table);
    if (rc == 0)
        rc = fold_io_truncate(s->fd, total);
    if (rc == 0)
        rc = fold_io_fdatasync(s->fd);
    sum->file_bytes = (uint32_t)total;
    return rc;
}

int fold_segment_seal(struct fold_segment *s)
{
    struct fold_seg_summary sum;
    int rc = s->tabled ? 0 : fold_segment_table(s);
    if (rc == 0)
        rc = fold_segment_sync(s);
    if (rc == 0) {
        fold_seg_summarise(s->info, &sum);
        rc = write_footer(s, &sum);
    }
    if (rc < 0) {
        /* The host may have dropped what it could not write: the next try writes all of it. */
        s->tabled = false;
        if (fold_segment_failed(s) == 0)
            fold_warn("segment %08x: sealing failed and will be tried again: %s",
                      s->info->ident.seg, fold_err_text(rc));
        return rc;
    }
    return fold_segset_seal(s->set, &sum);
}
