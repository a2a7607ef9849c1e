/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes, one catalog entry each. Names with their prefix ("user.x"), values up to
 * FOLD_XATTR_MAX bytes.
 */
#ifndef FOLD_META_XATTR_H
#define FOLD_META_XATTR_H

#include "meta/catalog.h"

/* Value into `buf` of `cap` bytes; *len is its length also when it did not fit (-ERANGE). -ENODATA
 * if there is none. */
int fold_xattr_load(struct fold_catalog *c, fold_ino ino, const char *name, void *buf, size_t cap,
                    size_t *len) FOLD_MUST;
void fold_xattr_store(struct fold_txn *t, fold_ino ino, const char *name, const void *value,
                      size_t len);
void fold_xattr_remove(struct fold_txn *t, fold_ino ino, const char *name);

/* Names, each NUL-terminated, into `buf` of `cap` bytes; *len is the length needed also when it did
 * not fit (-ERANGE). */
int fold_xattr_list(struct fold_catalog *c, fold_ino ino, char *buf, size_t cap,
                    size_t *len) FOLD_MUST;

/* Removes all of an inode. */
int fold_xattr_remove_all(struct fold_txn *t, fold_ino ino) FOLD_MUST;

#endif
