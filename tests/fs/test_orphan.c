/* SPDX-License-Identifier: MIT */
/*
 * Inodes without a name at the next mount: removed, and one that cannot be removed keeps nobody
 * from mounting.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/session.h"
#include "meta/commit.h"
#include "meta/inode.h"
#include "meta/keys.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>

#define LEFT    1000
#define DAMAGED 1001
#define NOWHERE 1002

static char store[64];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static struct fold_session *open_session(void)
{
    struct fold_mount_options opt;
    struct fold_session *s = NULL;
    fold_mount_options_init(&opt, true);
    assert_int_equal(fold_session_open(store, &opt, &s), 0);
    return s;
}

/* Three orphans: one as it should be, one whose inode cannot be read, one without an inode. */
static void plant(struct fold_session *s)
{
    struct fold_txn *t = fold_txn_begin(fold_session_catalog(s));
    struct fold_attr left = {.ino = LEFT, .mode = S_IFREG | 0644};
    struct fold_key key;
    fold_lsn lsn;
    fold_inode_store(t, &left);
    fold_key_ino(&key, FOLD_TABLE_INODE, DAMAGED);
    fold_kv_batch_put(t->batch, key.bytes, key.len, "rot", 3);
    fold_orphan_add(t, LEFT);
    fold_orphan_add(t, DAMAGED);
    fold_orphan_add(t, NOWHERE);
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
}

static int note(void *arg, fold_ino ino)
{
    fold_ino *sum = arg;
    *sum += ino;
    return 0;
}

static fold_ino orphans(struct fold_session *s)
{
    fold_ino sum = 0;
    assert_int_equal(fold_orphan_each(fold_session_catalog(s), note, &sum), 0);
    return sum;
}

static void what_cannot_be_removed_stays(void **state)
{
    struct fold_volume_params params = {.chunker = 1, .hash = 1, .codec = 1, .chunk_size = 16384};
    struct fold_attr attr;
    (void)state;
    (void)snprintf(store, sizeof store, "/tmp/fold-test-XXXXXX");
    assert_non_null(mkdtemp(store));
    assert_int_equal(fold_volume_format(store, &params), 0);
    struct fold_session *s = open_session();
    plant(s);
    assert_int_equal(orphans(s), LEFT + DAMAGED + NOWHERE);
    assert_int_equal(fold_session_close(s), 0);
    s = open_session();
    assert_int_equal(orphans(s), DAMAGED);
    assert_int_equal(fold_inode_load(fold_session_catalog(s), LEFT, &attr), -ENOENT);
    assert_int_equal(fold_session_close(s), 0);
    (void)nftw(store, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_removed_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
