/* SPDX-License-Identifier: MIT */
/*
 * The filter's file: what is saved comes back, what is damaged is refused, what fails changes
 * nothing.
 */
#include "tests/hashing/filter_rig.h"

#include "asm/kernels.h"
#include "meta/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

static void save_and_load(void **state)
{
    (void)state;
    char path[32];
    int dir = temp_dir(path);
    struct fold_filter *f = NULL;
    assert_int_equal(fold_filter_load(dir, "filter", 5, &f), -ENOENT);
    f = filter_of(0);
    insert_range(f, 0, 900000);
    for (uint64_t i = 0; i < 1000; i++) {
        struct fold_fp fp = fp_of(i);
        assert_true(fold_filter_delete(f, &fp));
    }
    assert_int_equal(fold_filter_save(f, dir, "filter", 5), 0);
    struct fold_filter *g = NULL;
    assert_int_equal(fold_filter_load(dir, "filter", 6, &g), -ESTALE);
    assert_int_equal(fold_filter_load(dir, "filter", 5, &g), 0);
    struct fold_filter_info a = info_of(f);
    struct fold_filter_info b = info_of(g);
    assert_int_equal(a.keys, b.keys);
    assert_int_equal(a.slots, b.slots);
    assert_int_equal(a.doublings, b.doublings);
    assert_int_equal(count_maybe(g, 1000, 900000), 899000);
    assert_int_equal(count_maybe(f, 1ull << 40, (1ull << 40) + 500000),
                     count_maybe(g, 1ull << 40, (1ull << 40) + 500000));
    /* The loaded one goes on growing. */
    insert_range(g, 900000, 1500000);
    assert_int_equal(count_maybe(g, 1000, 1500000), 1499000);
    assert_int_equal(unlinkat(dir, "filter", 0), 0);
    assert_int_equal(close(dir), 0);
    assert_int_equal(rmdir(path), 0);
    fold_filter_destroy(f);
    fold_filter_destroy(g);
}

/* A small filter makes a small file, although it has room for millions. */
static void small_filter_small_file(void **state)
{
    (void)state;
    char path[32];
    int dir = temp_dir(path);
    struct fold_filter *f = NULL;
    assert_int_equal(fold_filter_create(0, &f), 0);
    insert_range(f, 0, 1000);
    assert_int_equal(fold_filter_save(f, dir, "filter", 1), 0);
    struct stat st;
    assert_int_equal(fstatat(dir, "filter", &st, 0), 0);
    assert_true(st.st_size < 16384);
    assert_int_equal(unlinkat(dir, "filter", 0), 0);
    assert_int_equal(close(dir), 0);
    assert_int_equal(rmdir(path), 0);
    fold_filter_destroy(f);
}

struct failure {
    int at;
    int calls;
};

static int fail_one(void *arg, enum fold_io_op op, int fd, const char *name)
{
    struct failure *f = arg;
    (void)op;
    (void)fd;
    (void)name;
    return f->calls++ == f->at ? -EIO : 0;
}

/* Whatever fails while saving, the file is the old one or the new one, and nothing else is left. */
static void failed_save_changes_nothing(void **state)
{
    (void)state;
    char path[32];
    int dir = temp_dir(path);
    struct fold_filter *f = filter_of(0);
    insert_range(f, 0, 1000);
    assert_int_equal(fold_filter_save(f, dir, "filter", 1), 0);
    insert_range(f, 1000, 2000);
    bool failed = true;
    for (int at = 0; failed; at++) {
        struct failure plan = {.at = at};
        fold_io_set_fault(fail_one, &plan);
        int rc = fold_filter_save(f, dir, "filter", 2);
        fold_io_set_fault(NULL, NULL);
        failed = plan.calls > at;
        assert_int_equal(rc, failed ? -EIO : 0);
        struct fold_filter *g = NULL;
        if (fold_filter_load(dir, "filter", 1, &g) == 0)
            assert_int_equal(info_of(g).keys, 1000);
        else
            assert_int_equal(fold_filter_load(dir, "filter", 2, &g), 0);
        fold_filter_destroy(g);
        assert_int_equal(faccessat(dir, "filter.new", F_OK, 0), -1);
        assert_true(at < 20);
    }
    assert_int_equal(unlinkat(dir, "filter", 0), 0);
    assert_int_equal(close(dir), 0);
    assert_int_equal(rmdir(path), 0);
    fold_filter_destroy(f);
}

