/* SPDX-License-Identifier: MIT */
/*
 * Format, little-endian. Header, 56 bytes: magic, stamp and keys (64 bits each), number of roots
 * and of regions, version, 16 zero bytes, CRC-32C of all that. For each region in directory order:
 * length and CRC-32C of a payload (32 bits each), then the payload: root, prefix, depth, lines,
 * removals since the last rewrite (32 bits each) and the lines. A line is its number of entries
 * (one byte), its header (32 bits) and its entries (16 bits each); a run of empty lines is the byte
 * 0xff and the varint of its length.
 */
#include "hashing/filter_file.h"

#include "hashing/filter_line.h"
#include "meta/base/bytes.h"
#include "meta/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#define MAGIC          0x31746c6664666c66ull
#define VERSION        1
#define HEADER_BYTES   56
#define PREFIX_BYTES   8
#define PAYLOAD_FIXED  20
#define EMPTY_RUN      0xff
#define LINE_MAX_BYTES (1 + 4 + 2 * FOLD_PROBE_SLOTS)
#define BLOCK_MAX_BYTES                                                                            \
    (PREFIX_BYTES + PAYLOAD_FIXED + (size_t)FOLD_PROBE_MAX_LINES * LINE_MAX_BYTES)

static uint32_t checksum(const void *data, size_t len)
{
    return fold_kernels()->crc32c(0, data, len);
}

static void put_line(struct fold_wr *w, const uint64_t *words)
{
    struct fold_line l;
    fold_line_read(words, &l);
    fold_wr_u8(w, l.start[FOLD_PROBE_GROUPS]);
    fold_wr_u32(w, (uint32_t)(words[FOLD_PROBE_WORDS - 1] >> 32));
    for (int i = 0; i < l.start[FOLD_PROBE_GROUPS]; i++)
        fold_wr_u16(w, l.slot[i]);
}

static bool line_empty(const uint64_t *words)
{
    uint64_t any = 0;
    for (int i = 0; i < FOLD_PROBE_WORDS; i++)
        any |= words[i];
    return any == 0;
}

/* Encodes a region into `buf`; returns the length of the block. */
static size_t put_region(uint8_t *buf, const struct fold_region *g)
{
    const struct fold_field *f = &g->field;
    struct fold_wr w = fold_wr_init(buf + PREFIX_BYTES, BLOCK_MAX_BYTES - PREFIX_BYTES);
    fold_wr_u32(&w, g->range.root);
    fold_wr_u32(&w, g->range.prefix);
    fold_wr_u32(&w, g->range.depth);
    fold_wr_u32(&w, f->lines);
    fold_wr_u32(&w, g->removed);
    for (uint32_t line = 0; line < f->lines;) {
        uint32_t run = 0;
        while (line + run < f->lines && line_empty(fold_field_line(f, line + run)))
            run++;
        if (run > 0) {
            fold_wr_u8(&w, EMPTY_RUN);
            fold_wr_varint(&w, run);
            line += run;
        } else {
            put_line(&w, fold_field_line(f, line++));
        }
    }
    size_t len = fold_wr_len(&w);
    struct fold_wr prefix = fold_wr_init(buf, PREFIX_BYTES);
    fold_wr_u32(&prefix, (uint32_t)len);
    fold_wr_u32(&prefix, checksum(buf + PREFIX_BYTES, len));
    return PREFIX_BYTES + len;
}

static void put_header(uint8_t buf[HEADER_BYTES], const struct fold_regions *s,
                       const struct fold_filter_head *head)
{
    struct fold_wr w = fold_wr_init(buf, HEADER_BYTES);
    fold_wr_u64(&w, MAGIC);
    fold_wr_u64(&w, head->stamp);
    fold_wr_u64(&w, head->keys);
    fold_wr_u32(&w, s->roots);
    fold_wr_u32(&w, (uint32_t)s->count);
    fold_wr_u32(&w, VERSION);
    fold_wr_u64(&w, 0);
    fold_wr_u64(&w, 0);
    fold_wr_u32(&w, checksum(buf, HEADER_BYTES - 4));
}

int fold_filter_file_write(int fd, const struct fold_regions *s,
                           const struct fold_filter_head *head)
{
    FOLD_AUTO(free) uint8_t *buf = malloc(BLOCK_MAX_BYTES);
    if (buf == NULL)
        return -ENOMEM;
    put_header(buf, s, head);
    int rc = fold_io_pwrite(fd, buf, HEADER_BYTES, 0);
    uint64_t off = HEADER_BYTES;
    uint64_t dir = 0;
    const struct fold_region *g;
    while (rc == 0 && (g = fold_regions_next(s, &dir)) != NULL) {
        size_t len = put_region(buf, g);
        rc = fold_io_pwrite(fd, buf, len, off);
        off += len;
    }
    return rc;
}

/* The name under which the file grows. */
static int temp_name(const char *name, char temp[NAME_MAX + 1])
{
    int n = snprintf(temp, NAME_MAX + 1, "%s.new", name);
    return n < 0 || n > NAME_MAX ? -ENAMETOOLONG : 0;
}

int fold_filter_file_create(int dirfd, const char *name)
{
    char temp[NAME_MAX + 1];
    int rc = temp_name(name, temp);
    return rc < 0 ? rc : fold_io_open(dirfd, temp, O_WRONLY | O_CREAT | O_TRUNC, 0600);
}

