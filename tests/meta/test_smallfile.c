/* SPDX-License-Identifier: MIT */
/*
 * Small files with a checksum: the documented bytes, also of the files that are made of them; no
 * flipped, missing or added byte passes unnoticed; a failed replacement leaves the old file.
 */
#include "blob_rig.h"

#include "asm/kernels.h"
#include "meta/forward.h"
#include "meta/gaps.h"
#include "meta/segnext.h"
#include "meta/smallfile.h"

#define MAGIC UINT64_C(0x3154534554444c46) /* "FLDTEST1" */
#define NAME  "small"

static int save(struct rig *r, uint32_t number, const char *content)
{
    uint8_t buf[FOLD_SMALLFILE_BYTES(64)];
    size_t len = strlen(content);
    struct fold_wr w = fold_smallfile_begin(buf, FOLD_SMALLFILE_BYTES(len), MAGIC, number);
    fold_wr_bytes(&w, content, len);
    return fold_smallfile_replace(&w, r->fd, NAME);
}

static void expect(struct rig *r, uint32_t number, const char *content)
{
    FOLD_AUTO(free) void *data = NULL;
    struct fold_rd is;
    uint32_t named;
    assert_int_equal(fold_smallfile_load(r->fd, NAME, 4096, MAGIC, &data, &named, &is), 0);
    assert_int_equal(named, number);
    assert_int_equal(fold_rd_left(&is), strlen(content));
    if (content[0] != '\0')
        assert_memory_equal(is.p, content, strlen(content));
}

static int load(struct rig *r, size_t max, uint64_t magic)
{
    void *data = NULL;
    struct fold_rd content;
    uint32_t number;
    int rc = fold_smallfile_load(r->fd, NAME, max, magic, &data, &number, &content);
    assert_int_equal(rc == 0, data != NULL);
    free(data);
    return rc;
}

static void what_is_saved_comes_back(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    rig_dir(&r);
    assert_int_equal(load(&r, 4096, MAGIC), -ENOENT);
    assert_int_equal(save(&r, 7, "some content"), 0);
    expect(&r, 7, "some content");
    assert_int_equal(load(&r, FOLD_SMALLFILE_BYTES(12), MAGIC), 0);
    assert_int_equal(load(&r, FOLD_SMALLFILE_BYTES(12) - 1, MAGIC), -EFBIG);
    assert_int_equal(load(&r, 4096, MAGIC + 1), -FOLD_E_BAD_SEGMENT);
    assert_int_equal(save(&r, UINT32_MAX, ""), 0);
    expect(&r, UINT32_MAX, "");
    rig_fini(&r);
}

static void damage_is_seen(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    rig_dir(&r);
    assert_int_equal(save(&r, 7, "some content"), 0);
    int fd = rig_file(&r, NAME);
    off_t size = rig_size(fd);
    assert_int_equal(size, FOLD_SMALLFILE_BYTES(12));
    for (off_t at = 0; at < size; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            rig_flip(fd, at, bit);
            assert_int_equal(load(&r, 4096, MAGIC), -FOLD_E_BAD_SEGMENT);
            rig_flip(fd, at, bit);
        }
    assert_int_equal(load(&r, 4096, MAGIC), 0);
    assert_int_equal(pwrite(fd, "", 1, size), 1);
    assert_int_equal(load(&r, 4096, MAGIC), -FOLD_E_BAD_SEGMENT);
    for (off_t len = size - 1; len >= 0; len--) {
        assert_int_equal(ftruncate(fd, len), 0);
        assert_int_equal(load(&r, 4096, MAGIC), -FOLD_E_BAD_SEGMENT);
    }
    close(fd);
    rig_fini(&r);
}

/* Too short for a number, though the checksum is right. */
static void a_forgery_without_a_number(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    rig_dir(&r);
    uint8_t bytes[12];
    struct fold_wr w = fold_wr_init(bytes, sizeof bytes);
    fold_wr_u64(&w, MAGIC);
    fold_wr_u32(&w, fold_kernels()->crc32c(0, bytes, 8));
    assert_int_equal(fold_io_replace(r.fd, NAME, bytes, sizeof bytes, 0600), 0);
    assert_int_equal(load(&r, 4096, MAGIC), -FOLD_E_BAD_SEGMENT);
    rig_fini(&r);
}

static void the_old_or_the_new(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    rig_dir(&r);
    for (int k = 1;; k++) {
        struct rig_fault fault = {.at = k, .rc = -EIO, .only = -1};
        assert_int_equal(save(&r, 1, "old"), 0);
        fold_io_set_fault(rig_fault_hook, &fault);
        int rc = save(&r, 2, "the new one");
        fold_io_set_fault(NULL, NULL);
        if (rc == 0)
            break;
        assert_int_equal(rc, -EIO);
        assert_int_equal(load(&r, 4096, MAGIC), 0);
        assert_true(k < 20);
    }
    expect(&r, 2, "the new one");
    rig_fini(&r);
}

static void expect_bytes(struct rig *r, const char *name, const char *bytes, size_t len)
{
    FOLD_AUTO(free) void *data = NULL;
    size_t is;
    assert_int_equal(fold_io_slurp(r->fd, name, 4096, &data, &is), 0);
    assert_int_equal(is, len + 4);
    assert_memory_equal(data, bytes, len);
    const uint8_t *crc = (const uint8_t *)data + len;
    uint32_t should = fold_kernels()->crc32c(0, bytes, len);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(crc[i], should >> (8 * i) & 0xff);
}

/* Byte by byte as docs/FORMAT-segments.md has them: stores hold such files. */
static void documented_bytes(void **state FOLD_UNUSED)
{
    static const char gap[] =
        "FLDDGAP1\x2a\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\x03\0\0\0\x01\0\0\0"
        "\0\x10\0\0\x40\x20\0\0";
    static const char fwd[] = "FOLDFWD1\x2a\0\0\0\x02\0\0\0\0\x10\0\0\x2b\0\0\0\0\x20\0\0"
                              "\x10\x10\0\0\x2c\0\0\0\0\x30\0\0";
    static const char last[] = "FLDLAST1\x2a\0\0";
    static const struct fold_forward_entry entries[] = {{0x1000, {0x2b, 0x2000}},
                                                        {0x1010, {0x2c, 0x3000}}};
    struct rig r = {0};
    struct fold_forward *f;
    rig_dir(&r);
    struct fold_gaps *g = fold_gaps_create(1);
    assert_non_null(g);
    g->raw_bytes = UINT64_C(0x0102030405060708);
    g->records = 3;
    g->count = 1;
    g->at[0] = (struct fold_gap){0x1000, 0x2040};
    assert_int_equal(fold_gaps_save(r.fd, 0x2a, g), 0);
    free(g);
    expect_bytes(&r, "0000002a.gap", gap, sizeof gap - 1);
    assert_int_equal(fold_forward_open(r.fd, &f), 0);
    assert_int_equal(fold_forward_add(f, 0x2a, entries, 2), 0);
    fold_forward_close(f);
    expect_bytes(&r, "0000002a.fwd", fwd, sizeof fwd - 1);
    assert_int_equal(fold_segnext_save(r.fd, 0x2a), 0);
    expect_bytes(&r, "last", last, sizeof last);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_saved_comes_back),   cmocka_unit_test(damage_is_seen),
        cmocka_unit_test(a_forgery_without_a_number), cmocka_unit_test(the_old_or_the_new),
        cmocka_unit_test(documented_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
