/* SPDX-License-Identifier: MIT */
/*
 * A volume opened without a mount, and one file with a model of what it must hold: for the tests of
 * everything between a write and the store. Small knobs make a few kilobytes cross every limit.
 */
#ifndef FOLD_TESTS_FS_CONTENT_RIG_H
#define FOLD_TESTS_FS_CONTENT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/data.h"
#include "fs/flush.h"
#include "fs/readpath.h"
#include "fs/session.h"
#include "meta/base/knob.h"
#include "meta/commit.h"
#include "meta/inode.h"
#include "tests/support/random.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RIG_INO  1000
#define RIG_ROOM (1u << 20) /* of the model */

struct rig {
    char store[64];
    struct fold_session *session;
    struct fold_inode *inode;
    uint8_t *model; /* RIG_ROOM bytes */
    uint64_t size;
    uint64_t seed;
};

static inline uint32_t rig_below(struct rig *r, uint64_t below)
{
    return (uint32_t)(rig_random_mixed(&r->seed) % below);
}

static inline int rig_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

/* Background work never starts by itself: the commit interval is long. */
static inline void rig_mount(struct rig *r)
{
    struct fold_mount_options opt;
    fold_mount_options_init(&opt, true);
    opt.commit_seconds = 300;
    assert_int_equal(fold_session_open(r->store, &opt, &r->session), 0);
    assert_int_equal(fold_itable_get(r->session->inodes, RIG_INO, &r->inode), 0);
    struct fold_data *d;
    assert_int_equal(fold_data_get(r->inode, &d), 0);
}

static inline int rig_unmount(struct rig *r)
{
    fold_itable_put(r->session->inodes, r->inode);
    int rc = fold_session_close(r->session);
    r->session = NULL;
    return rc;
}

static inline void rig_setup_chunks(struct rig *r, uint32_t chunker, uint32_t chunk_size)
{
    struct fold_volume_params params = {
        .chunker = chunker, .hash = 1, .codec = 1, .chunk_size = chunk_size};
    *r = (struct rig){.seed = 0x9e3779b97f4a7c15};
    (void)snprintf(r->store, sizeof r->store, "/tmp/fold-test-XXXXXX");
    assert_non_null(mkdtemp(r->store));
    assert_int_equal(fold_volume_format(r->store, &params), 0);
    struct fold_mount_options opt;
    fold_mount_options_init(&opt, true);
    assert_int_equal(fold_session_open(r->store, &opt, &r->session), 0);
    struct fold_txn *t = fold_txn_begin(fold_session_catalog(r->session));
    struct fold_attr attr = {.ino = RIG_INO, .mode = S_IFREG | 0644, .nlink = 1};
    fold_inode_store(t, &attr);
    assert_int_equal(fold_txn_commit(t, &(fold_lsn){0}), 0);
    assert_int_equal(fold_session_close(r->session), 0);
    r->model = calloc(1, RIG_ROOM);
    assert_non_null(r->model);
    rig_mount(r);
}

static inline void rig_setup(struct rig *r)
{
    rig_setup_chunks(r, FOLD_CUT_CDC, 4096);
}

static inline void rig_teardown(struct rig *r)
{
    fold_knobs_reset();
    if (r->session != NULL)
        assert_int_equal(rig_unmount(r), 0);
    (void)nftw(r->store, rig_remove, 16, FTW_DEPTH | FTW_PHYS);
    free(r->model);
}

static inline int rig_write_bytes(struct fold_session *s, struct fold_inode *i, uint64_t off,
                                  const void *p, uint32_t len, bool kill, uint64_t *dirty)
{
    return fold_data_write(s, i, &(struct fold_write){off, p, len, .kill_priv = kill}, dirty);
}

/* Writes `len` bytes at `off`, random ones or zeros. */
static inline int rig_write(struct rig *r, uint64_t off, uint32_t len, bool zeros)
{
    uint8_t *bytes = calloc(1, len);
    assert_non_null(bytes);
    for (uint32_t i = 0; !zeros && i < len; i++)
        bytes[i] = (uint8_t)rig_below(r, 256);
    int rc = rig_write_bytes(r->session, r->inode, off, bytes, len, false, &(uint64_t){0});
    if (rc == 0) {
        memcpy(r->model + off, bytes, len);
        r->size = FOLD_MAX(r->size, off + len);
    }
    free(bytes);
    return rc;
}

static inline void rig_truncate(struct rig *r, uint64_t size)
{
    assert_int_equal(fold_data_truncate(r->session, r->inode, size, false, NULL), 0);
    if (size < r->size)
        memset(r->model + size, 0, r->size - size);
    r->size = size;
}

/* Reads [off, off+len) and compares with the model. */
static inline void rig_check_range(struct rig *r, uint64_t off, uint32_t len)
{
    struct fold_read read = {0};
    uint8_t *bytes = malloc(len + 1);
    assert_non_null(bytes);
    assert_int_equal(fold_read_collect(r->session, r->inode, off, len, &read), 0);
    assert_int_equal(read.len, off < r->size ? FOLD_MIN((uint64_t)len, r->size - off) : 0);
    assert_int_equal(fold_read_copy(&read, bytes), 0);
    assert_memory_equal(bytes, r->model + off, read.len);
    fold_read_fini(r->session, &read);
    free(bytes);
}

static inline void rig_check(struct rig *r)
{
    fold_lock_take(&r->inode->lock);
    uint64_t size = r->inode->attr.size;
    fold_lock_drop(&r->inode->lock);
    assert_int_equal(size, r->size);
    rig_check_range(r, 0, (uint32_t)r->size + 100);
}

/* Nothing of the file is dirty. */
static inline void rig_check_clean(const struct rig *r)
{
    const struct fold_data *d = r->inode->data;
    assert_int_equal(d->dirty.bytes, 0);
    assert_int_equal(d->flushing.bytes, 0);
    assert_true(d->hidden_from == UINT64_MAX);
    assert_false(fold_data_dirty(r->inode));
}

/* Draws writes, runs of zeros and cut-offs; flushes with a chance of one in `flushes`. */
static inline void rig_churn(struct rig *r, unsigned count, uint32_t longest, unsigned flushes)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t len = 1 + rig_below(r, longest);
        uint64_t off = rig_below(r, 4) == 0 ? r->size : rig_below(r, 200000);
        off = FOLD_MIN(off, (uint64_t)RIG_ROOM / 2);
        if (rig_below(r, 30) == 0)
            rig_truncate(r, rig_below(r, r->size + 20000));
        else
            assert_int_equal(rig_write(r, off, len, rig_below(r, 6) == 0), 0);
        if (rig_below(r, flushes) == 0) {
            assert_int_equal(fold_flush_inode(r->session, r->inode), 0);
            rig_check_clean(r);
        }
    }
}

/* Closes, opens again, and compares: what the catalog alone has. */
static inline void rig_remount_and_check(struct rig *r)
{
    assert_int_equal(rig_unmount(r), 0);
    rig_mount(r);
    rig_check(r);
}

#endif
