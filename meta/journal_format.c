/* SPDX-License-Identifier: MIT */
/*
 * Encodes journal files and reads them back. Reading trusts nothing: a file with a wrong header
 * counts as empty, a record with a wrong checksum is the end of its file.
 */
#include "meta/journal_format.h"

#include "asm/kernels.h"
#include "meta/base/bytes.h"
#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/io.h"
#include "meta/base/log.h"

#include <fcntl.h>
#include <stdio.h>

#define HEADER_VERSION 1u
#define RECORD_MAGIC   0x314a4446u /* "FDJ1" */
#define WINDOW_BYTES   (1u << 20)

static const uint8_t header_magic[8] = {'F', 'O', 'L', 'D', 'J', 'R', 'N', 'L'};

/* Input window over a file. */
struct source {
    int fd;
    uint64_t size; /* of the file */
    uint64_t pos;  /* file offset of buf[0] */
    uint8_t *buf;
    size_t len, cap;
};

struct reader {
    fold_journal_fn fn;
    void *arg;
    struct fold_journal_replay *out;
    fold_lsn last; /* of the last record taken, 0 if there was none */
    bool stopped;
};

void fold_journal_file_name(uint32_t number, char name[FOLD_JOURNAL_NAME_BYTES])
{
    (void)snprintf(name, FOLD_JOURNAL_NAME_BYTES, "%08u.log", number);
}

uint32_t fold_journal_header_write(uint8_t out[FOLD_JOURNAL_HEADER_BYTES], uint32_t number,
                                   const uint8_t salt[FOLD_JOURNAL_SALT_BYTES])
{
    memset(out, 0, FOLD_JOURNAL_HEADER_BYTES);
    struct fold_wr w = fold_wr_init(out, FOLD_JOURNAL_HEADER_BYTES);
    fold_wr_bytes(&w, header_magic, sizeof header_magic);
    fold_wr_u32(&w, HEADER_VERSION);
    fold_wr_u32(&w, number);
    fold_wr_bytes(&w, salt, FOLD_JOURNAL_SALT_BYTES);
    uint32_t crc = fold_kernels()->crc32c(0, out, FOLD_JOURNAL_HEADER_BYTES - 4);
    w = fold_wr_init(out + FOLD_JOURNAL_HEADER_BYTES - 4, 4);
    fold_wr_u32(&w, crc);
    return crc;
}

