/* SPDX-License-Identifier: MIT */
/*
 * A MANIFEST is complete and synced before CURRENT names it, and the one before is removed only
 * when the new names are durable. So if the one that CURRENT names is missing, the newest one that
 * is there describes the database as it was before, and nothing was changed since. One without a
 * whole first record is the beginning of one that was never used.
 *
 * The one in use is appended to, a change and a sync at a time. A power cut in between may leave
 * some sectors of it and zeros for the others, which the database takes for damage. What such a
 * change says was not acknowledged to anybody, so it goes. Any other bad record is damage, above
 * all one that further changes follow.
 */
#include "meta/manifest.h"

#include "asm/kernels.h"
#include "meta/base/bytes.h"
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define PREFIX        "MANIFEST-"
#define PREFIX_LEN    (sizeof PREFIX - 1)
#define NAME_BYTES    64
#define CURRENT_MAX   4096
#define RECORD_HEADER 7u /* masked CRC-32C, u16 length, u8 type; the CRC begins with the type */
#define CRC_MASK      0xa282ead8u
#define BLOCK_BYTES   32768u /* records do not cross these; a rest too short for a header is left */
#define ALONG_BYTES   32u    /* a flush adds a table and, in the same write, notes a log number */
#define SECTOR_BYTES  512u
#define MANIFEST_MAX  (64u << 20) /* larger ones are left to the database */

struct newest {
    int dirfd;
    uint64_t number;
    char name[NAME_BYTES]; /* "" if there is none */
};

static bool parse(const char *name, uint64_t *number)
{
    char *end;
    if (strncmp(name, PREFIX, PREFIX_LEN) != 0 || name[PREFIX_LEN] < '0' || name[PREFIX_LEN] > '9')
        return false;
    errno = 0;
    *number = strtoull(name + PREFIX_LEN, &end, 10);
    return errno == 0 && *end == '\0' && strlen(name) < NAME_BYTES;
}

/* `bytes`: header, with the type as its last byte, and content. */
static bool is_whole(const uint8_t *bytes, size_t content)
{
    struct fold_rd r = fold_rd_init(bytes, RECORD_HEADER);
    uint32_t crc = fold_kernels()->crc32c(0, bytes + RECORD_HEADER - 1, content + 1);
    return fold_rd_u32(&r) == ((crc >> 15) | (crc << 17)) + CRC_MASK;
}

static size_t content_of(const uint8_t *header)
{
    return (size_t)header[4] | (size_t)header[5] << 8;
}

/* Is the first record of the file whole? */
static bool begins_well(int dirfd, const char *name)
{
    uint8_t head[RECORD_HEADER];
    FOLD_AUTO(close) int fd = fold_io_open(dirfd, name, O_RDONLY, 0);
    if (fd < 0 || fold_io_pread(fd, head, sizeof head, 0) < 0)
        return false;
    size_t len = RECORD_HEADER + content_of(head);
    FOLD_AUTO(free) uint8_t *record = malloc(len);
    if (record == NULL || fold_io_pread(fd, record, len, 0) < 0)
        return false;
    return is_whole(record, len - RECORD_HEADER);
}

/* Length of the whole records at the beginning. */
static size_t whole_part(const uint8_t *data, size_t len)
{
    size_t at = 0;
    while (len - at >= RECORD_HEADER) {
        size_t left = BLOCK_BYTES - at % BLOCK_BYTES;
        if (left < RECORD_HEADER) {
            at += FOLD_MIN(left, len - at);
            continue;
        }
        size_t bytes = RECORD_HEADER + content_of(data + at);
        if (bytes > left || bytes > len - at || !is_whole(data + at, bytes - RECORD_HEADER))
            break;
        at += bytes;
    }
    return at;
}

/* Is there a whole record in [from, len) that says more than what is written along with another? */
static bool has_whole(const uint8_t *data, size_t from, size_t len)
{
    for (size_t at = from; len - at >= RECORD_HEADER; at++) {
        size_t left = BLOCK_BYTES - at % BLOCK_BYTES;
        size_t bytes = RECORD_HEADER + content_of(data + at);
        if (bytes > RECORD_HEADER + ALONG_BYTES && bytes <= left && bytes <= len - at &&
            is_whole(data + at, bytes - RECORD_HEADER))
            return true;
    }
    return false;
}

