/* SPDX-License-Identifier: MIT */
/*
 * The file is small (eight bytes a gap) and read whole each time: tables of segments are loaded
 * seldom, and lists in memory would grow with the volume.
 */
#include "meta/gaps.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/smallfile.h"

#include <errno.h>
#include <fcntl.h>

#define MAGIC      UINT64_C(0x3150414744444c46) /* "FLDDGAP1" */
#define SUFFIX     ".gap"
#define HEAD_BYTES 16u
#define GAP_BYTES  8u
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
    fold_seg_file_name(seg, SUFFIX, name);
}

uint32_t fold_gaps_name_parse(const char *name)
{
    return fold_seg_file_parse(name, SUFFIX);
}

static size_t file_bytes(size_t count)
{
    return FOLD_SMALLFILE_BYTES(HEAD_BYTES + count * GAP_BYTES);
}

/* The content of a list: 0, -FOLD_E_BAD_SEGMENT, -ENOMEM. */
static int decode(struct fold_rd *r, struct fold_gaps **out)
{
    uint64_t raw_bytes = fold_rd_u64(r);
    uint32_t records = fold_rd_u32(r);
    uint32_t count = fold_rd_u32(r);
    if (r->bad || count > MAX_GAPS || fold_rd_left(r) != (size_t)count * GAP_BYTES)
        return -FOLD_E_BAD_SEGMENT;
    struct fold_gaps *g = fold_gaps_create(count);
    if (g == NULL)
        return -ENOMEM;
    g->raw_bytes = raw_bytes;
    g->records = records;
    uint32_t floor = FOLD_SEG_HEADER_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        g->at[i].from = fold_rd_u32(r);
        g->at[i].to = fold_rd_u32(r);
        if (g->at[i].from < floor || g->at[i].to <= g->at[i].from ||
            g->at[i].to > FOLD_SEG_MAX_BYTES) {
            free(g);
            return -FOLD_E_BAD_SEGMENT;
        }
        floor = g->at[i].to + 1;
    }
    g->count = count;
    *out = g;
    return 0;
}

int fold_gaps_load(int dirfd, uint32_t seg, struct fold_gaps **out)
{
    char name[FOLD_SEG_NAME_BYTES];
    FOLD_AUTO(free) void *data = NULL;
    struct fold_rd content;
    uint32_t named;
    fold_gaps_name(seg, name);
    int rc = fold_smallfile_load(dirfd, name, file_bytes(MAX_GAPS), MAGIC, &data, &named, &content);
    if (rc == -ENOENT) {
        *out = NULL;
        return 0;
    }
    if (rc < 0)
        return rc == -EFBIG ? -FOLD_E_BAD_SEGMENT : rc;
    return named == seg ? decode(&content, out) : -FOLD_E_BAD_SEGMENT;
}

int fold_gaps_save(int dirfd, uint32_t seg, const struct fold_gaps *g)
{
    char name[FOLD_SEG_NAME_BYTES];
    size_t len = file_bytes(g->count);
    FOLD_AUTO(free) uint8_t *buf = malloc(len);
    if (buf == NULL)
        return -ENOMEM;
    struct fold_wr w = fold_smallfile_begin(buf, len, MAGIC, seg);
    fold_wr_u64(&w, g->raw_bytes);
    fold_wr_u32(&w, g->records);
    fold_wr_u32(&w, g->count);
    for (uint32_t i = 0; i < g->count; i++) {
        fold_wr_u32(&w, g->at[i].from);
        fold_wr_u32(&w, g->at[i].to);
    }
    fold_gaps_name(seg, name);
    return fold_smallfile_replace(&w, dirfd, name);
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
