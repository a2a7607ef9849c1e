/* SPDX-License-Identifier: MIT */
/*
 * Writes the corpora: small valid inputs of every target, always the same bytes. Usage: fuzz_seeds
 * DIRECTORY.
 */
#include "meta/commit.h"
#include "meta/inode.h"
#include "meta/journal_format.h"
#include "meta/record.h"
#include "meta/recipe.h"
#include "meta/superblock.h"
#include "tests/fuzz/target.h"

#include <stdio.h>
#include <sys/stat.h>

static const char *top;

static void emit(const char *target, const char *name, const void *data, size_t len)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", top, target);
    (void)mkdir(path, 0755);
    (void)snprintf(path, sizeof path, "%s/%s/%s", top, target, name);
    FILE *file = fopen(path, "wb");
    FOLD_HOLDS(file != NULL && fwrite(data, 1, len, file) == len && fclose(file) == 0);
}

static void superblock(void)
{
    uint8_t out[FOLD_SUPERBLOCK_BYTES];
    struct fold_volume_params p = {.chunker = 1, .hash = 1, .codec = 1, .chunk_size = 16384};
    fold_superblock_encode(out, &p);
    emit("superblock", "xxh3", out, sizeof out);
    p.hash = 2;
    p.chunker = 2;
    fold_superblock_encode(out, &p);
    emit("superblock", "sha256", out, sizeof out);
    p.features = FOLD_FEATURES_NEW;
    fold_superblock_encode(out, &p);
    emit("superblock", "features", out, sizeof out);
}

/* A record with payload at `off`; returns its length with padding. */
static uint32_t put_record(const struct fold_seg_ident *id, uint32_t off, uint32_t len,
                           uint8_t *out)
{
    uint8_t payload[256];
    memset(payload, (int)(off >> 4), sizeof payload);
    struct fold_rec rec = {.raw_len = len,
                           .stored_len = len,
                           .synced = off,
                           .payload_crc = fold_rec_payload_crc(payload, len),
                           .fp = {{off, 2, 3, 4}}};
    if (id->fp_width == 16)
        rec.fp.w[2] = rec.fp.w[3] = 0;
    fold_rec_encode(id, off, &rec, out);
    memcpy(out + fold_rec_header_bytes(id->fp_width), payload, len);
    return fold_rec_bytes(id->fp_width, len);
}

static void record(void)
{
    for (uint32_t wide = 0; wide < 2; wide++) {
        uint8_t out[512] = {0};
        struct fold_seg_ident id = {.seg = 7,
                                    .salt = 0x1122334455667788u,
                                    .capacity = 64u << 20,
                                    .fp_width = wide != 0 ? 32 : 16};
        struct fold_wr w = fold_wr_init(out, 12);
        fold_wr_u32(&w, wide);
        fold_wr_u32(&w, 8192);
        fold_wr_u32(&w, 16384);
        uint32_t len = put_record(&id, 8192, 100, out + 12);
        emit("record", wide != 0 ? "wide" : "narrow", out, 12 + len);
    }
}

static void segment(void)
{
    static uint8_t out[16384];
    struct fold_seg_ident id = {.seg = 1, .salt = 99, .capacity = 64u << 20, .fp_width = 16};
    struct fold_seg_entry e[10];
    struct fold_seg_footer foot = {.count = 10};
    fold_seg_header_encode(&id, out);
    uint32_t off = FOLD_SEG_HEADER_BYTES;
    for (uint32_t i = 0; i < 10; i++) {
        uint32_t len = 20 + 17 * i;
        e[i] = (struct fold_seg_entry){{off, 2}, off, len};
        foot.raw_bytes += len;
        foot.stored_bytes += fold_rec_bytes(16, len);
        off += put_record(&id, off, len, out + off);
    }
    emit("segment", "open", out, off);
    emit("segment", "torn", out, off - 30);
    foot.data_end = foot.whole_end = off;
    fold_seg_tail_encode(&id, &foot, e, out + off);
    emit("segment", "sealed", out, fold_seg_sealed_bytes(off, 10));
    uint8_t sum[FOLD_SEG_SUMMARY_BYTES];
    fold_seg_summary_encode(
        &(struct fold_seg_summary){.ident = id, .file_bytes = 9000, .data_end = off, .count = 10},
        sum);
    emit("segment", "summary", sum, sizeof sum);
}

