/* SPDX-License-Identifier: MIT */
/*
 * Store directories: mkfs, opening, locking, superblock copies and their damage, versions and
 * features.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "asm/kernels.h"
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/log.h"
#include "meta/commit.h"
#include "meta/dentry.h"
#include "meta/inode.h"
#include "meta/kv.h"
#include "meta/superblock.h"
#include "meta/volume.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/wait.h>

static const struct fold_volume_params wanted = {
    .chunker = 1, .hash = 1, .codec = FOLD_CODEC_LZ4, .chunk_size = 16384};
static const struct fold_volume_options rw = {.catalog = {.cache_bytes = 1 << 20}};
static const struct fold_volume_options ro = {.catalog = {.cache_bytes = 1 << 20},
                                              .read_only = true};

static char dir[64];   /* holds the store */
static char store[80]; /* the store itself; not made yet */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/fold-test-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(store, sizeof store, "%s/store", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct fold_volume *must_open(const struct fold_volume_options *opt)
{
    struct fold_volume *v = NULL;
    assert_int_equal(fold_volume_open(store, opt, &v), 0);
    return v;
}

static int try_open(const struct fold_volume_options *opt)
{
    struct fold_volume *v = NULL;
    int rc = fold_volume_open(store, opt, &v);
    if (rc == 0)
        assert_int_equal(fold_volume_close(v, true), 0);
    else
        assert_null(v);
    return rc;
}

static unsigned names_in(const char *path)
{
    DIR *d = opendir(path);
    assert_non_null(d);
    unsigned n = 0;
    const struct dirent *e;
    while ((e = readdir(d)) != NULL)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void a_new_store_opens(void **state)
{
    (void)state;
    assert_int_equal(fold_volume_format(store, &wanted), 0);
    struct stat st;
    assert_int_equal(stat(store, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    struct fold_volume *v = must_open(&rw);
    assert_int_equal(v->params.chunk_size, 16384);
    assert_int_equal(v->params.codec, FOLD_CODEC_LZ4);
    assert_int_equal(v->params.uuid[6] >> 4, 4);
    struct fold_attr a;
    assert_int_equal(fold_inode_load(v->catalog, FOLD_INO_ROOT, &a), 0);
    a.size = 42;
    struct fold_txn *t = fold_txn_begin(v->catalog);
    fold_inode_store(t, &a);
    fold_lsn lsn;
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
    assert_int_equal(fold_catalog_sync(v->catalog, lsn), 0);
    assert_int_equal(fold_volume_close(v, true), 0);
    v = must_open(&rw);
    assert_int_equal(fold_inode_load(v->catalog, FOLD_INO_ROOT, &a), 0);
    assert_int_equal(a.size, 42);
    assert_int_equal(fold_volume_close(v, false), 0);
    assert_int_equal(fold_volume_close(NULL, true), 0);
}

static void each_store_is_its_own(void **state)
{
    (void)state;
    struct fold_volume_params a, b;
    assert_int_equal(fold_volume_format(store, &wanted), 0);
    assert_int_equal(fold_volume_probe(store, &a), 0);
    (void)snprintf(store, sizeof store, "%s/other", dir);
    assert_int_equal(fold_volume_format(store, &wanted), 0);
    assert_int_equal(fold_volume_probe(store, &b), 0);
    assert_memory_not_equal(a.uuid, b.uuid, sizeof a.uuid);
    assert_memory_not_equal(a.secret, b.secret, sizeof a.secret);
}

static void mkfs_wants_an_empty_directory(void **state)
{
    (void)state;
    assert_int_equal(mkdir(store, 0755), 0);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/precious", store);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    assert_int_equal(fold_volume_format(store, &wanted), -FOLD_E_STORE_EXISTS);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(names_in(store), 1);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/lost+found", store);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(fold_volume_format(store, &wanted), 0);
    assert_int_equal(fold_volume_format(store, &wanted), -FOLD_E_STORE_EXISTS);
    assert_int_equal(try_open(&rw), 0);
    (void)snprintf(store, sizeof store, "%s/no/such", dir);
    assert_int_equal(fold_volume_format(store, &wanted), -ENOENT);
}

static void mkfs_refuses_nonsense(void **state)
{
    (void)state;
    struct fold_volume_params p = wanted;
    p.chunk_size = 0;
    assert_int_equal(fold_volume_format(store, &p), -EINVAL);
    p = wanted;
    p.features = 2;
    assert_int_equal(fold_volume_format(store, &p), -FOLD_E_UNKNOWN_FEATURE);
    assert_int_equal(access(store, F_OK), -1);
}

/* The directories of a store with the feature are read with the key of its own secret. */
static void a_store_keeps_its_name_hash(void **state)
{
    (void)state;
    struct fold_volume_params p = wanted;
    for (unsigned i = 0; i < 2; i++) {
        p.features = i == 0 ? FOLD_FEATURES_NEW : 0;
        assert_int_equal(fold_volume_format(store, &p), 0);
        struct fold_volume *v = NULL;
        uint64_t first, again;
        for (unsigned round = 0; round < 2; round++) {
            assert_int_equal(fold_volume_open(store, &rw, &v), 0);
            assert_int_equal(v->params.features, p.features);
            assert_int_equal(v->catalog->names.form, i == 0 ? FOLD_NAMES_KEYED : FOLD_NAMES_SEEDED);
            assert_int_equal(
                fold_dentry_bucket_of(v->catalog, 1, "name", 4, round == 0 ? &first : &again), 0);
            assert_int_equal(fold_volume_close(v, true), 0);
        }
        assert_int_equal(first, again);
        assert_int_equal(nftw(store, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    }
}

static int countdown(void *arg, enum fold_io_op op, int fd, const char *name)
{
    int *left = arg;
    (void)fd;
    (void)name;
    return op != FOLD_IO_LIST && op != FOLD_IO_UNLINK && --*left == 0 ? -ENOSPC : 0;
}

static void a_failed_mkfs_leaves_nothing(void **state)
{
    (void)state;
    int nth = 0, left;
    do {
        left = ++nth;
        fold_io_set_fault(countdown, &left);
        int rc = fold_volume_format(store, &wanted);
        fold_io_set_fault(NULL, NULL);
        if (left > 0) {
            assert_int_equal(rc, 0);
        } else if (rc < 0) {
            assert_int_equal(access(store, F_OK), -1);
        } else { /* the name of the directory could not be synced: not fatal */
            assert_int_equal(try_open(&rw), 0);
            assert_int_equal(nftw(store, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
        }
        assert_true(nth < 200);
    } while (left <= 0);
    assert_true(nth > 10);
}

static int die(void *arg, enum fold_io_op op, int fd, const char *name)
{
    int *left = arg;
    (void)op;
    (void)fd;
    (void)name;
    if (--*left == 0)
        _exit(9);
    return 0;
}

static int die_too(void *arg, enum fold_kv_op op)
{
    (void)op;
    return die(arg, FOLD_IO_OPS, -1, NULL);
}

/* The child: mkfs that dies at the nth call into host or database. */
static int dying_mkfs(const char *path, const char *nth)
{
    int left = (int)strtol(nth, NULL, 10);
    fold_log_set_level(FOLD_LOG_ERROR);
    fold_io_set_fault(die, &left);
    fold_kv_set_fault(die_too, &left);
    return fold_volume_format(path, &wanted) == 0 ? 0 : 8;
}

static const char *program; /* as it was called; /proc/self/exe would be valgrind under valgrind */

/* Runs it in a program of its own, because this one has threads of the database; true if it lived.
 */
static bool mkfs_dies_at(int nth)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%d", nth);
    pid_t child = fork();
    if (child == 0) {
        (void)execlp(program, "mkfs", store, text, (char *)NULL);
        _exit(8);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 9);
    return WEXITSTATUS(status) == 0;
}

static void a_killed_mkfs_can_be_repeated(void **state)
{
    (void)state;
    unsigned repeated = 0;
    bool lived;
    int nth = 0;
    do {
        lived = mkfs_dies_at(++nth);
        struct fold_volume_params p;
        /* A second one dies as well, a little later. */
        if (!lived && fold_volume_probe(store, &p) < 0)
            (void)mkfs_dies_at(nth + 2);
        if (fold_volume_probe(store, &p) < 0) {
            assert_int_equal(fold_volume_format(store, &wanted), 0);
            repeated++;
        }
        assert_int_equal(try_open(&rw), 0);
        assert_int_equal(fold_volume_format(store, &wanted), -FOLD_E_STORE_EXISTS);
        assert_int_equal(try_open(&rw), 0);
        assert_int_equal(nftw(store, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
        assert_true(nth < 500);
    } while (!lived);
    assert_true(repeated > 20);
}

static void what_mkfs_did_not_make_is_safe(void **state)
{
    (void)state;
    for (int nth = 1; nth < 40; nth += 6) {
        char path[128];
        struct fold_volume_params p;
        bool lived = mkfs_dies_at(nth);
        (void)mkdir(store, 0700);
        (void)snprintf(path, sizeof path, "%s/precious", store);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        close(fd);
        unsigned names = names_in(store);
        if (!lived && fold_volume_probe(store, &p) < 0) {
            assert_int_equal(fold_volume_format(store, &wanted), -FOLD_E_STORE_EXISTS);
            assert_int_equal(access(path, F_OK), 0);
            assert_int_equal(names_in(store), names);
        }
        assert_int_equal(nftw(store, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    }
}

static void what_is_not_a_store_is_told(void **state)
{
    (void)state;
    struct fold_volume_params p;
    assert_int_equal(try_open(&rw), -ENOENT);
    assert_int_equal(mkdir(store, 0755), 0);
    assert_int_equal(try_open(&rw), -FOLD_E_NOT_A_STORE);
    assert_int_equal(fold_volume_probe(store, &p), -FOLD_E_NOT_A_STORE);
    assert_int_equal(names_in(store), 0);
}

static void one_writer_or_many_readers(void **state)
{
    (void)state;
    assert_int_equal(fold_volume_format(store, &wanted), 0);
    struct fold_volume *v = must_open(&rw);
    assert_int_equal(try_open(&rw), -FOLD_E_LOCKED);
    assert_int_equal(try_open(&ro), -FOLD_E_LOCKED);
    assert_int_equal(fold_volume_close(v, true), 0);
    v = must_open(&ro);
    assert_int_equal(try_open(&ro), 0);
    assert_int_equal(try_open(&rw), -FOLD_E_LOCKED);
    struct fold_txn *t = fold_txn_begin(v->catalog);
    fold_lsn lsn;
    assert_int_equal(fold_txn_commit(t, &lsn), -EROFS);
    assert_int_equal(fold_volume_close(v, true), 0);
    assert_int_equal(try_open(&rw), 0);
}

/* Changes one byte of a superblock copy; at < 0 deletes it. */
static void damage(const char *name, off_t at)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", store, name);
    if (at < 0) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    int fd = open(path, O_RDWR);
    uint8_t b;
    assert_int_equal(pread(fd, &b, 1, at), 1);
    b ^= 0x40;
    assert_int_equal(pwrite(fd, &b, 1, at), 1);
    close(fd);
}

static void one_damaged_copy_is_survived_and_mended(void **state)
{
    (void)state;
    static const char *const names[] = {"volume", "volume.bak"};
    static const off_t places[] = {-1, 0, 9, 13, 40, 200, 300, 508};
    assert_int_equal(fold_volume_format(store, &wanted), 0);
    for (size_t n = 0; n < 2; n++)
        for (size_t i = 0; i < FOLD_ARRAY_LEN(places); i++) {
            struct fold_volume_params before, after;
            assert_int_equal(fold_volume_probe(store, &before), 0);
            damage(names[n], places[i]);
            assert_int_equal(fold_volume_probe(store, &after), 0);
            assert_memory_equal(before.secret, after.secret, sizeof before.secret);
            assert_int_equal(try_open(&ro), 0);
            assert_int_equal(try_open(&rw), 0);
            /* Mended: now the other may go. */
            damage(names[1 - n], -1);
            assert_int_equal(try_open(&rw), 0);
        }
    damage("volume", 20);
    damage("volume.bak", 20);
    assert_int_equal(try_open(&rw), -FOLD_E_BAD_SUPERBLOCK);
    damage("volume.bak", -1);
    assert_int_equal(try_open(&rw), -FOLD_E_BAD_SUPERBLOCK);
}

static void rewrite(uint8_t bytes[FOLD_SUPERBLOCK_BYTES])
{
    uint32_t crc = fold_kernels()->crc32c(0, bytes, FOLD_SUPERBLOCK_BYTES - 4);
    for (unsigned i = 0; i < 4; i++)
        bytes[FOLD_SUPERBLOCK_BYTES - 4 + i] = (uint8_t)(crc >> 8 * i);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/volume", store);
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, bytes, FOLD_SUPERBLOCK_BYTES), FOLD_SUPERBLOCK_BYTES);
    close(fd);
}

static void the_future_is_refused_politely(void **state)
{
    (void)state;
    assert_int_equal(fold_volume_format(store, &wanted), 0);
    struct fold_volume_params p;
    assert_int_equal(fold_volume_probe(store, &p), 0);
    uint8_t bytes[FOLD_SUPERBLOCK_BYTES];
    fold_superblock_encode(bytes, &p);
    bytes[8] = 2;
    rewrite(bytes);
    assert_int_equal(try_open(&rw), -FOLD_E_NEWER_FORMAT);
    fold_superblock_encode(bytes, &p);
    for (unsigned bit = 0; bit < 64; bit++) {
        fold_superblock_encode(bytes, &p);
        bytes[16 + bit / 8] = (uint8_t)(1u << bit % 8);
        rewrite(bytes);
        bool known = (UINT64_C(1) << bit & FOLD_FEATURES_NEW) != 0;
        assert_int_equal(try_open(&rw), known ? 0 : -FOLD_E_UNKNOWN_FEATURE);
    }
    fold_superblock_encode(bytes, &p);
    bytes[24] = 1; /* a feature that may be ignored */
    rewrite(bytes);
    assert_int_equal(try_open(&rw), 0);
    bytes[48] = 9; /* a chunker nobody knows */
    rewrite(bytes);
    damage("volume.bak", -1);
    assert_int_equal(try_open(&rw), -FOLD_E_BAD_SUPERBLOCK);
}

static void golden_superblock(void **state)
{
    (void)state;
    struct fold_volume_params p = {
        .chunker = 1, .hash = 2, .codec = 1, .chunk_size = 0x00020304, .features = 0};
    for (unsigned i = 0; i < sizeof p.uuid; i++)
        p.uuid[i] = (uint8_t)(0xa0 + i);
    for (unsigned i = 0; i < sizeof p.secret; i++)
        p.secret[i] = (uint8_t)i;
    uint8_t bytes[FOLD_SUPERBLOCK_BYTES];
    fold_superblock_encode(bytes, &p);
    static const uint8_t head[56] = {
        'F',  'O',  'L',  'D',  'V',  'O',  'L',  '\n', 1,    0,    0,    0,    0,    2,
        0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
        0,    0,    0,    0,    0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9,
        0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 1,    2,    1,    0,    4,    3,    2,    0};
    assert_memory_equal(bytes, head, sizeof head);
    assert_memory_equal(bytes + 56, p.secret, sizeof p.secret);
    for (unsigned i = 56 + 192; i < FOLD_SUPERBLOCK_BYTES - 4; i++)
        assert_int_equal(bytes[i], 0);
    static const uint8_t crc[4] = {0x95, 0x1e, 0x42, 0xdb};
    assert_memory_equal(bytes + FOLD_SUPERBLOCK_BYTES - 4, crc, 4);
    struct fold_volume_params back;
    assert_int_equal(fold_superblock_decode(bytes, sizeof bytes, &back), 0);
    assert_memory_equal(&back, &p, sizeof p);
    for (size_t len = 0; len < sizeof bytes; len++)
        assert_int_equal(fold_superblock_decode(bytes, len, &back), -FOLD_E_BAD_SUPERBLOCK);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return dying_mkfs(argv[1], argv[2]);
    program = argv[0];
    fold_log_set_level(FOLD_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_store_opens, setup, teardown),
        cmocka_unit_test_setup_teardown(each_store_is_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(mkfs_wants_an_empty_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(mkfs_refuses_nonsense, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_keeps_its_name_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_mkfs_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_killed_mkfs_can_be_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(what_mkfs_did_not_make_is_safe, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_a_store_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(one_writer_or_many_readers, setup, teardown),
        cmocka_unit_test_setup_teardown(one_damaged_copy_is_survived_and_mended, setup, teardown),
        cmocka_unit_test_setup_teardown(the_future_is_refused_politely, setup, teardown),
        cmocka_unit_test(golden_superblock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