/* Any flipped byte and any cut is noticed. */
static void damaged_file_is_refused(void **state)
{
    (void)state;
    char path[32];
    int dir = temp_dir(path);
    struct fold_filter *f = filter_of(0);
    insert_range(f, 0, 3000);
    assert_int_equal(fold_filter_save(f, dir, "filter", 9), 0);
    void *data = NULL;
    size_t len = 0;
    assert_int_equal(fold_io_slurp(dir, "filter", 1 << 20, &data, &len), 0);
    uint8_t *bytes = data;
    uint64_t rnd = 1;
    for (int i = 0; i < 400; i++) {
        rnd = rnd * 6364136223846793005ull + 1442695040888963407ull;
        size_t at = i < 100 ? (size_t)i : (size_t)((rnd >> 32) * len >> 32);
        bytes[at] ^= (uint8_t)(1u << (rnd >> 20 & 7));
        assert_int_equal(fold_io_replace(dir, "filter", bytes, len, 0600), 0);
        bytes[at] ^= (uint8_t)(1u << (rnd >> 20 & 7));
        struct fold_filter *g = NULL;
        assert_int_equal(fold_filter_load(dir, "filter", 9, &g), -EBADMSG);
        assert_null(g);
        size_t cut = (size_t)((rnd >> 32) * len >> 32);
        assert_int_equal(fold_io_replace(dir, "filter", bytes, cut, 0600), 0);
        assert_int_equal(fold_filter_load(dir, "filter", 9, &g), -EBADMSG);
    }
    free(data);
    assert_int_equal(unlinkat(dir, "filter", 0), 0);
    assert_int_equal(close(dir), 0);
    assert_int_equal(rmdir(path), 0);
    fold_filter_destroy(f);
}

/* Bytes of the header, of a region's length and checksum. */
#define HEADER_BYTES 56
#define PREFIX_BYTES 8

static uint32_t get32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Makes all checksums right again. */
static void forge(uint8_t *bytes, size_t len)
{
    uint32_t crc = fold_kernels()->crc32c(0, bytes, HEADER_BYTES - 4);
    for (int i = 0; i < 4; i++)
        bytes[HEADER_BYTES - 4 + i] = (uint8_t)(crc >> (8 * i));
    for (size_t at = HEADER_BYTES; at + PREFIX_BYTES <= len;) {
        size_t n = get32(bytes + at);
        if (n > len - at - PREFIX_BYTES)
            return;
        crc = fold_kernels()->crc32c(0, bytes + at + PREFIX_BYTES, n);
        for (int i = 0; i < 4; i++)
            bytes[at + 4 + (size_t)i] = (uint8_t)(crc >> (8 * i));
        at += PREFIX_BYTES + n;
    }
}

/* A file that lies behind right checksums is refused or makes a filter that can be used: no crash,
 * no access outside its memory. */
static void forged_file_does_no_harm(void **state)
{
    (void)state;
    char path[32];
    int dir = temp_dir(path);
    struct fold_filter *f = filter_of(0);
    insert_range(f, 0, 340000); /* two regions */
    assert_int_equal(fold_filter_save(f, dir, "filter", 9), 0);
    fold_filter_destroy(f);
    void *data = NULL;
    size_t len = 0;
    assert_int_equal(fold_io_slurp(dir, "filter", 4 << 20, &data, &len), 0);
    uint8_t *copy = malloc(len);
    assert_non_null(copy);
    uint64_t rnd = (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)rnd);
    int loaded = 0;
    for (int i = 0; i < 150; i++) {
        memcpy(copy, data, len);
        for (int k = 0; k <= i % 3; k++) {
            rnd = mix(rnd + 1);
            size_t at = i % 2 == 0 ? rnd % 100 : rnd % len;
            copy[at] = (uint8_t)(rnd >> 40);
        }
        forge(copy, len);
        assert_int_equal(fold_io_replace(dir, "filter", copy, len, 0600), 0);
        if (fold_filter_load(dir, "filter", 9, &f) != 0)
            continue;
        loaded++;
        (void)count_maybe(f, 0, 20000);
        insert_range(f, 1ull << 42, (1ull << 42) + 10000);
        for (uint64_t k = 0; k < 2000; k++) {
            struct fold_fp fp = fp_of(k);
            (void)fold_filter_delete(f, &fp);
        }
        assert_int_equal(count_maybe(f, 1ull << 42, (1ull << 42) + 10000), 10000);
        fold_filter_destroy(f);
    }
    print_message("%d of 150 loaded\n", loaded);
    free(copy);
    free(data);
    assert_int_equal(unlinkat(dir, "filter", 0), 0);
    assert_int_equal(close(dir), 0);
    assert_int_equal(rmdir(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(save_and_load),
        cmocka_unit_test(small_filter_small_file),
        cmocka_unit_test(failed_save_changes_nothing),
        cmocka_unit_test(damaged_file_is_refused),
        cmocka_unit_test(forged_file_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
