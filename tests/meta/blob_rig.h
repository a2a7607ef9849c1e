/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the blob area share: a temporary store directory, chunks that follow from a
 * seed, storing and checking them, and a fault hook that fails the n-th operation.
 */
#ifndef FOLD_TESTS_META_BLOB_RIG_H
#define FOLD_TESTS_META_BLOB_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/log.h"
#include "meta/store.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>

struct rig {
    char path[64];
    int fd;
    struct fold_store_options opt;
    struct fold_store *store;
};

static inline uint64_t rig_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Chunk number `seed`: odd ones are random bytes, even ones compress well. */
static inline void rig_fill(uint64_t seed, uint8_t *buf, size_t len)
{
    uint64_t x = rig_mix(seed);
    for (size_t i = 0; i < len; i++) {
        if (i % 8 == 0)
            x = rig_mix(x);
        buf[i] = (seed & 1) != 0 ? (uint8_t)(x >> (8 * (i % 8))) : (uint8_t)(x & 3);
    }
}

static inline struct fold_fp rig_fp(uint64_t seed, unsigned width)
{
    struct fold_fp fp = {{rig_mix(seed * 4), rig_mix(seed * 4 + 1), 0, 0}};
    if (width == 32) {
        fp.w[2] = rig_mix(seed * 4 + 2);
        fp.w[3] = rig_mix(seed * 4 + 3);
    }
    return fp;
}

static inline int rig_remove_one(const char *path, const struct stat *st FOLD_UNUSED,
                                 int flag FOLD_UNUSED, struct FTW *ftw FOLD_UNUSED)
{
    return remove(path);
}

static inline void rig_dir(struct rig *r)
{
    /* In memory where possible: these tests are about order and bytes, not about the disk. */
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(r->path, sizeof r->path, "%s/foldfs-test-XXXXXX", base);
    assert_non_null(mkdtemp(r->path));
    r->fd = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(r->fd >= 0);
}

/* A fresh store, not opened yet. */
static inline void rig_init(struct rig *r)
{
    memset(r, 0, sizeof *r);
    fold_log_set_level(FOLD_LOG_ERROR);
    rig_dir(r);
    r->opt = (struct fold_store_options){
        .segment_bytes = 256u << 10, .fp_width = 16, .codec = FOLD_CODEC_LZ4, .appenders = 1};
    assert_int_equal(fold_store_format(r->fd), 0);
}

static inline void rig_open(struct rig *r)
{
    assert_int_equal(fold_store_open(r->fd, &r->opt, &r->store), 0);
}

static inline void rig_close(struct rig *r, bool clean)
{
    assert_int_equal(fold_store_close(r->store, clean), 0);
    r->store = NULL;
}

static inline void rig_fini(struct rig *r)
{
    (void)fold_store_close(r->store, false);
    (void)close(r->fd);
    (void)nftw(r->path, rig_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Opens a file of the store for surgery. */
static inline int rig_file(const struct rig *r, const char *name)
{
    int fd = openat(r->fd, name, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static inline off_t rig_size(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return st.st_size;
}

static inline void rig_flip(int fd, off_t off, unsigned bit)
{
    uint8_t b;
    assert_int_equal(pread(fd, &b, 1, off), 1);
    b ^= (uint8_t)(1u << bit);
    assert_int_equal(pwrite(fd, &b, 1, off), 1);
}

/* Stores chunk `seed`. */
static inline int rig_try_put(struct rig *r, uint64_t seed, uint32_t len, struct fold_loc *loc)
{
    uint8_t *data = malloc(len);
    assert_non_null(data);
    rig_fill(seed, data, len);
    struct fold_put put = {.data = data, .len = len, .fp = rig_fp(seed, r->opt.fp_width)};
    int rc = fold_store_put(r->store, &put, 1);
    free(data);
    if (rc == 0)
        *loc = put.loc;
    return rc;
}

static inline struct fold_loc rig_put(struct rig *r, uint64_t seed, uint32_t len)
{
    struct fold_loc loc = {0, 0};
    assert_int_equal(rig_try_put(r, seed, len, &loc), 0);
    return loc;
}

/* Reads the chunk at `loc`: 0 and its bytes are those of `seed`, or the error. Other bytes fail the
 * test. */
static inline int rig_read(struct fold_store *s, struct fold_loc loc, uint64_t seed, uint32_t len)
{
    struct fold_view v;
    int rc = fold_store_view(s, loc, &v);
    if (rc < 0)
        return rc;
    uint8_t *want = malloc(len);
    uint8_t *got = malloc(v.raw_len);
    assert_true(want != NULL && got != NULL);
    rig_fill(seed, want, len);
    rc = fold_store_decode(s, &v, got);
    if (rc == 0) {
        assert_int_equal(v.raw_len, len);
        assert_memory_equal(got, want, len);
    }
    fold_store_unview(s, &v);
    free(want);
    free(got);
    return rc;
}

static inline bool rig_find(struct rig *r, uint64_t seed, struct fold_loc *loc, enum fold_hit *hit)
{
    struct fold_fp fp = rig_fp(seed, r->opt.fp_width);
    const struct fold_fp *ask = &fp;
    assert_int_equal(fold_store_find(r->store, &ask, 1, true, loc, hit), 0);
    return *hit != FOLD_HIT_NONE;
}

/* Fails operation number `at` (from 1) of those selected, once. */
struct rig_fault {
    atomic_int seen;
    int at;
    int rc;
    int only; /* enum fold_io_op, or -1 for all */
};

static inline int rig_fault_hook(void *arg, enum fold_io_op op, int fd FOLD_UNUSED,
                                 const char *name FOLD_UNUSED)
{
    struct rig_fault *f = arg;
    if (f->only >= 0 && f->only != (int)op)
        return 0;
    return atomic_fetch_add(&f->seen, 1) + 1 == f->at ? f->rc : 0;
}

#endif
