/* SPDX-License-Identifier: MIT */
/*
 * Layout of the catalog's keys: one byte names the table, numbers follow big-endian so that memcmp
 * order is numeric order.
 *
 *   'C' name               counters, name hash seed
 *   'D' dir, name hash     directory entries with that hash
 *   'I' ino                inode
 *   'L' ino                symlink target
 *   'O' ino                orphan
 *   'R' ino, page number   recipe page
 *   'X' ino, name          extended attribute
 */
#ifndef FOLD_META_KEYS_H
#define FOLD_META_KEYS_H

#include "meta/base/bytes.h"
#include "meta/types.h"

enum fold_table {
    FOLD_TABLE_COUNTERS = 'C',
    FOLD_TABLE_DENTRY = 'D',
    FOLD_TABLE_INODE = 'I',
    FOLD_TABLE_SYMLINK = 'L',
    FOLD_TABLE_ORPHAN = 'O',
    FOLD_TABLE_RECIPE = 'R',
    FOLD_TABLE_XATTR = 'X'
};

#define FOLD_KEY_COUNTERS "Ccounters" /* lsn and totals of what the database holds */
#define FOLD_KEY_SEED     "Cseed"     /* seed of the name hash, fixed at mkfs */

#define FOLD_KEY_INO_BYTES  9
#define FOLD_KEY_PAIR_BYTES 17
#define FOLD_KEY_MAX        (FOLD_KEY_INO_BYTES + FOLD_NAME_MAX)

struct fold_key {
    size_t len;
    uint8_t bytes[FOLD_KEY_MAX];
};

/* Key of `ino` alone; also the smallest of its keys in tables with longer ones. */
void fold_key_ino(struct fold_key *k, enum fold_table table, fold_ino ino);

/* Key of a pair of numbers. */
void fold_key_pair(struct fold_key *k, enum fold_table table, uint64_t a, uint64_t b);

/* Key of a number and a name of at most FOLD_NAME_MAX bytes (longer ones are cut: check before). */
void fold_key_name(struct fold_key *k, enum fold_table table, fold_ino ino, const char *name,
                   size_t len);

/* The key after the last one of `table`. */
void fold_key_table_end(struct fold_key *k, enum fold_table table);

/* Takes keys apart again: false if the bytes are not such a key. */
bool fold_key_read_ino(const uint8_t *key, size_t len, enum fold_table table, fold_ino *ino);
bool fold_key_read_pair(const uint8_t *key, size_t len, enum fold_table table, uint64_t *a,
                        uint64_t *b);

#endif
