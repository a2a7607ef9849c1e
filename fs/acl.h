/* SPDX-License-Identifier: MIT */
/*
 * POSIX access control lists: the byte form programs and the kernel pass as extended attributes,
 * checked, and the three computations that tie a list to permission bits (chmod, creation below a
 * default list, equivalence). Pure.
 */
#ifndef FOLD_FS_ACL_H
#define FOLD_FS_ACL_H

#include "meta/base/attr.h"

#include <stdbool.h>
#include <sys/types.h>

#define FOLD_ACL_ACCESS_NAME  "system.posix_acl_access"
#define FOLD_ACL_DEFAULT_NAME "system.posix_acl_default"

struct fold_acl_entry {
    uint16_t tag;  /* ACL_USER_OBJ, ... of linux/posix_acl.h */
    uint16_t perm; /* rwx bits */
    uint32_t id;   /* of ACL_USER and ACL_GROUP entries */
};

/* All zeros is the empty list. */
struct fold_acl {
    struct fold_acl_entry *entries; /* malloc'd */
    uint32_t count;
};

void fold_acl_fini(struct fold_acl *acl);

/*
 * Reads the byte form: a well-formed list, or no entries at all. -EOPNOTSUPP for an unknown
 * version, -EINVAL, -ENOMEM. `out` is untouched on failure and the caller's to fini otherwise.
 */
int fold_acl_parse(const void *data, size_t len, struct fold_acl *out) FOLD_MUST;

/* The byte form, malloc'd, the caller frees. -ENOMEM. */
int fold_acl_encode(const struct fold_acl *acl, void **data, size_t *len) FOLD_MUST;

/*
 * Sets the permission bits of *mode to what a well-formed list grants owner, group class and
 * others. True if the bits say all there is in the list.
 */
bool fold_acl_to_mode(const struct fold_acl *acl, mode_t *mode);

/* Brings the list in step with the permission bits of `mode`. */
void fold_acl_chmod(struct fold_acl *acl, mode_t mode);

/*
 * For an inode created with `mode` below a directory whose default list is `acl`: narrows both by
 * each other. Afterwards `acl` is the access list. True if it is needed besides the bits.
 */
bool fold_acl_inherit(struct fold_acl *acl, mode_t *mode);

#endif
