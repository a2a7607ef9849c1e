/* SPDX-License-Identifier: MIT */
/*
 * A catalog on a pretended blob area in a temporary directory. The pretended store counts syncs,
 * can fail them, and says which data survived. Include from one file per program: it defines the
 * store's functions.
 */
#ifndef FOLD_TESTS_META_CATALOG_RIG_H
#define FOLD_TESTS_META_CATALOG_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/log.h"
#include "meta/catalog.h"
#include "meta/commit.h"
#include "meta/inode.h"
#include "meta/store.h"
#include "tests/support/random.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>

struct fold_store {
    _Atomic int syncs;
    int sync_rc;
    struct fold_dep deps[FOLD_STORE_MAX_DEPS];
    size_t ndeps;
    int deps_rc;
    uint32_t survived; /* data below this offset is there after a restart */
    bool logs;         /* hands its fresh data to the journal instead of being synced */
};

int fold_store_sync(struct fold_store *s)
{
    atomic_fetch_add(&s->syncs, 1);
    return s->sync_rc;
}

int fold_store_unlogged(struct fold_store *s, void *buf, size_t cap, size_t *len,
                        struct fold_dep marks[FOLD_STORE_MAX_DEPS], size_t *count)
{
    static const uint8_t piece[14] = {1, 0, 0, 0, 64, 0, 0, 0, 2, 0, 0, 0, 'h', 'i'};
    if (!s->logs || cap < sizeof piece)
        return -E2BIG;
    memcpy(buf, piece, sizeof piece);
    *len = sizeof piece;
    marks[0] = (struct fold_dep){1, 66};
    *count = 1;
    return 0;
}

void fold_store_logged(struct fold_store *s, const struct fold_dep *marks, size_t count)
{
    assert_true(s->logs && count == 1 && marks[0].end == 66);
}

int fold_store_deps(struct fold_store *s, struct fold_dep deps[FOLD_STORE_MAX_DEPS], size_t *count)
{
    memcpy(deps, s->deps, s->ndeps * sizeof *deps);
    *count = s->ndeps;
    return s->deps_rc;
}

bool fold_store_holds(struct fold_store *s, struct fold_dep dep)
{
    return dep.end <= s->survived;
}

struct rig {
    char path[64];
    int fd;
    struct fold_store store;
    struct fold_catalog *c;
};

static int rig_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline void rig_remove_tree(const char *path)
{
    (void)nftw(path, rig_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* In memory if possible: these tests sync all the time, and no test here cuts the power of the
 * host. */
static inline void rig_temp(char path[64])
{
    (void)snprintf(path, 64, "%s/fold-test-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(path));
}

/* Names are hashed with a key, as in new stores. */
static bool rig_keyed;

static inline int rig_try_open(struct rig *r, struct fold_catalog_options opt)
{
    opt.keyed_names = rig_keyed;
    for (unsigned i = 0; i < FOLD_NAME_KEY_BYTES; i++)
        opt.name_key[i] = (uint8_t)i;
    return fold_catalog_open(r->fd, &opt, &r->store, &r->c);
}

static inline void rig_open(struct rig *r)
{
    assert_int_equal(rig_try_open(r, (struct fold_catalog_options){.cache_bytes = 1 << 20}), 0);
}

/* An empty, open catalog. */
static inline void rig_create(struct rig *r)
{
    memset(r, 0, sizeof *r);
    r->store.survived = UINT32_MAX;
    rig_temp(r->path);
    r->fd = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(r->fd >= 0);
    assert_int_equal(fold_catalog_format(r->fd), 0);
    rig_open(r);
}

static inline int rig_close(struct rig *r, bool clean)
{
    int rc = fold_catalog_close(r->c, clean);
    r->c = NULL;
    return rc;
}

static inline void rig_reopen(struct rig *r, bool clean)
{
    assert_int_equal(rig_close(r, clean), 0);
    rig_open(r);
}

static inline void rig_destroy(struct rig *r)
{
    (void)rig_close(r, false);
    close(r->fd);
    rig_remove_tree(r->path);
}

static inline fold_lsn rig_commit(struct fold_txn *t)
{
    fold_lsn lsn = 0;
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
    return lsn;
}

#endif
