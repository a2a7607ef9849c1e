/* SPDX-License-Identifier: MIT */
/*
 * A MANIFEST is complete and synced before CURRENT names it, and the one before is removed only
 * when the new names are durable. So if the one that CURRENT names is missing, the newest one that
 * is there describes the database as it was before, and nothing was changed since. One without a
 * whole first record is the beginning of one that was never used.
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

/* Is the first record of the file whole? */
static bool begins_well(int dirfd, const char *name)
{
    uint8_t head[RECORD_HEADER];
    FOLD_AUTO(close) int fd = fold_io_open(dirfd, name, O_RDONLY, 0);
    if (fd < 0 || fold_io_pread(fd, head, sizeof head, 0) < 0)
        return false;
    struct fold_rd r = fold_rd_init(head, sizeof head);
    uint32_t masked = fold_rd_u32(&r);
    size_t len = (size_t)fold_rd_u16(&r) + 1; /* the type counts */
    FOLD_AUTO(free) uint8_t *record = malloc(len);
    if (record == NULL || fold_io_pread(fd, record, len, RECORD_HEADER - 1) < 0)
        return false;
    uint32_t crc = fold_kernels()->crc32c(0, record, len);
    return masked == ((crc >> 15) | (crc << 17)) + CRC_MASK;
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

/* Does CURRENT name a file that is there? */
static int is_good(int dirfd, bool *good)
{
    FOLD_AUTO(free) void *data = NULL;
    size_t len = 0;
    *good = false;
    int rc = fold_io_slurp(dirfd, "CURRENT", CURRENT_MAX, &data, &len);
    if (rc == -ENOENT || rc == -EFBIG)
        return 0;
    if (rc < 0)
        return rc;
    char name[NAME_BYTES];
    uint64_t number;
    const char *text = data;
    if (len < 2 || len > sizeof name || text[len - 1] != '\n')
        return 0;
    (void)snprintf(name, sizeof name, "%.*s", (int)(len - 1), text);
    if (!parse(name, &number))
        return 0;
    FOLD_AUTO(close) int fd = fold_io_open(dirfd, name, O_RDONLY, 0);
    *good = fd >= 0;
    return fd >= 0 || fd == -ENOENT ? 0 : fd;
}

int fold_manifest_mend(int dirfd, const char *name)
{
    FOLD_AUTO(close)
    int db = fold_io_open(dirfd < 0 ? AT_FDCWD : dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    if (db == -ENOENT)
        return 0;
    if (db < 0)
        return db;
    bool good;
    int rc = is_good(db, &good);
    if (rc < 0 || good)
        return rc;
    struct newest n = {.dirfd = db};
    rc = fold_io_list(db, look, &n);
    if (rc < 0 || n.name[0] == '\0')
        return rc;
    char text[NAME_BYTES + 1];
    int len = snprintf(text, sizeof text, "%s\n", n.name);
    fold_warn("database %s: CURRENT names no file that is there; it is made to name %s", name,
              n.name);
    return fold_io_replace(db, "CURRENT", text, (size_t)len, 0600);
}
