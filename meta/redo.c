/* SPDX-License-Identifier: MIT */
/*
 * Reads the journal as replay does, up to the first torn record, but takes nothing out of it. Bytes
 * that are there already are not written again. Nothing needs to be synced here: replay makes the
 * segments durable before the journal may go.
 */
#include "meta/redo.h"

#include "meta/base/bytes.h"
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/log.h"
#include "meta/journal_format.h"
#include "meta/segfmt.h"
#include "meta/shadow.h"

#include <errno.h>
#include <fcntl.h>

struct redo {
    int segments; /* directory */
    bool dry;     /* only look */
    uint64_t bytes;
    uint32_t *missing; /* dry: segments that need bytes, malloc'd */
    size_t missing_count;
};

bool fold_redo_is(const void *data, size_t len)
{
    struct fold_rd r = fold_rd_init(data, len);
    return fold_rd_u64(&r) == FOLD_REDO_MAGIC && !r.bad;
}

static bool is_missing(const struct redo *x, uint32_t seg)
{
    for (size_t i = 0; i < x->missing_count; i++)
        if (x->missing[i] == seg)
            return true;
    return false;
}

static int note_missing(struct redo *x, uint32_t seg)
{
    if (is_missing(x, seg))
        return 0;
    uint32_t *grown = realloc(x->missing, (x->missing_count + 1) * sizeof *grown);
    if (grown == NULL)
        return -ENOMEM;
    grown[x->missing_count++] = seg;
    x->missing = grown;
    return 0;
}

static int put_back(struct redo *x, uint32_t seg, uint32_t off, const uint8_t *bytes, uint32_t len)
{
    char name[FOLD_SEG_NAME_BYTES];
    fold_seg_name(seg, name);
    FOLD_AUTO(close) int fd = fold_io_open(x->segments, name, x->dry ? O_RDONLY : O_RDWR, 0);
    if (fd == -ENOENT)
        return 0; /* collected since */
    if (fd < 0)
        return fd;
    FOLD_AUTO(free) uint8_t *there = malloc(len);
    if (there == NULL)
        return -ENOMEM;
    int rc = fold_io_pread(fd, there, len, off);
    if (rc == 0 && memcmp(there, bytes, len) == 0)
        return 0;
    if (rc < 0 && rc != -ENODATA && rc != -EIO)
        return rc;
    x->bytes += len;
    return x->dry ? note_missing(x, seg) : fold_io_pwrite(fd, bytes, len, off);
}

static int redo_one(void *arg, const struct fold_journal_record *rec)
{
    struct redo *x = arg;
    if (!fold_redo_is(rec->data, rec->len))
        return FOLD_JOURNAL_KNOWN;
    struct fold_rd r = fold_rd_init(rec->data, rec->len);
    (void)fold_rd_u64(&r);
    while (fold_rd_left(&r) > 0 && !r.bad) {
        uint32_t seg = fold_rd_u32(&r);
        uint32_t off = fold_rd_u32(&r);
        uint32_t len = fold_rd_u32(&r);
        const uint8_t *bytes = fold_rd_bytes(&r, len);
        if (bytes == NULL || len == 0 || seg == 0 || off > FOLD_SEG_MAX_BYTES ||
            len > FOLD_SEG_MAX_BYTES - off)
            return -FOLD_E_BAD_JOURNAL;
        int rc = put_back(x, seg, off, bytes, len);
        if (rc < 0)
            return rc;
    }
    return FOLD_JOURNAL_KNOWN;
}

static int read_journal(int storefd, struct redo *x)
{
    FOLD_AUTO(close) int journal = fold_io_open(storefd, "journal", O_RDONLY | O_DIRECTORY, 0);
    if (journal < 0)
        return journal;
    struct fold_journal_replay done = {0};
    FOLD_AUTO(free) struct fold_journal_found *files = NULL;
    size_t n;
    return fold_journal_read_all(journal, redo_one, x, &done, &files, &n);
}

int fold_redo_run(int storefd)
{
    FOLD_AUTO(close) int segments = fold_io_open(storefd, "segments", O_RDONLY | O_DIRECTORY, 0);
    if (segments < 0)
        return segments;
    struct redo x = {.segments = segments};
    int rc = read_journal(storefd, &x);
    if (rc == 0 && x.bytes > 0)
        fold_info("segments: %llu bytes put back from the journal", (unsigned long long)x.bytes);
    return rc;
}

static enum fold_shadow_how how(void *arg, const char *name)
{
    uint32_t seg = fold_seg_name_parse(name);
    return seg != 0 && is_missing(arg, seg) ? FOLD_SHADOW_COPY : FOLD_SHADOW_LINK;
}

int fold_redo_overlay(int storefd, struct fold_shadow **out)
{
    FOLD_AUTO(close) int segments = fold_io_open(storefd, "segments", O_RDONLY | O_DIRECTORY, 0);
    if (segments < 0)
        return segments;
    struct redo x = {.segments = segments, .dry = true};
    struct fold_shadow *shadow = NULL;
    int rc = read_journal(storefd, &x);
    if (rc == 0 && x.missing_count > 0) {
        rc = fold_shadow_create(storefd, "segments", how, &x, &shadow);
        if (rc < 0)
            fold_error(
                "no temporary copy of %zu segments can be made in $TMPDIR or /tmp (%s); mount "
                "read-write once instead",
                x.missing_count, fold_err_text(rc));
    }
    free(x.missing);
    if (shadow != NULL) {
        FOLD_AUTO(close)
        int fd = fold_io_open(AT_FDCWD, fold_shadow_path(shadow), O_RDONLY | O_DIRECTORY, 0);
        struct redo put = {.segments = fd};
        rc = fd < 0 ? fd : read_journal(storefd, &put);
    }
    if (rc < 0) {
        fold_shadow_destroy(shadow);
        return rc;
    }
    *out = shadow;
    return 0;
}
