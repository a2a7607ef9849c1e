/* SPDX-License-Identifier: MIT */
/*
 * A commit puts whole values, so a journal may be replayed over an older state than the one it was
 * written for: what it contains is right afterwards. Without the seed every name lies in the wrong
 * place (unless the store hashes names with a key of its own), and without the counters inode
 * numbers might be used twice; the check puts both right as long as there are any.
 *
 * The database's own repair begins with an empty database that knows none of the tables; whoever
 * opens that has them deleted. So it works on a twin of the directory, and one that is killed has
 * done nothing.
 */
#include "meta/salvage.h"

#include "meta/base/bytes.h"
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/log.h"
#include "meta/commit.h"
#include "meta/journal_format.h"
#include "meta/twin.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>

#define SEED_BYTES   8u
#define TABLE_SUFFIX ".sst"

static int mend_seed(struct fold_kv *kv, struct fold_kv_batch *b)
{
    struct fold_kv_value v;
    uint8_t seed[SEED_BYTES];
    int rc = fold_kv_get(kv, FOLD_KEY_SEED, sizeof FOLD_KEY_SEED - 1, &v);
    if (rc == 0) {
        bool good = v.len == sizeof seed;
        fold_kv_value_fini(&v);
        if (good)
            return 0;
    } else if (rc != -ENOENT) {
        return rc;
    }
    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return -EIO;
    fold_warn("catalog: the seed of the name hash is lost; a new one is drawn");
    fold_kv_batch_put(b, FOLD_KEY_SEED, sizeof FOLD_KEY_SEED - 1, seed, sizeof seed);
    return 0;
}

static int first_lsn(void *arg, const struct fold_journal_record *rec)
{
    fold_lsn *first = arg;
    if (*first == 0)
        *first = rec->lsn;
    return FOLD_JOURNAL_STOP;
}

/* Number of the oldest commit in the journal, 0 if there is none. */
static int find_first(int storefd, fold_lsn *first)
{
    struct fold_journal_replay done;
    FOLD_AUTO(free) struct fold_journal_found *files = NULL;
    size_t n;
    FOLD_AUTO(close) int dirfd = fold_io_open(storefd, "journal", O_RDONLY | O_DIRECTORY, 0);
    *first = 0;
    return dirfd < 0 ? dirfd : fold_journal_read_all(dirfd, first_lsn, first, &done, &files, &n);
}

static int mend_counters(int storefd, struct fold_kv *kv, struct fold_kv_batch *b)
{
    struct fold_kv_value v;
    struct fold_counters sum = {.next_ino = FOLD_INO_ROOT + 1};
    fold_lsn applied = 0, first;
    bool good = false;
    int rc = fold_kv_get(kv, FOLD_KEY_COUNTERS, sizeof FOLD_KEY_COUNTERS - 1, &v);
    if (rc == 0) {
        good = fold_counters_decode(v.data, v.len, &applied, &sum) == 0;
        fold_kv_value_fini(&v);
    }
    if (rc < 0 && rc != -ENOENT)
        return rc;
    rc = find_first(storefd, &first);
    if (rc < 0)
        return rc;
    if (good && first <= applied + 1)
        return 0;
    if (first > applied + 1)
        applied = first - 1;
    uint8_t value[FOLD_COUNTERS_MAX];
    size_t len = fold_counters_encode(value, applied, &sum);
    fold_kv_batch_put(b, FOLD_KEY_COUNTERS, sizeof FOLD_KEY_COUNTERS - 1, value, len);
    return 0;
}

static bool is_table(const char *name)
{
    size_t n = strlen(name), m = sizeof TABLE_SUFFIX - 1;
    return n > m && strcmp(name + n - m, TABLE_SUFFIX) == 0;
}

int fold_salvage_complete(int storefd, struct fold_kv *kv)
{
    struct fold_kv_batch *b = fold_kv_batch_create();
    int rc = mend_seed(kv, b);
    if (rc == 0)
        rc = mend_counters(storefd, kv, b);
    if (rc == 0 && fold_kv_batch_count(b) > 0) {
        rc = fold_kv_write(kv, b);
        if (rc == 0)
            rc = fold_kv_flush(kv, true);
    }
    fold_kv_batch_destroy(b);
    return rc;
}

int fold_salvage_catalog(int storefd)
{
    struct fold_kv_options opt = fold_catalog_kv_options(0, 0);
    struct fold_twin_name twin;
    size_t tables;
    int rc = fold_twin_create(storefd, FOLD_CATALOG_DIR, is_table, &twin, &tables);
    if (rc < 0)
        return rc;
    opt.create = tables == 0;
    if (tables > 0)
        rc = fold_kv_repair(storefd, twin.text, &opt);
    struct fold_kv *kv;
    if (rc == 0)
        rc = fold_kv_open(storefd, twin.text, &opt, &kv);
    if (rc < 0)
        return rc;
    rc = fold_salvage_complete(storefd, kv);
    fold_kv_close(kv);
    return rc < 0 ? rc : fold_twin_swap(storefd, FOLD_CATALOG_DIR);
}