int fold_filter_file_finish(int fd, int dirfd, const char *name, int rc)
{
    char temp[NAME_MAX + 1];
    if (rc == 0)
        rc = fold_io_fdatasync(fd);
    (void)close(fd);
    int named = temp_name(name, temp);
    if (named < 0)
        return named;
    if (rc == 0)
        rc = fold_io_rename(dirfd, temp, name);
    if (rc == 0)
        return fold_io_fsync(dirfd);
    int gone = fold_io_unlink(dirfd, temp);
    (void)gone; /* what matters is why it is not wanted */
    return rc;
}

/* Reads one line into `words`. False if it cannot be. */
static bool get_line(struct fold_rd *r, unsigned count, uint64_t *words)
{
    if (count > FOLD_PROBE_SLOTS)
        return false;
    uint64_t w[FOLD_PROBE_WORDS] = {0};
    w[FOLD_PROBE_WORDS - 1] = (uint64_t)fold_rd_u32(r) << 32;
    for (unsigned i = 0; i < count; i++)
        w[i / 4] |= (uint64_t)fold_rd_u16(r) << (16 * (i % 4));
    memcpy(words, w, sizeof w);
    return !r->bad;
}

static bool get_lines(struct fold_rd *r, struct fold_region *g)
{
    const struct fold_field *f = &g->field;
    for (uint32_t line = 0; line < f->lines;) {
        unsigned count = fold_rd_u8(r);
        if (count == EMPTY_RUN) {
            uint64_t run = fold_rd_varint(r);
            if (r->bad || run == 0 || run > f->lines - line)
                return false;
            line += (uint32_t)run;
            continue;
        }
        if (r->bad || !get_line(r, count, fold_field_line(f, line)) ||
            !fold_field_line_valid(f, line))
            return false;
        g->entries += count;
        line++;
    }
    return fold_rd_done(r);
}

static int get_region(struct fold_regions *s, const void *payload, size_t len)
{
    struct fold_rd r = fold_rd_init(payload, len);
    struct fold_filter_range range;
    range.root = fold_rd_u32(&r);
    range.prefix = fold_rd_u32(&r);
    range.depth = fold_rd_u32(&r);
    uint32_t lines = fold_rd_u32(&r);
    uint32_t removed = fold_rd_u32(&r);
    if (r.bad || range.depth > FOLD_PROBE_MAX_DEPTH || range.prefix >> range.depth != 0 ||
        range.root >= s->roots || lines < FOLD_PROBE_MIN_LINES || lines > FOLD_PROBE_MAX_LINES ||
        lines % FOLD_PROBE_FRAME_LINES != 0)
        return -EBADMSG;
    int rc = fold_regions_append(s, &range, lines);
    if (rc < 0)
        return rc;
    struct fold_region *g = &s->regions[s->count - 1];
    g->removed = removed;
    if (!get_lines(&r, g))
        return -EBADMSG;
    s->entries += g->entries;
    return 0;
}

static int get_header(struct fold_regions *s, struct fold_filter_head *head,
                      const uint8_t buf[HEADER_BYTES], size_t *regions)
{
    struct fold_rd r = fold_rd_init(buf, HEADER_BYTES);
    uint64_t magic = fold_rd_u64(&r);
    uint64_t stamp = fold_rd_u64(&r);
    uint64_t keys = fold_rd_u64(&r);
    uint32_t roots = fold_rd_u32(&r);
    *regions = fold_rd_u32(&r);
    uint32_t version = fold_rd_u32(&r);
    (void)fold_rd_bytes(&r, 16);
    uint32_t crc = fold_rd_u32(&r);
    if (magic != MAGIC || version != VERSION || crc != checksum(buf, HEADER_BYTES - 4) ||
        roots == 0 || roots > FOLD_PROBE_MAX_ROOTS)
        return -EBADMSG;
    if (stamp != head->stamp)
        return -ESTALE;
    head->keys = keys;
    fold_regions_init_bare(s, roots);
    return 0;
}

/* Reads exactly len bytes; a file that ends before is a damaged one. */
static int get_bytes(int fd, void *buf, size_t len, uint64_t off)
{
    int rc = fold_io_pread(fd, buf, len, off);
    return rc == -ENODATA ? -EBADMSG : rc;
}

static int read_all(int fd, struct fold_regions *s, struct fold_filter_head *head)
{
    FOLD_AUTO(free) uint8_t *buf = malloc(BLOCK_MAX_BYTES);
    if (buf == NULL)
        return -ENOMEM;
    size_t regions = 0;
    int rc = get_bytes(fd, buf, HEADER_BYTES, 0);
    if (rc == 0)
        rc = get_header(s, head, buf, &regions);
    uint64_t off = HEADER_BYTES;
    for (size_t r = 0; r < regions && rc == 0; r++) {
        rc = get_bytes(fd, buf, PREFIX_BYTES, off);
        if (rc < 0)
            break;
        struct fold_rd prefix = fold_rd_init(buf, PREFIX_BYTES);
        uint32_t len = fold_rd_u32(&prefix);
        uint32_t crc = fold_rd_u32(&prefix);
        if (len > BLOCK_MAX_BYTES)
            return -EBADMSG;
        rc = get_bytes(fd, buf, len, off + PREFIX_BYTES);
        if (rc == 0 && checksum(buf, len) != crc)
            return -EBADMSG;
        if (rc == 0)
            rc = get_region(s, buf, len);
        off += PREFIX_BYTES + len;
    }
    return rc < 0 ? rc : fold_regions_publish(s);
}

int fold_filter_file_read(struct fold_regions *s, struct fold_filter_head *head, int dirfd,
                          const char *name)
{
    fold_regions_init_bare(s, 1);
    FOLD_AUTO(close) int fd = fold_io_open(dirfd, name, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    return read_all(fd, s, head);
}
