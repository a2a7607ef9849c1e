/* SPDX-License-Identifier: MIT */
/*
 * Journal files: life cycle and appending (reading them back is in journal_format.c).
 *
 * At most times there are two files: the current one and the prepared next one. A checkpoint
 * rotates to the next, and when the catalog has the content of the old one, that becomes the next
 * again: its blocks are allocated and written already, so syncing an append needs no commit of the
 * host filesystem's own journal. A prepared file is complete on disk (header synced, name synced)
 * before a record can enter it.
 *
 * Lock: `lock` guards the set of files; the position in the current file belongs to the appender
 * and is atomic for readers. Descriptors are counted references: a sync keeps its file open while
 * others rotate and retire.
 */
#include "meta/journal.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/lock.h"
#include "meta/base/log.h"
#include "meta/journal_format.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>

#define FIRST_BYTES (256u << 10) /* a small file: by this much */
#define KEEP_BYTES  FIRST_BYTES  /* what a trimmed journal keeps for the next life */
#define AHEAD_BYTES                                                                                \
    FIRST_BYTES /* allocated beyond the end, so that deletes go on when the host is full */

struct journal_file {
    struct journal_file *older; /* guarded by lock */
    uint32_t number;
    uint32_t seed; /* of the records' checksums */
    int fd;
    unsigned refs;     /* guarded by lock */
    uint64_t reserved; /* appender: bytes allocated on the host */
    _Atomic uint64_t end;
};

struct fold_journal {
    int dirfd;
    bool read_only;
    struct fold_lock lock;
    struct journal_file *current; /* guarded by lock; changed by the appender only */
    struct journal_file *next; /* guarded by lock; set by the checkpoint, taken by the appender */
    struct journal_file *old;  /* guarded by lock: left behind, not retired */
    _Atomic uint64_t pending_old; /* bytes in `old` */
    uint64_t last_append;         /* appender: where the last record begins */
    atomic_bool lean;             /* files begun from now on do not inherit blocks */
    bool broken;                  /* appender: a failed append could not be undone */
    bool syncing;                 /* guarded by lock: a thread is in fdatasync */
    int sync_error;               /* guarded by lock: of the first sync that failed */
    pthread_cond_t synced;
    struct fold_journal_found *found; /* by replay; consumed by resume */
    size_t nfound;
};

int fold_journal_format(int storefd)
{
    return fold_io_mkdir(storefd, "journal", 0700);
}

