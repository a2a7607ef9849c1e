/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes. Permission by namespace was checked by the kernel, except that it shows
 * trusted names to anybody who lists. Access control lists are attributes with a meaning: they are
 * checked, change the mode, and are not stored if the mode says it all. Names below user.foldfs.
 * are the filesystem's own.
 */
#include "fs/ops.h"

#include "fs/aclstore.h"
#include "fs/caller.h"
#include "fs/change.h"
#include "fs/session.h"
#include "fs/space.h"
#include "fs/vxattr.h"
#include "meta/xattr.h"

#include <errno.h>
#include <sys/xattr.h>

#define XATTR_NAME_MAX 255

/* More than this no program could list. */
#define LIST_MAX 65536

/* Which access control list the name means, if any. */
static bool is_acl(const char *name, enum fold_acl_kind *kind)
{
    if (strcmp(name, FOLD_ACL_ACCESS_NAME) == 0)
        *kind = FOLD_ACL_ACCESS;
    else if (strcmp(name, FOLD_ACL_DEFAULT_NAME) == 0)
        *kind = FOLD_ACL_DEFAULT;
    else
        return false;
    return true;
}

static bool has_prefix(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* 0 for a name of a namespace we keep. */
static int check_name(const char *name)
{
    static const char *const spaces[] = {"user.", "trusted.", "security."};
    enum fold_acl_kind kind;
    if (is_acl(name, &kind))
        return 0;
    for (size_t i = 0; i < FOLD_ARRAY_LEN(spaces); i++) {
        if (!has_prefix(name, spaces[i]))
            continue;
        if (name[strlen(spaces[i])] == '\0')
            return -EINVAL;
        return strlen(name) > XATTR_NAME_MAX ? -ERANGE : 0;
    }
    return -EOPNOTSUPP;
}

/* What can be refused without looking at the inode. */
static int check_change(const struct fold_session *s, const char *name)
{
    if (s->opt.read_only)
        return -EROFS;
    return has_prefix(name, FOLD_VXATTR_PREFIX) ? -EPERM : check_name(name);
}

/* Whether the inode has the attribute; the flags spare the look into the catalog. */
static int exists(struct fold_session *s, const struct fold_attr *attr, const char *name)
{
    size_t len;
    if ((attr->flags & FOLD_INODE_XATTRS) == 0)
        return 0;
    int rc = fold_xattr_load(fold_session_catalog(s), attr->ino, name, NULL, 0, &len);
    if (rc == -ENODATA)
        return 0;
    return rc == 0 || rc == -ERANGE ? 1 : rc;
}

static int check_flags(int there, int flags)
{
    if (there < 0)
        return there;
    if (there > 0 && (flags & XATTR_CREATE) != 0)
        return -EEXIST;
    return there == 0 && (flags & XATTR_REPLACE) != 0 ? -ENODATA : 0;
}

static int set_plain(struct fold_change *c, struct fold_attr *attr, const char *name,
                     const char *value, size_t size, int flags)
{
    int there = exists(c->s, attr, name);
    int rc = check_flags(there, flags);
    if (rc < 0)
        return rc;
    if (there == 0 && (attr->flags & FOLD_INODE_XATTRS) != 0) {
        size_t listed = 0;
        rc = fold_xattr_list(fold_session_catalog(c->s), attr->ino, NULL, 0, &listed);
        if (rc < 0 && rc != -ERANGE)
            return rc;
        if (listed + strlen(name) + 1 > LIST_MAX)
            return -ENOSPC;
    }
    fold_xattr_store(c->txn, attr->ino, name, value, size);
    attr->flags |= FOLD_INODE_XATTRS;
    return 0;
}

/* Takes the list over into the mode; empties it if the mode says it all. */
static void apply_access(fuse_req_t req, struct fold_attr *attr, struct fold_acl *acl)
{
    mode_t mode = attr->mode;
    if (acl->count == 0)
        return;
    if (fold_acl_to_mode(acl, &mode))
        fold_acl_fini(acl);
    if ((mode & S_ISGID) != 0 && !fold_caller_keeps_sgid(req, attr->gid))
        mode &= ~(mode_t)S_ISGID;
    attr->mode = mode;
}

static int set_acl(fuse_req_t req, struct fold_change *c, struct fold_attr *attr,
                   enum fold_acl_kind kind, const char *value, size_t size)
{
    struct fold_acl acl = {0};
    if (S_ISLNK(attr->mode))
        return -EOPNOTSUPP;
    int rc = size > 0 ? fold_acl_parse(value, size, &acl) : 0;
    if (rc == 0 && kind == FOLD_ACL_DEFAULT && !S_ISDIR(attr->mode) && acl.count > 0)
        rc = -EACCES;
    if (rc == 0) {
        if (kind == FOLD_ACL_ACCESS)
            apply_access(req, attr, &acl);
        rc = fold_acl_store(c->txn, attr, kind, &acl);
    }
    fold_acl_fini(&acl);
    return rc;
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                        size_t size, int flags)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_inode *inode = NULL;
    int rc = check_change(s, name);
    if (rc == 0 && size > FOLD_XATTR_MAX)
        rc = -E2BIG;
    if (rc == 0)
        rc = fold_space_admit(s, FOLD_SPACE_NAME_BYTES + size);
    if (rc == 0)
        rc = fold_itable_get(s->inodes, ino, &inode);
    if (rc == 0) {
        struct fold_change c;
        enum fold_acl_kind kind;
        fold_change_begin(&c, s, &inode, 1);
        struct fold_attr *attr = fold_change_attr(&c, inode);
        if (inode->ghost)
            rc = -ESTALE;
        else if (is_acl(name, &kind))
            rc = set_acl(req, &c, attr, kind, value, size);
        else
            rc = set_plain(&c, attr, name, value, size, flags);
        attr->ctime = c.now;
        inode->no_capabilities = false;
        rc = rc < 0 ? fold_change_abort(&c, rc) : fold_change_commit(&c);
    }
    fold_itable_put(s->inodes, inode);
    fold_reply(req, rc);
}

