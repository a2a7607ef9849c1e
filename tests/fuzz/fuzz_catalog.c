/* SPDX-License-Identifier: MIT */
/* Keys and values of the catalog: one byte says which, the rest is the stored bytes. */
#include "meta/bucketfmt.h"
#include "meta/commit.h"
#include "meta/dentry.h"
#include "meta/inode.h"
#include "tests/fuzz/target.h"

static int entry(void *arg, const char *name, size_t len, const struct fold_dentry *d)
{
    size_t *sum = arg;
    FOLD_HOLDS(len >= 1 && len <= FOLD_NAME_MAX && d->ino != 0);
    for (size_t i = 0; i < len; i++)
        *sum += (uint8_t)name[i];
    return 0;
}

/* A name is found, or a place for it within the bytes. */
static void find(const uint8_t *p, size_t len)
{
    struct fold_bucket_found f;
    if (fold_bucket_find(FOLD_NAMES_KEYED, p, len, "name", 4, &f) == 0)
        FOLD_HOLDS(f.full || f.at <= FOLD_MAX(len, (size_t)1));
}

static void keys(const uint8_t *p, size_t len)
{
    uint64_t a, b;
    struct fold_key key;
    for (int table = 'A'; table <= 'Z'; table++) {
        if (fold_key_read_ino(p, len, (enum fold_table)table, &a)) {
            fold_key_ino(&key, (enum fold_table)table, a);
            FOLD_HOLDS(key.len == len && memcmp(key.bytes, p, len) == 0);
        }
        if (fold_key_read_pair(p, len, (enum fold_table)table, &a, &b)) {
            fold_key_pair(&key, (enum fold_table)table, a, b);
            FOLD_HOLDS(key.len == len && memcmp(key.bytes, p, len) == 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fold_attr attr;
    struct fold_counters sum;
    fold_lsn lsn;
    size_t total = 0;
    if (size < 1)
        return 0;
    size_t len = size - 1;
    uint8_t *p = fold_fuzz_copy(data + 1, len);
    switch (data[0] % 5) {
    case 0:
        if (fold_inode_decode(p, len, 12, &attr) == 0)
            FOLD_HOLDS(attr.ino == 12 && attr.mtime.tv_nsec >= 0 &&
                       attr.mtime.tv_nsec < 1000000000);
        break;
    case 1:
        (void)!fold_bucket_each(FOLD_NAMES_SEEDED, p, len, entry, &total);
        break;
    case 2:
        (void)!fold_counters_decode(p, len, &lsn, &sum);
        break;
    case 4:
        (void)!fold_bucket_each(FOLD_NAMES_KEYED, p, len, entry, &total);
        find(p, len);
        break;
    default:
        keys(p, len);
        break;
    }
    free(p);
    return 0;
}
