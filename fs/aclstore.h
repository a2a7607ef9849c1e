/* SPDX-License-Identifier: MIT */
/*
 * Access control lists of inodes in the catalog: as extended attributes, with the inode's flags
 * saying exactly whether there is one. Callers hold the inode lock (or own the inode).
 */
#ifndef FOLD_FS_ACLSTORE_H
#define FOLD_FS_ACLSTORE_H

#include "fs/acl.h"
#include "meta/catalog.h"

enum fold_acl_kind { FOLD_ACL_ACCESS, FOLD_ACL_DEFAULT };

/* The list, empty if there is none. -FOLD_E_BAD_CATALOG if what is stored is no list. The caller
 * finis it. */
int fold_acl_load(struct fold_catalog *c, const struct fold_attr *attr, enum fold_acl_kind kind,
                  struct fold_acl *out) FOLD_MUST;

/* Stores the list, or removes it if it is empty, and sets the flags in `attr` to match. -ENOMEM. */
int fold_acl_store(struct fold_txn *txn, struct fold_attr *attr, enum fold_acl_kind kind,
                   const struct fold_acl *acl) FOLD_MUST;

/* After a change of attr->mode: brings the access list, if there is one, in step. */
int fold_acl_follow_mode(struct fold_catalog *c, struct fold_txn *txn,
                         struct fold_attr *attr) FOLD_MUST;

#endif