/* The flags after `name` goes: no attribute left, no flag. */
static int forget_flags(struct fold_session *s, struct fold_attr *attr, const char *name)
{
    enum fold_acl_kind kind;
    size_t listed = 0;
    int rc = fold_xattr_list(fold_session_catalog(s), attr->ino, NULL, 0, &listed);
    if (rc < 0 && rc != -ERANGE)
        return rc;
    if (listed <= strlen(name) + 1)
        attr->flags &= ~FOLD_INODE_XATTRS;
    if (is_acl(name, &kind))
        attr->flags &= ~(kind == FOLD_ACL_ACCESS ? FOLD_INODE_ACCESS_ACL : FOLD_INODE_DEFAULT_ACL);
    return 0;
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_inode *inode = NULL;
    int rc = check_change(s, name);
    if (rc == 0)
        rc = fold_itable_get(s->inodes, ino, &inode);
    if (rc == 0) {
        struct fold_change c;
        enum fold_acl_kind kind;
        fold_change_begin(&c, s, &inode, 1);
        struct fold_attr *attr = fold_change_attr(&c, inode);
        int there = inode->ghost ? 0 : exists(s, attr, name);
        if (there == 0) /* an access control list that is not there is none all the same */
            rc = is_acl(name, &kind) ? 0 : -ENODATA;
        else
            rc = there < 0 ? there : forget_flags(s, attr, name);
        if (rc < 0 || there == 0) {
            rc = fold_change_abort(&c, rc);
        } else {
            fold_xattr_remove(c.txn, attr->ino, name);
            attr->ctime = c.now;
            rc = fold_change_commit(&c);
        }
    }
    fold_itable_put(s->inodes, inode);
    fold_reply(req, rc);
}

/* The inode's flags, which tell without the catalog what is not there. */
static int load_flags(struct fold_session *s, fuse_ino_t ino, uint32_t *flags)
{
    struct fold_inode *inode = NULL;
    int rc = fold_itable_get(s->inodes, ino, &inode);
    if (rc < 0)
        return rc;
    fold_lock_take(&inode->lock);
    *flags = inode->ghost ? 0 : inode->attr.flags;
    fold_lock_drop(&inode->lock);
    fold_itable_put(s->inodes, inode);
    return 0;
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    if (has_prefix(name, FOLD_VXATTR_PREFIX)) {
        fold_vxattr_get(req, ino, name, size);
        return;
    }
    struct fold_session *s = fold_req_session(req);
    enum fold_acl_kind kind;
    uint32_t flags = 0, wanted = FOLD_INODE_XATTRS;
    size_t cap = FOLD_MIN(size, FOLD_XATTR_MAX), len = 0;
    if (is_acl(name, &kind))
        wanted = kind == FOLD_ACL_ACCESS ? FOLD_INODE_ACCESS_ACL : FOLD_INODE_DEFAULT_ACL;
    int rc = check_name(name);
    if (rc == 0)
        rc = load_flags(s, ino, &flags);
    if (rc == 0 && (flags & wanted) == 0)
        rc = -ENODATA;
    FOLD_AUTO(free) char *buf = rc == 0 && cap > 0 ? malloc(cap) : NULL;
    if (rc == 0 && cap > 0 && buf == NULL)
        rc = -ENOMEM;
    if (rc == 0)
        rc = fold_xattr_load(fold_session_catalog(s), ino, name, buf, cap, &len);
    if (size == 0 && (rc == 0 || rc == -ERANGE))
        (void)fuse_reply_xattr(req, len);
    else if (rc < 0)
        fold_reply(req, rc);
    else
        (void)fuse_reply_buf(req, buf, len);
}

/* Drops the names that only the administrator may see. Returns the new length. */
static size_t hide_trusted(char *names, size_t len)
{
    size_t kept = 0;
    for (size_t i = 0; i < len;) {
        size_t n = strlen(names + i) + 1;
        if (!has_prefix(names + i, "trusted.")) {
            memmove(names + kept, names + i, n);
            kept += n;
        }
        i += n;
    }
    return kept;
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct fold_session *s = fold_req_session(req);
    FOLD_AUTO(free) char *names = NULL;
    uint32_t flags = 0;
    size_t len = 0;
    int rc = load_flags(s, ino, &flags);
    if (rc == 0 && (flags & FOLD_INODE_XATTRS) != 0) {
        names = malloc(LIST_MAX);
        rc = names != NULL ? fold_xattr_list(fold_session_catalog(s), ino, names, LIST_MAX, &len)
                           : -ENOMEM;
    }
    if (rc == 0 && fuse_req_ctx(req)->uid != 0)
        len = hide_trusted(names, len);
    if (rc == 0 && size > 0 && len > size)
        rc = -ERANGE;
    if (rc < 0)
        fold_reply(req, rc == -ERANGE && size == 0 ? -E2BIG : rc);
    else if (size == 0)
        (void)fuse_reply_xattr(req, len);
    else
        (void)fuse_reply_buf(req, names, len);
}

void fold_ops_xattr(struct fuse_lowlevel_ops *ops)
{
    ops->setxattr = op_setxattr;
    ops->getxattr = op_getxattr;
    ops->listxattr = op_listxattr;
    ops->removexattr = op_removexattr;
}