/* Are the bytes from `from` to the end one write of which sectors are missing (zeros)? */
static bool is_torn(const uint8_t *data, size_t from, size_t len)
{
    if (len - from > BLOCK_BYTES)
        return false;
    bool missing = false;
    for (size_t at = from; at < len && !missing;) {
        size_t end = FOLD_MIN((at / SECTOR_BYTES + 1) * SECTOR_BYTES, len);
        while (at < end && data[at] == 0)
            at++;
        missing = at == end;
        at = end;
    }
    return missing && !has_whole(data, from, len);
}

/* Cuts a torn last record off. 1 if there was one; `dry`: that is all. */
static int mend_tail(int dirfd, const char *db, const char *name, bool dry)
{
    FOLD_AUTO(free) void *data = NULL;
    size_t len = 0;
    int rc = fold_io_slurp(dirfd, name, MANIFEST_MAX, &data, &len);
    if (rc < 0)
        return rc == -EFBIG ? 0 : rc;
    size_t end = whole_part(data, len);
    if (end == 0 || !is_torn(data, end, len))
        return 0;
    if (dry)
        return 1;
    FOLD_AUTO(close) int fd = fold_io_open(dirfd, name, O_WRONLY, 0);
    if (fd < 0)
        return fd;
    fold_warn("database %s: a torn record at the end of %s is cut off", db, name);
    rc = fold_io_truncate(fd, end);
    if (rc == 0)
        rc = fold_io_fsync(fd);
    return rc < 0 ? rc : 1;
}

static int look(void *arg, const char *name)
{
    struct newest *n = arg;
    uint64_t number;
    if (!parse(name, &number) || (n->name[0] != '\0' && number < n->number) ||
        !begins_well(n->dirfd, name))
        return 0;
    n->number = number;
    (void)snprintf(n->name, sizeof n->name, "%s", name);
    return 0;
}

/* Does CURRENT name a file that is there? Which one? */
static int is_good(int dirfd, bool *good, char name[NAME_BYTES])
{
    FOLD_AUTO(free) void *data = NULL;
    size_t len = 0;
    *good = false;
    int rc = fold_io_slurp(dirfd, "CURRENT", CURRENT_MAX, &data, &len);
    if (rc == -ENOENT || rc == -EFBIG)
        return 0;
    if (rc < 0)
        return rc;
    uint64_t number;
    const char *text = data;
    if (len < 2 || len > NAME_BYTES || text[len - 1] != '\n')
        return 0;
    (void)snprintf(name, NAME_BYTES, "%.*s", (int)(len - 1), text);
    if (!parse(name, &number))
        return 0;
    FOLD_AUTO(close) int fd = fold_io_open(dirfd, name, O_RDONLY, 0);
    *good = fd >= 0;
    return fd >= 0 || fd == -ENOENT ? 0 : fd;
}

/* 1 if there is something to mend. */
static int mend(int dirfd, const char *name, bool dry)
{
    FOLD_AUTO(close)
    int db = fold_io_open(dirfd < 0 ? AT_FDCWD : dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    if (db == -ENOENT)
        return 0;
    if (db < 0)
        return db;
    bool good;
    char current[NAME_BYTES];
    int rc = is_good(db, &good, current);
    if (rc < 0 || good)
        return rc < 0 ? rc : mend_tail(db, name, current, dry);
    struct newest n = {.dirfd = db};
    rc = fold_io_list(db, look, &n);
    if (rc < 0 || n.name[0] == '\0')
        return rc;
    if (dry)
        return 1;
    char text[NAME_BYTES + 1];
    int len = snprintf(text, sizeof text, "%s\n", n.name);
    fold_warn("database %s: CURRENT names no file that is there; it is made to name %s", name,
              n.name);
    rc = fold_io_replace(db, "CURRENT", text, (size_t)len, 0600);
    return rc < 0 ? rc : 1;
}

int fold_manifest_mend(int dirfd, const char *name)
{
    int rc = mend(dirfd, name, false);
    return FOLD_MIN(rc, 0);
}

int fold_manifest_look(int dirfd, const char *name)
{
    return mend(dirfd, name, true);
}
