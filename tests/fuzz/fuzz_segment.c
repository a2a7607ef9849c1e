/* SPDX-License-Identifier: MIT */
/* A whole segment file: header, footer, table, records. What the scan reports lies inside the file,
 * in order. */
#include "meta/base/guard.h"
#include "meta/base/log.h"
#include "meta/record.h"
#include "meta/segscan.h"
#include "tests/fuzz/target.h"

#include <sys/mman.h>

#define SEG 1u

static void check_entries(const struct fold_seg_entry *e, uint32_t count, uint64_t end)
{
    for (uint32_t i = 0; i < count; i++)
        FOLD_HOLDS(e[i].off < end && e[i].raw_len <= FOLD_CHUNK_MAX_BYTES &&
                   (i == 0 || e[i].off > e[i - 1].off));
}

static void scan(int fd, uint64_t size)
{
    struct fold_seg_ident id;
    struct fold_seg_summary sum;
    struct fold_seg_entry *entries = NULL;
    int kind = fold_segscan_footer(fd, SEG, &id, &sum);
    if (kind < 0)
        return;
    if (kind == 0 && fold_segscan_table(fd, &sum, &entries) == 0) {
        check_entries(entries, sum.count, sum.data_end);
        free(entries);
    }
    struct fold_segment_content content;
    bool clean;
    if (fold_segscan_records(fd, &id, &content, &clean) == 0) {
        FOLD_HOLDS(content.data_end <= size && content.whole_end <= content.data_end);
        check_entries(content.entries, content.count, content.data_end);
        free(content.entries);
    }
}

/* Makes header, table and footer believable where the input has them. */
static void seal(uint8_t *p, size_t size)
{
    if (size < FOLD_SEG_HEADER_BYTES + FOLD_SEG_FOOTER_BYTES)
        return;
    for (size_t at = 0; at <= 2048; at += 2048)
        fold_fuzz_seal(p + at + 60, fold_kernels()->crc32c(0, p + at, 60));
    uint8_t *foot = p + size - FOLD_SEG_FOOTER_BYTES;
    struct fold_rd r = fold_rd_init(foot + 28, 8);
    uint64_t data_end = fold_rd_u32(&r);
    uint64_t table = (uint64_t)fold_rd_u32(&r) * FOLD_SEG_ENTRY_BYTES;
    if (data_end + table <= size - FOLD_SEG_FOOTER_BYTES)
        fold_fuzz_seal(foot + 36, fold_kernels()->crc32c(0, p + data_end, table));
    fold_fuzz_seal(foot + 60, fold_kernels()->crc32c(0, foot, 60));
}

static void run(const uint8_t *data, size_t size)
{
    int fd = memfd_create("segment", MFD_CLOEXEC);
    FOLD_HOLDS(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    scan(fd, size);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fold_guard_install();
    fold_log_set_level(FOLD_LOG_ERROR);
    run(data, size);
    uint8_t *copy = fold_fuzz_copy(data, size);
    seal(copy, size);
    run(copy, size);
    struct fold_seg_summary sum;
    (void)!fold_seg_summary_decode(copy, size, &sum);
    free(copy);
    return 0;
}
