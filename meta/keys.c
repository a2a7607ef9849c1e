/* SPDX-License-Identifier: MIT */
/*
 * Builds and parses the keys of the catalog.
 */
#include "meta/keys.h"

static void put_be64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}

void fold_key_ino(struct fold_key *k, enum fold_table table, fold_ino ino)
{
    k->bytes[0] = (uint8_t)table;
    put_be64(k->bytes + 1, ino);
    k->len = FOLD_KEY_INO_BYTES;
}

void fold_key_pair(struct fold_key *k, enum fold_table table, uint64_t a, uint64_t b)
{
    fold_key_ino(k, table, a);
    put_be64(k->bytes + FOLD_KEY_INO_BYTES, b);
    k->len = FOLD_KEY_PAIR_BYTES;
}

void fold_key_name(struct fold_key *k, enum fold_table table, fold_ino ino, const char *name,
                   size_t len)
{
    fold_key_ino(k, table, ino);
    len = FOLD_MIN(len, (size_t)FOLD_NAME_MAX);
    memcpy(k->bytes + FOLD_KEY_INO_BYTES, name, len);
    k->len = FOLD_KEY_INO_BYTES + len;
}

void fold_key_table_end(struct fold_key *k, enum fold_table table)
{
    k->bytes[0] = (uint8_t)(table + 1);
    k->len = 1;
}

bool fold_key_read_ino(const uint8_t *key, size_t len, enum fold_table table, fold_ino *ino)
{
    struct fold_rd r = fold_rd_init(key, len);
    uint8_t t = fold_rd_u8(&r);
    uint64_t v = fold_rd_be64(&r);
    if (!fold_rd_done(&r) || t != table)
        return false;
    *ino = v;
    return true;
}

bool fold_key_read_pair(const uint8_t *key, size_t len, enum fold_table table, uint64_t *a,
                        uint64_t *b)
{
    struct fold_rd r = fold_rd_init(key, len);
    uint8_t t = fold_rd_u8(&r);
    uint64_t x = fold_rd_be64(&r);
    uint64_t y = fold_rd_be64(&r);
    if (!fold_rd_done(&r) || t != table)
        return false;
    *a = x;
    *b = y;
    return true;
}
