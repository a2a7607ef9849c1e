/* SPDX-License-Identifier: MIT */
/*
 * The inode table of the catalog, the symlink targets and the list of orphans (inodes without a
 * name that were still open). Reads are thread-safe; writes go through a transaction under the
 * caller's inode lock.
 */
#ifndef FOLD_META_INODE_H
#define FOLD_META_INODE_H

#include "meta/catalog.h"

/* -ENOENT if there is no such inode, -FOLD_E_BAD_CATALOG if the entry is damaged. */
int fold_inode_load(struct fold_catalog *c, fold_ino ino, struct fold_attr *out) FOLD_MUST;

/* The stored value of inode `ino` taken apart: pure, nothing is logged. -FOLD_E_BAD_CATALOG. */
int fold_inode_decode(const void *data, size_t len, fold_ino ino, struct fold_attr *out) FOLD_MUST;
void fold_inode_store(struct fold_txn *t, const struct fold_attr *attr);
void fold_inode_remove(struct fold_txn *t, fold_ino ino);

/* Target into `buf` of at least FOLD_SYMLINK_MAX + 1 bytes, NUL-terminated. */
int fold_symlink_load(struct fold_catalog *c, fold_ino ino, char *buf) FOLD_MUST;
void fold_symlink_store(struct fold_txn *t, fold_ino ino, const char *target);
void fold_symlink_remove(struct fold_txn *t, fold_ino ino);

void fold_orphan_add(struct fold_txn *t, fold_ino ino);
void fold_orphan_remove(struct fold_txn *t, fold_ino ino);

/* Calls `fn` for each orphan; a negative return stops and is returned. `fn` may commit
 * transactions. */
int fold_orphan_each(struct fold_catalog *c, int (*fn)(void *arg, fold_ino ino),
                     void *arg) FOLD_MUST;

/* Calls `fn` for each inode in number order, from a snapshot. */
int fold_inode_each(struct fold_catalog *c, int (*fn)(void *arg, const struct fold_attr *attr),
                    void *arg) FOLD_MUST;

#endif
