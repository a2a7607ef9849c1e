/* SPDX-License-Identifier: MIT */
/*
 * Lists are stored in the byte form programs see, so that getxattr needs no conversion.
 */
#include "fs/aclstore.h"

#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/xattr.h"

#include <inttypes.h>

/* Lists are rarely longer; a longer one is read a second time. */
#define USUAL_BYTES 1024

static const char *const names[] = {FOLD_ACL_ACCESS_NAME, FOLD_ACL_DEFAULT_NAME};
static const uint32_t flags[] = {FOLD_INODE_ACCESS_ACL, FOLD_INODE_DEFAULT_ACL};

int fold_acl_load(struct fold_catalog *c, const struct fold_attr *attr, enum fold_acl_kind kind,
                  struct fold_acl *out)
{
    *out = (struct fold_acl){0};
    if ((attr->flags & flags[kind]) == 0)
        return 0;
    size_t len = USUAL_BYTES;
    FOLD_AUTO(free) void *buf = malloc(len);
    if (buf == NULL)
        return -ENOMEM;
    int rc = fold_xattr_load(c, attr->ino, names[kind], buf, USUAL_BYTES, &len);
    if (rc == -ERANGE) {
        free(buf);
        buf = malloc(len);
        if (buf == NULL)
            return -ENOMEM;
        rc = fold_xattr_load(c, attr->ino, names[kind], buf, len, &len);
    }
    if (rc == 0)
        rc = fold_acl_parse(buf, len, out);
    if (rc == -EINVAL || rc == -EOPNOTSUPP || rc == -ENODATA) {
        fold_error("inode %" PRIu64 ": its access control list '%s' is damaged", attr->ino,
                   names[kind]);
        rc = -FOLD_E_BAD_CATALOG;
    }
    return rc;
}

int fold_acl_store(struct fold_txn *txn, struct fold_attr *attr, enum fold_acl_kind kind,
                   const struct fold_acl *acl)
{
    if (acl->count == 0) {
        if ((attr->flags & flags[kind]) != 0)
            fold_xattr_remove(txn, attr->ino, names[kind]);
        attr->flags &= ~flags[kind];
        return 0;
    }
    FOLD_AUTO(free) void *data = NULL;
    size_t len;
    int rc = fold_acl_encode(acl, &data, &len);
    if (rc < 0)
        return rc;
    fold_xattr_store(txn, attr->ino, names[kind], data, len);
    attr->flags |= flags[kind] | FOLD_INODE_XATTRS;
    return 0;
}

int fold_acl_follow_mode(struct fold_catalog *c, struct fold_txn *txn, struct fold_attr *attr)
{
    struct fold_acl acl;
    int rc = fold_acl_load(c, attr, FOLD_ACL_ACCESS, &acl);
    if (rc < 0 || acl.count == 0)
        return rc;
    fold_acl_chmod(&acl, attr->mode);
    rc = fold_acl_store(txn, attr, FOLD_ACL_ACCESS, &acl);
    fold_acl_fini(&acl);
    return rc;
}