size_t fold_journal_head_write(uint8_t out[FOLD_JOURNAL_HEAD_MAX], uint32_t seed,
                               const struct fold_journal_record *rec)
{
    struct fold_wr w = fold_wr_init(out, FOLD_JOURNAL_HEAD_MAX);
    if (rec->ndeps > FOLD_STORE_MAX_DEPS || rec->note_len > FOLD_JOURNAL_NOTE_MAX)
        return 0;
    size_t head_len = FOLD_JOURNAL_FIXED_BYTES + 8 * rec->ndeps + rec->note_len;
    if (rec->len > FOLD_JOURNAL_RECORD_MAX - head_len)
        return 0;
    fold_wr_u32(&w, RECORD_MAGIC);
    fold_wr_u32(&w, 0);
    fold_wr_u32(&w, (uint32_t)(head_len + rec->len));
    fold_wr_u16(&w, (uint16_t)rec->note_len);
    fold_wr_u16(&w, (uint16_t)rec->ndeps);
    fold_wr_u64(&w, rec->lsn);
    for (size_t i = 0; i < rec->ndeps; i++) {
        fold_wr_u32(&w, rec->deps[i].seg);
        fold_wr_u32(&w, rec->deps[i].end);
    }
    fold_wr_bytes(&w, rec->note, rec->note_len);
    const struct fold_kernels *k = fold_kernels();
    uint32_t crc = k->crc32c(seed, out + 8, head_len - 8);
    crc = k->crc32c(crc, rec->data, rec->len);
    w = fold_wr_init(out + 4, 4);
    fold_wr_u32(&w, crc);
    return head_len;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Only names this code would have written count. */
static bool parse_name(const char *name, uint32_t *number)
{
    char again[FOLD_JOURNAL_NAME_BYTES];
    char *end;
    errno = 0;
    unsigned long v = strtoul(name, &end, 10);
    if (errno != 0 || v > UINT32_MAX || strcmp(end, ".log") != 0)
        return false;
    fold_journal_file_name((uint32_t)v, again);
    *number = (uint32_t)v;
    return strcmp(name, again) == 0;
}

struct number_list {
    uint32_t *items;
    size_t n, cap;
};

static int add_name(void *arg, const char *name)
{
    struct number_list *l = arg;
    uint32_t number;
    if (!parse_name(name, &number))
        return 0;
    if (FOLD_GROW(l->items, l->cap, l->n + 1, 8) < 0)
        return -ENOMEM;
    l->items[l->n++] = number;
    return 0;
}

int fold_journal_list(int dirfd, uint32_t **numbers, size_t *count)
{
    struct number_list l = {NULL, 0, 0};
    int rc = fold_io_list(dirfd, add_name, &l);
    if (rc < 0) {
        free(l.items);
        return rc;
    }
    if (l.n > 1)
        qsort(l.items, l.n, sizeof *l.items, compare_numbers);
    *numbers = l.items;
    *count = l.n;
    return 0;
}

/* Makes `need` bytes at file offset `at` visible: 1 if they are in the file, 0 if it ends before.
 */
static int source_need(struct source *s, uint64_t at, size_t need, const uint8_t **out)
{
    if (at > s->size || need > s->size - at)
        return 0;
    if (at < s->pos || at - s->pos > s->len || need > s->len - (at - s->pos)) {
        size_t want = FOLD_MAX(need, (size_t)WINDOW_BYTES);
        want = (size_t)FOLD_MIN((uint64_t)want, s->size - at);
        if (want > s->cap) {
            uint8_t *more = realloc(s->buf, want);
            if (more == NULL)
                return -ENOMEM;
            s->buf = more;
            s->cap = want;
        }
        s->len = 0;
        s->pos = at;
        int rc = fold_io_pread(s->fd, s->buf, want, at);
        if (rc < 0)
            return rc;
        s->len = want;
    }
    *out = s->buf + (at - s->pos);
    return 1;
}

/* 1 and the checksum seed if the file has the header of `number`. */
static int read_header(struct source *s, uint32_t number, uint32_t *seed)
{
    const uint8_t *p;
    int rc = source_need(s, 0, FOLD_JOURNAL_HEADER_BYTES, &p);
    if (rc <= 0)
        return rc;
    struct fold_rd r = fold_rd_init(p, FOLD_JOURNAL_HEADER_BYTES);
    const uint8_t *magic = fold_rd_bytes(&r, sizeof header_magic);
    uint32_t version = fold_rd_u32(&r);
    uint32_t stored = fold_rd_u32(&r);
    r = fold_rd_init(p + FOLD_JOURNAL_HEADER_BYTES - 4, 4);
    uint32_t crc = fold_rd_u32(&r);
    if (memcmp(magic, header_magic, sizeof header_magic) != 0 || version != HEADER_VERSION ||
        stored != number || crc != fold_kernels()->crc32c(0, p, FOLD_JOURNAL_HEADER_BYTES - 4))
        return 0;
    *seed = crc;
    return 1;
}

/* One record at `at`: 1 and *rec (its pointers into the window and `deps`), 0 if there is no whole
 * record. */
static int read_record(struct source *s, uint64_t at, uint32_t seed,
                       struct fold_dep deps[FOLD_STORE_MAX_DEPS], struct fold_journal_record *rec,
                       uint64_t *end)
{
    const uint8_t *p;
    int rc = source_need(s, at, FOLD_JOURNAL_FIXED_BYTES, &p);
    if (rc <= 0)
        return rc;
    struct fold_rd r = fold_rd_init(p, FOLD_JOURNAL_FIXED_BYTES);
    uint32_t magic = fold_rd_u32(&r);
    uint32_t crc = fold_rd_u32(&r);
    uint32_t len = fold_rd_u32(&r);
    uint16_t note_len = fold_rd_u16(&r);
    uint16_t ndeps = fold_rd_u16(&r);
    size_t head_len = FOLD_JOURNAL_FIXED_BYTES + 8 * (size_t)ndeps + note_len;
    if (magic != RECORD_MAGIC || note_len > FOLD_JOURNAL_NOTE_MAX || ndeps > FOLD_STORE_MAX_DEPS ||
        len < head_len || len > FOLD_JOURNAL_RECORD_MAX)
        return 0;
    rc = source_need(s, at, len, &p);
    if (rc <= 0)
        return rc;
    if (fold_kernels()->crc32c(seed, p + 8, len - 8) != crc)
        return 0;
    r = fold_rd_init(p + 16, head_len - 16);
    rec->lsn = fold_rd_u64(&r);
    for (size_t i = 0; i < ndeps; i++) {
        deps[i].seg = fold_rd_u32(&r);
        deps[i].end = fold_rd_u32(&r);
    }
    rec->deps = deps;
    rec->ndeps = ndeps;
    rec->note = fold_rd_bytes(&r, note_len);
    rec->note_len = note_len;
    rec->data = p + head_len;
    rec->len = len - head_len;
    *end = at + len;
    return 1;
}

/* Hands one record on: 0, or -errno of the callback. */
static int deliver(struct reader *rd, const struct fold_journal_record *rec, uint64_t at,
                   uint64_t end, struct fold_journal_found *file)
{
    int rc = FOLD_JOURNAL_STOP;
    if (!rd->stopped && (rd->last == 0 || rec->lsn == rd->last + 1))
        rc = rd->fn(rd->arg, rec);
    else if (!rd->stopped && rec->lsn > rd->last)
        /* A file is left for the next one only when it is whole on disk: a gap is damage. */
        rd->out->damaged = true;
    if (rc < 0)
        return rc;
    if (rc == FOLD_JOURNAL_STOP) {
        rd->stopped = true;
        rd->out->dropped++;
        if (file->cut_at == 0)
            file->cut_at = at;
        return 0;
    }
    if (rc == FOLD_JOURNAL_KNOWN)
        return 0; /* of a file about to be retired: others of them may be gone already, so what
                     follows may be far on */
    rd->last = rec->lsn;
    rd->out->records++;
    rd->out->bytes += rec->len;
    file->bytes += end - at;
    return 0;
}

static int read_file(struct reader *rd, struct source *s, struct fold_journal_found *file)
{
    uint32_t seed;
    int rc = read_header(s, file->number, &seed);
    if (rc <= 0)
        return rc; /* a file that never came into use */
    uint64_t at = FOLD_JOURNAL_HEADER_BYTES;
    for (;;) {
        struct fold_dep deps[FOLD_STORE_MAX_DEPS];
        struct fold_journal_record rec;
        uint64_t end;
        rc = read_record(s, at, seed, deps, &rec, &end);
        if (rc <= 0)
            return rc;
        rc = deliver(rd, &rec, at, end, file);
        if (rc < 0)
            return rc;
        at = end;
    }
}

static int open_and_read(struct reader *rd, int dirfd, struct fold_journal_found *file)
{
    char name[FOLD_JOURNAL_NAME_BYTES];
    fold_journal_file_name(file->number, name);
    FOLD_AUTO(close) int fd = fold_io_open(dirfd, name, O_RDONLY, 0);
    struct stat st;
    int rc = fd < 0 ? fd : fold_io_fstat(fd, &st);
    if (rc < 0)
        return rc;
    struct source s = {.fd = fd, .size = (uint64_t)st.st_size};
    rc = read_file(rd, &s, file);
    free(s.buf);
    return rc;
}

int fold_journal_read_all(int dirfd, fold_journal_fn fn, void *arg, struct fold_journal_replay *out,
                          struct fold_journal_found **files, size_t *nfiles)
{
    struct fold_journal_replay sum = {0};
    struct reader rd = {.fn = fn, .arg = arg, .out = &sum};
    FOLD_AUTO(free) uint32_t *numbers = NULL;
    size_t n = 0;
    int rc = fold_journal_list(dirfd, &numbers, &n);
    if (rc < 0)
        return rc;
    struct fold_journal_found *found = calloc(n + 1, sizeof *found);
    if (found == NULL)
        return -ENOMEM;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        found[i].number = numbers[i];
        rc = open_and_read(&rd, dirfd, &found[i]);
    }
    if (rc < 0) {
        free(found);
        return rc;
    }
    *out = sum;
    *files = found;
    *nfiles = n;
    return 0;
}