int fold_journal_open(int storefd, bool read_only, struct fold_journal **out)
{
    int fd = fold_io_open(storefd, "journal", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    struct fold_journal *j = calloc(1, sizeof *j);
    if (j == NULL) {
        (void)close(fd);
        return -ENOMEM;
    }
    j->dirfd = fd;
    j->read_only = read_only;
    fold_lock_init(&j->lock, FOLD_RANK_JOURNAL, "journal");
    fold_cond_init(&j->synced);
    *out = j;
    return 0;
}

int fold_journal_replay(struct fold_journal *j, fold_journal_fn fn, void *arg,
                        struct fold_journal_replay *out)
{
    free(j->found);
    j->found = NULL;
    return fold_journal_read_all(j->dirfd, fn, arg, out, &j->found, &j->nfound);
}

static void file_unref_locked(struct journal_file *f)
{
    if (f != NULL && --f->refs == 0) {
        (void)close(f->fd);
        free(f);
    }
}

/* Opens or creates file `number` and gives it a fresh header; durable with its name on return. */
static int file_begin(struct fold_journal *j, uint32_t number, struct journal_file **out)
{
    char name[FOLD_JOURNAL_NAME_BYTES];
    fold_journal_file_name(number, name);
    uint8_t salt[FOLD_JOURNAL_SALT_BYTES];
    if (getrandom(salt, sizeof salt, 0) != (ssize_t)sizeof salt)
        return -EIO;
    uint8_t header[FOLD_JOURNAL_HEADER_BYTES];
    uint32_t seed = fold_journal_header_write(header, number, salt);

    int fd = fold_io_open(j->dirfd, name, O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return fd;
    struct stat st;
    int rc = atomic_load(&j->lean) ? fold_io_truncate(fd, 0) : 0;
    if (rc == 0)
        rc = fold_io_pwrite(fd, header, sizeof header, 0);
    if (rc == 0)
        rc = fold_io_fdatasync(fd);
    if (rc == 0)
        rc = fold_io_fsync(j->dirfd);
    if (rc == 0)
        rc = fold_io_fstat(fd, &st);
    struct journal_file *f = rc == 0 ? calloc(1, sizeof *f) : NULL;
    if (f == NULL) {
        (void)close(fd);
        return rc < 0 ? rc : -ENOMEM;
    }
    f->number = number;
    f->seed = seed;
    f->fd = fd;
    f->refs = 1;
    f->reserved = (uint64_t)st.st_size;
    atomic_init(&f->end, sizeof header);
    *out = f;
    return 0;
}

/* Turns file `from` into a fresh file `to`. */
static int file_recycle(struct fold_journal *j, uint32_t from, uint32_t to,
                        struct journal_file **out)
{
    char old_name[FOLD_JOURNAL_NAME_BYTES], new_name[FOLD_JOURNAL_NAME_BYTES];
    fold_journal_file_name(from, old_name);
    fold_journal_file_name(to, new_name);
    int rc = fold_io_rename(j->dirfd, old_name, new_name);
    return rc < 0 ? rc : file_begin(j, to, out);
}

/* Keeps a replayed file as one that is left behind: cut where replay stopped, and durable. */
static int file_keep(struct fold_journal *j, const struct fold_journal_found *found)
{
    static const uint8_t zeros[FOLD_JOURNAL_MAGIC_BYTES];
    char name[FOLD_JOURNAL_NAME_BYTES];
    fold_journal_file_name(found->number, name);
    int fd = fold_io_open(j->dirfd, name, O_RDWR, 0);
    if (fd < 0)
        return fd;
    int rc = found->cut_at == 0 ? 0 : fold_io_pwrite(fd, zeros, sizeof zeros, found->cut_at);
    if (rc == 0)
        rc = fold_io_fdatasync(fd);
    struct journal_file *f = rc == 0 ? calloc(1, sizeof *f) : NULL;
    if (f == NULL) {
        (void)close(fd);
        return rc < 0 ? rc : -ENOMEM;
    }
    f->number = found->number;
    f->fd = fd;
    f->refs = 1;
    fold_lock_take(&j->lock);
    f->older = j->old;
    j->old = f;
    atomic_fetch_add(&j->pending_old, found->bytes);
    fold_lock_drop(&j->lock);
    return 0;
}

int fold_journal_resume(struct fold_journal *j)
{
    uint32_t number = 1, spare = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < j->nfound; i++) {
        const struct fold_journal_found *found = &j->found[i];
        char name[FOLD_JOURNAL_NAME_BYTES];
        fold_journal_file_name(found->number, name);
        number = found->number + 1;
        if (found->bytes > 0)
            rc = file_keep(j, found);
        else if (spare == 0)
            spare = found->number; /* to be recycled */
        else
            rc = fold_io_unlink(j->dirfd, name);
    }
    struct journal_file *f = NULL;
    if (rc == 0)
        rc = spare != 0 ? file_recycle(j, spare, number, &f) : file_begin(j, number, &f);
    if (rc < 0)
        return rc;
    free(j->found);
    j->found = NULL;
    j->nfound = 0;
    fold_lock_take(&j->lock);
    j->current = f;
    fold_lock_drop(&j->lock);
    return 0;
}

/*
 * Keeps written host blocks ahead of the appends: over blocks that are only allocated each sync
 * would make the host commit a change of its own metadata. Failing is no harm: the append itself
 * will tell.
 */
static void file_reserve(struct journal_file *f, uint64_t need)
{
    static const uint8_t zeros[FIRST_BYTES];
    need += AHEAD_BYTES;
    if (need <= f->reserved)
        return;
    uint64_t step =
        need < fold_knobs.journal_grow_bytes ? FIRST_BYTES : fold_knobs.journal_grow_bytes;
    uint64_t goal = (need + step - 1) / step * step;
    /* After a failure here records may lie beyond what is reserved: they must not be written over.
     */
    uint64_t from = FOLD_MAX(f->reserved, atomic_load_explicit(&f->end, memory_order_relaxed));
    if (fold_io_fallocate(f->fd, 0, from, goal - from) != 0)
        return;
    while (from < goal) {
        size_t part = (size_t)FOLD_MIN(goal - from, (uint64_t)FIRST_BYTES);
        if (fold_io_pwrite(f->fd, zeros, part, from) != 0)
            return;
        from += part;
    }
    f->reserved = goal;
}

int fold_journal_take_back(struct fold_journal *j)
{
    static const uint8_t zeros[FOLD_JOURNAL_MAGIC_BYTES];
    struct journal_file *f = j->current;
    int rc = fold_io_pwrite(f->fd, zeros, sizeof zeros, j->last_append);
    if (rc < 0) {
        fold_error("journal %u: cannot undo a record at %llu: %s", f->number,
                   (unsigned long long)j->last_append, fold_err_text(rc));
        j->broken = true;
        return -FOLD_E_SICK;
    }
    atomic_store(&f->end, j->last_append);
    return 0;
}

int fold_journal_append(struct fold_journal *j, const struct fold_journal_record *rec)
{
    if (j->broken)
        return -FOLD_E_SICK;
    struct journal_file *f = j->current;
    uint8_t head[FOLD_JOURNAL_HEAD_MAX];
    size_t head_len = fold_journal_head_write(head, f->seed, rec);
    if (head_len == 0)
        return -EFBIG;
    uint64_t at = atomic_load_explicit(&f->end, memory_order_relaxed);
    uint64_t end = at + head_len + rec->len;
    file_reserve(f, end);

    union {
        const void *in;
        void *out;
    } payload = {.in = rec->data}; /* iovec has no const; it is only read */
    struct iovec iov[2] = {{head, head_len}, {payload.out, rec->len}};
    j->last_append = at;
    int rc = fold_io_pwritev(f->fd, iov, 2, at);
    if (rc < 0) {
        fold_error("journal %u: append failed: %s", f->number, fold_err_text(rc));
        int undo = fold_journal_take_back(j);
        return undo < 0 ? undo : rc;
    }
    atomic_store(&f->end, end);
    return 0;
}

int fold_journal_sync(struct fold_journal *j)
{
    fold_lock_take(&j->lock);
    /* One at a time: the host reports a failed write-back to the first sync only. */
    while (j->syncing)
        (void)fold_lock_wait(&j->lock, &j->synced, NULL);
    int rc = j->sync_error;
    if (rc == 0) {
        struct journal_file *f = j->current;
        f->refs++;
        j->syncing = true;
        fold_lock_drop(&j->lock);
        rc = fold_io_fdatasync(f->fd);
        fold_lock_take(&j->lock);
        j->syncing = false;
        j->sync_error = rc;
        file_unref_locked(f);
        (void)pthread_cond_broadcast(&j->synced);
    }
    fold_lock_drop(&j->lock);
    return rc;
}

int fold_journal_prepare(struct fold_journal *j)
{
    fold_lock_take(&j->lock);
    bool ready = j->next != NULL;
    uint32_t number = j->current->number + 1;
    fold_lock_drop(&j->lock);
    if (ready)
        return 0;
    struct journal_file *f = NULL;
    int rc = file_begin(j, number, &f);
    if (rc < 0)
        return rc;
    fold_lock_take(&j->lock);
    j->next = f;
    fold_lock_drop(&j->lock);
    return 0;
}

void fold_journal_rotate(struct fold_journal *j)
{
    fold_lock_take(&j->lock);
    struct journal_file *f = j->current;
    atomic_fetch_add(&j->pending_old, atomic_load(&f->end) - FOLD_JOURNAL_HEADER_BYTES);
    f->older = j->old;
    j->old = f;
    j->current = j->next;
    j->next = NULL;
    fold_lock_drop(&j->lock);
}

void fold_journal_lean(struct fold_journal *j, bool lean)
{
    atomic_store(&j->lean, lean);
}

void fold_journal_retire(struct fold_journal *j)
{
    fold_lock_take(&j->lock);
    struct journal_file *list = NULL;
    while (j->old != NULL) { /* the oldest goes first: what a crash leaves has no gap */
        struct journal_file *f = j->old;
        j->old = f->older;
        f->older = list;
        list = f;
    }
    atomic_store(&j->pending_old, 0);
    uint32_t number = j->current->number + 1;
    bool want = j->next == NULL;
    fold_lock_drop(&j->lock);

    struct journal_file *next = NULL;
    while (list != NULL) {
        struct journal_file *f = list;
        list = f->older;
        char name[FOLD_JOURNAL_NAME_BYTES];
        fold_journal_file_name(f->number, name);
        int rc = want && next == NULL ? file_recycle(j, f->number, number, &next)
                                      : fold_io_unlink(j->dirfd, name);
        if (rc < 0)
            fold_warn("journal %u: cannot retire the file: %s", f->number, fold_err_text(rc));
        fold_lock_take(&j->lock);
        file_unref_locked(f);
        fold_lock_drop(&j->lock);
    }
    if (next != NULL) {
        fold_lock_take(&j->lock);
        j->next = next;
        fold_lock_drop(&j->lock);
    }
}

uint64_t fold_journal_pending(const struct fold_journal *j)
{
    uint64_t old = atomic_load(&j->pending_old);
    const struct journal_file *f = j->current;
    return f == NULL ? old : old + atomic_load(&f->end) - FOLD_JOURNAL_HEADER_BYTES;
}

uint64_t fold_journal_bytes(struct fold_journal *j)
{
    uint64_t sum = 0;
    struct stat st;
    fold_lock_take(&j->lock);
    const struct journal_file *ends[2] = {j->current, j->next};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(ends); i++)
        if (ends[i] != NULL && fold_io_fstat(ends[i]->fd, &st) == 0)
            sum += (uint64_t)st.st_blocks * 512;
    for (const struct journal_file *f = j->old; f != NULL; f = f->older)
        if (fold_io_fstat(f->fd, &st) == 0)
            sum += (uint64_t)st.st_blocks * 512;
    fold_lock_drop(&j->lock);
    return sum;
}

static void trim(struct fold_journal *j)
{
    if (j->next != NULL) {
        char name[FOLD_JOURNAL_NAME_BYTES];
        fold_journal_file_name(j->next->number, name);
        if (fold_io_unlink(j->dirfd, name) < 0)
            return;
    }
    if (j->current != NULL && j->current->reserved > KEEP_BYTES &&
        fold_io_truncate(j->current->fd, KEEP_BYTES) < 0)
        fold_warn("journal %u: cannot give space back", j->current->number);
}

void fold_journal_close(struct fold_journal *j, bool do_trim)
{
    if (j == NULL)
        return;
    if (do_trim && !j->read_only)
        trim(j);
    fold_lock_take(&j->lock);
    file_unref_locked(j->current);
    file_unref_locked(j->next);
    while (j->old != NULL) {
        struct journal_file *f = j->old;
        j->old = f->older;
        file_unref_locked(f);
    }
    fold_lock_drop(&j->lock);
    fold_lock_fini(&j->lock);
    (void)pthread_cond_destroy(&j->synced);
    free(j->found);
    (void)close(j->dirfd);
    free(j);
}