static void recipe(void)
{
    struct fold_page page = {0};
    uint64_t base = 3 * (uint64_t)FOLD_PAGE_BYTES;
    for (uint32_t i = 0; i < 12; i++) {
        struct fold_extent e = {.off = base + i * 20000u + (i % 3) * 100u,
                                .len = 15000 + i,
                                .skip = i % 4 * 16,
                                .loc = {1 + i / 5, 4096 + (i * 7 % 12) * 16384},
                                .kind = FOLD_EXTENT_DATA,
                                .flags = i == 11 ? FOLD_EXTENT_TAIL : 0};
        if (i == 6)
            e = (struct fold_extent){.off = e.off, .len = 4096, .kind = FOLD_EXTENT_UNWRITTEN};
        FOLD_HOLDS(fold_page_insert(&page, &e) == 0);
    }
    void *packed;
    size_t len;
    FOLD_HOLDS(fold_page_encode(&page, 3, &packed, &len) == 0 && len < 4000);
    uint8_t out[4096];
    struct fold_wr w = fold_wr_init(out, sizeof out);
    fold_wr_u64(&w, 3);
    fold_wr_bytes(&w, packed, len);
    emit("recipe", "mixed", out, fold_wr_len(&w));
    free(packed);
    fold_page_fini(&page);
}

static void put_catalog(const char *name, uint8_t kind, const void *data, size_t len)
{
    uint8_t out[512];
    out[0] = kind;
    memcpy(out + 1, data, len);
    emit("catalog", name, out, len + 1);
}

static void catalog(void)
{
    /* Version, times, mode 0100644, uid, gid, nlink, rdev, size, mapped, parent, flags, btime,
     * mtime. */
    static const uint8_t inode[] = {
        1,    1,    0xa4, 0x83, 2, 0xe8, 7, 100, 1,    0,    0x80, 0x20, 0x80, 0x20, 0, 0, 0x80,
        0x8a, 0xce, 0xf0, 12,   1, 2,    3, 4,   0x90, 0x8a, 0xce, 0xf0, 12,   5,    6, 7, 8};
    static const uint8_t bucket[] = {0, 8, 3, 1, 'a', 2, 4, 0x80, 1, 3, 'b', 'c', 'd'};
    uint8_t counters[FOLD_COUNTERS_MAX];
    struct fold_counters sum = {
        .next_ino = 77, .files = 5, .directories = 3, .others = 1, .logical_bytes = 123456};
    struct fold_key key;
    put_catalog("inode", 0, inode, sizeof inode);
    put_catalog("bucket", 1, bucket, sizeof bucket);
    static const uint8_t keyed[] = {1, 0, 8, 3, 1, 'a', 2, 4, 0x80, 1, 4, 'n', 'a', 'm', 'e'};
    put_catalog("bucket-keyed", 4, keyed, sizeof keyed);
    put_catalog("counters", 2, counters, fold_counters_encode(counters, 9, &sum));
    fold_key_ino(&key, FOLD_TABLE_INODE, 300);
    put_catalog("key-inode", 3, key.bytes, key.len);
    fold_key_pair(&key, FOLD_TABLE_RECIPE, 300, 4);
    put_catalog("key-recipe", 3, key.bytes, key.len);
}

static void journal(void)
{
    static const uint8_t salt[FOLD_JOURNAL_SALT_BYTES] = {1, 2, 3};
    static uint8_t out[8192];
    uint32_t seed = fold_journal_header_write(out, 1, salt);
    size_t at = FOLD_JOURNAL_HEADER_BYTES;
    for (fold_lsn lsn = 5; lsn < 9; lsn++) {
        struct fold_dep deps[2] = {{1, 5000}, {2, 6000}};
        uint8_t data[64];
        memset(data, (int)lsn, sizeof data);
        struct fold_journal_record rec = {.lsn = lsn,
                                          .deps = deps,
                                          .ndeps = lsn % 3,
                                          .note = "note",
                                          .note_len = 4,
                                          .data = data,
                                          .len = sizeof data};
        size_t head = fold_journal_head_write(out + at, seed, &rec);
        memcpy(out + at + head, data, sizeof data);
        at += head + sizeof data;
    }
    emit("journal", "four", out, at);
    emit("journal", "torn", out, at - 20);
}

static void options(void)
{
    static const char *const lines[] = {"ro,allow_other,default_permissions",
                                        "commit=5,threads=4,workers=2",
                                        "dirty=64M,index_cache=1.5G,max_read=128K",
                                        "codec=zstd,verify=always,noatime,nosuid,nodev",
                                        "subtype=x\\,y,rw,dev",
                                        "16K",
                                        "1.5GiB",
                                        "4096"};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(lines); i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "line%zu", i);
        emit("options", name, lines[i], strlen(lines[i]));
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    top = argv[1];
    superblock();
    record();
    segment();
    recipe();
    catalog();
    journal();
    options();
    return 0;
}
