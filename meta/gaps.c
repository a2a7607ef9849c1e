/* SPDX-License-Identifier: MIT */
/*
 * The file is small (eight bytes a gap) and read whole each time: tables of segments are loaded
 * seldom, and lists in memory would grow with the volume.
 */
#include "meta/gaps.h"

#include "asm/kernels.h"
#include "meta/base/bytes.h"
#include "meta/base/err.h"
#include "meta/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define MAGIC      UINT64_C(0x3150414744444c46) /* "FLDDGAP1" */
#define HEAD_BYTES 28u
#define GAP_BYTES  8u
#define CRC_BYTES  4u
#define BLOCK      4096u
/* No segment has more records than that. */
#define MAX_GAPS (FOLD_SEG_MAX_BYTES / 64)

struct fold_gaps *fold_gaps_create(size_t cap)
{
    struct fold_gaps *g = malloc(sizeof *g + cap * sizeof g->at[0]);
    if (g != NULL)
        *g = (struct fold_gaps){0};
    return g;
}

void fold_gaps_name(uint32_t seg, char name[FOLD_SEG_NAME_BYTES])
{
    (void)snprintf(name, FOLD_SEG_NAME_BYTES, "%08x.gap", seg);
}

uint32_t fold_gaps_name_parse(const char *name)
{
    char as_segment[FOLD_SEG_NAME_BYTES];
    size_t len = strlen(name);
    if (len != 12 || strcmp(name + 8, ".gap") != 0)
        return 0;
    memcpy(as_segment, name, 8);
    memcpy(as_segment + 8, ".seg", 5);
    return fold_seg_name_parse(as_segment);
}

static size_t file_bytes(size_t count)
{
    return HEAD_BYTES + count * GAP_BYTES + CRC_BYTES;
}

/* NULL if the bytes are no list of segment `seg`, or without memory. */
static struct fold_gaps *decode(const uint8_t *buf, size_t len, uint32_t seg)
{
    if (len < file_bytes(0))
        return NULL;
    struct fold_rd tail = fold_rd_init(buf + len - CRC_BYTES, CRC_BYTES);
    if (fold_rd_u32(&tail) != fold_kernels()->crc32c(0, buf, len - CRC_BYTES))
        return NULL;
    struct fold_rd r = fold_rd_init(buf, len - CRC_BYTES);
    uint64_t magic = fold_rd_u64(&r);
    uint32_t named = fold_rd_u32(&r);
    uint64_t raw_bytes = fold_rd_u64(&r);
    uint32_t records = fold_rd_u32(&r);
    uint32_t count = fold_rd_u32(&r);
    if (magic != MAGIC || named != seg || count > MAX_GAPS || file_bytes(count) != len)
        return NULL;
    struct fold_gaps *g = fold_gaps_create(count);
    if (g == NULL)
        return NULL;
    g->raw_bytes = raw_bytes;
    g->records = records;
    uint32_t floor = FOLD_SEG_HEADER_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        g->at[i].from = fold_rd_u32(&r);
        g->at[i].to = fold_rd_u32(&r);
        if (g->at[i].from < floor || g->at[i].to <= g->at[i].from ||
            g->at[i].to > FOLD_SEG_MAX_BYTES) {
            free(g);
            return NULL;
        }
        floor = g->at[i].to + 1;
    }
    g->count = count;
    return g;
}

int fold_gaps_load(int dirfd, uint32_t seg, struct fold_gaps **out)
{
    char name[FOLD_SEG_NAME_BYTES];
    void *data;
    size_t len;
    fold_gaps_name(seg, name);
    int rc = fold_io_slurp(dirfd, name, file_bytes(MAX_GAPS), &data, &len);
    if (rc == -ENOENT) {
        *out = NULL;
        return 0;
    }
    if (rc < 0)
        return rc == -EFBIG ? -FOLD_E_BAD_SEGMENT : rc;
    struct fold_gaps *g = decode(data, len, seg);
    free(data);
    if (g == NULL)
        return -FOLD_E_BAD_SEGMENT;
    *out = g;
    return 0;
}

int fold_gaps_save(int dirfd, uint32_t seg, const struct fold_gaps *g)
{
    char name[FOLD_SEG_NAME_BYTES];
    size_t len = file_bytes(g->count);
    FOLD_AUTO(free) uint8_t *buf = malloc(len);
    if (buf == NULL)
        return -ENOMEM;
    struct fold_wr w = fold_wr_init(buf, len);
    fold_wr_u64(&w, MAGIC);
    fold_wr_u32(&w, seg);
    fold_wr_u64(&w, g->raw_bytes);
    fold_wr_u32(&w, g->records);
    fold_wr_u32(&w, g->count);
    for (uint32_t i = 0; i < g->count; i++) {
        fold_wr_u32(&w, g->at[i].from);
        fold_wr_u32(&w, g->at[i].to);
    }
    fold_wr_u32(&w, fold_kernels()->crc32c(0, buf, len - CRC_BYTES));
    fold_gaps_name(seg, name);
    return fold_io_replace(dirfd, name, buf, len, 0600);
}

int fold_gaps_remove(int dirfd, uint32_t seg)
{
    char name[FOLD_SEG_NAME_BYTES];
    fold_gaps_name(seg, name);
    int rc = fold_io_unlink(dirfd, name);
    return rc == -ENOENT ? 0 : rc;
}

bool fold_gaps_cover(const struct fold_gaps *g, uint32_t off)
{
    size_t low = 0, high = g != NULL ? g->count : 0;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (g->at[mid].to <= off)
            low = mid + 1;
        else
            high = mid;
    }
    return g != NULL && low < g->count && off >= g->at[low].from;
}

uint32_t fold_gaps_bytes(const struct fold_gaps *g)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; g != NULL && i < g->count; i++)
        sum += g->at[i].to - g->at[i].from;
    return sum;
}

uint32_t fold_gaps_freed(const struct fold_gaps *g)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; g != NULL && i < g->count; i++) {
        uint32_t from = (g->at[i].from + BLOCK - 1) / BLOCK * BLOCK;
        uint32_t to = g->at[i].to / BLOCK * BLOCK;
        sum += to > from ? to - from : 0;
    }
    return sum;
}

void fold_gaps_hide(const struct fold_gaps *g, struct fold_seg_entry *entries, size_t count)
{
    uint32_t at = 0;
    for (size_t i = 0; g != NULL && i < count && at < g->count;) {
        if (entries[i].off >= g->at[at].to) {
            at++;
            continue;
        }
        if (entries[i].off >= g->at[at].from)
            entries[i] = (struct fold_seg_entry){.off = entries[i].off};
        i++;
    }
}

/* Blocks that a gap shares with live records stay; the gap's part of them is zeroed by the host, so
 * that no header in a gap is ever believed again. */
int fold_gaps_punch(int fd, const struct fold_gaps *g)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < g->count; i++)
        rc = fold_io_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, g->at[i].from,
                               g->at[i].to - g->at[i].from);
    return rc;
}

bool fold_gaps_supported(int fd, uint64_t file_bytes)
{
    uint64_t beyond = (file_bytes / BLOCK + 1) * BLOCK;
    return fold_io_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, beyond, BLOCK) == 0;
}
