/* SPDX-License-Identifier: MIT */
/*
 * The byte form is a 32-bit version and entries of tag, permissions and id, all little-endian. A
 * list is well-formed if it has owner, named users, owning group, named groups, mask and others in
 * this order; the mask is required if anybody is named. Group permission bits of a mode stand for
 * the mask where there is one.
 */
#include "fs/acl.h"

#include "meta/base/bytes.h"

#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>

#define HEADER_BYTES 4
#define ENTRY_BYTES  8
#define PERM_ALL     (ACL_READ | ACL_WRITE | ACL_EXECUTE)
#define NO_ID        UINT32_MAX

void fold_acl_fini(struct fold_acl *acl)
{
    free(acl->entries);
    *acl = (struct fold_acl){0};
}

/* What may come next in a well-formed list. */
enum stage { WANT_OWNER, AFTER_OWNER, AFTER_GROUP, AFTER_MASK, AFTER_OTHER };

/* Checks one entry and moves on; *named is set if a mask is needed. */
static bool step(const struct fold_acl_entry *e, enum stage *stage, bool *named)
{
    if ((e->perm & ~PERM_ALL) != 0)
        return false;
    switch (e->tag) {
    case ACL_USER_OBJ:
        if (*stage != WANT_OWNER)
            return false;
        *stage = AFTER_OWNER;
        return true;
    case ACL_USER:
        *named = true;
        return *stage == AFTER_OWNER && e->id != NO_ID;
    case ACL_GROUP_OBJ:
        if (*stage != AFTER_OWNER)
            return false;
        *stage = AFTER_GROUP;
        return true;
    case ACL_GROUP:
        *named = true;
        return *stage == AFTER_GROUP && e->id != NO_ID;
    case ACL_MASK:
        if (*stage != AFTER_GROUP)
            return false;
        *stage = AFTER_MASK;
        return true;
    case ACL_OTHER:
        if (*stage != AFTER_MASK && (*stage != AFTER_GROUP || *named))
            return false;
        *stage = AFTER_OTHER;
        return true;
    default:
        return false;
    }
}

static bool well_formed(const struct fold_acl *acl)
{
    enum stage stage = WANT_OWNER;
    bool named = false;
    for (uint32_t i = 0; i < acl->count; i++)
        if (!step(&acl->entries[i], &stage, &named))
            return false;
    return stage == AFTER_OTHER;
}

int fold_acl_parse(const void *data, size_t len, struct fold_acl *out)
{
    struct fold_rd r = fold_rd_init(data, len);
    uint32_t version = fold_rd_u32(&r);
    if (r.bad || fold_rd_left(&r) % ENTRY_BYTES != 0)
        return -EINVAL;
    if (version != POSIX_ACL_XATTR_VERSION)
        return -EOPNOTSUPP;
    struct fold_acl acl = {.count = (uint32_t)(fold_rd_left(&r) / ENTRY_BYTES)};
    if (acl.count > 0) {
        acl.entries = calloc(acl.count, sizeof acl.entries[0]);
        if (acl.entries == NULL)
            return -ENOMEM;
    }
    for (uint32_t i = 0; i < acl.count; i++) {
        struct fold_acl_entry *e = &acl.entries[i];
        e->tag = fold_rd_u16(&r);
        e->perm = fold_rd_u16(&r);
        e->id = fold_rd_u32(&r);
        if (e->tag != ACL_USER && e->tag != ACL_GROUP)
            e->id = NO_ID;
    }
    if (acl.count > 0 && !well_formed(&acl)) {
        fold_acl_fini(&acl);
        return -EINVAL;
    }
    *out = acl;
    return 0;
}

int fold_acl_encode(const struct fold_acl *acl, void **data, size_t *len)
{
    size_t bytes = HEADER_BYTES + (size_t)acl->count * ENTRY_BYTES;
    void *mem = malloc(bytes);
    if (mem == NULL)
        return -ENOMEM;
    struct fold_wr w = fold_wr_init(mem, bytes);
    fold_wr_u32(&w, POSIX_ACL_XATTR_VERSION);
    for (uint32_t i = 0; i < acl->count; i++) {
        fold_wr_u16(&w, acl->entries[i].tag);
        fold_wr_u16(&w, acl->entries[i].perm);
        fold_wr_u32(&w, acl->entries[i].id);
    }
    *data = mem;
    *len = bytes;
    return 0;
}

/* The entries that stand for the three classes of permission bits. */
struct classes {
    struct fold_acl_entry *owner, *group_obj, *mask, *other;
};

static struct classes classify(const struct fold_acl *acl)
{
    struct classes c = {0};
    for (uint32_t i = 0; i < acl->count; i++) {
        struct fold_acl_entry *e = &acl->entries[i];
        if (e->tag == ACL_USER_OBJ)
            c.owner = e;
        else if (e->tag == ACL_GROUP_OBJ)
            c.group_obj = e;
        else if (e->tag == ACL_MASK)
            c.mask = e;
        else if (e->tag == ACL_OTHER)
            c.other = e;
    }
    return c;
}

/* The permission bits the classes amount to. */
static mode_t bits(const struct classes *c)
{
    const struct fold_acl_entry *group = c->mask != NULL ? c->mask : c->group_obj;
    return (mode_t)c->owner->perm << 6 | (mode_t)group->perm << 3 | (mode_t)c->other->perm;
}

bool fold_acl_to_mode(const struct fold_acl *acl, mode_t *mode)
{
    struct classes c = classify(acl);
    *mode = (*mode & ~(mode_t)0777) | bits(&c);
    return c.mask == NULL && acl->count == 3;
}

void fold_acl_chmod(struct fold_acl *acl, mode_t mode)
{
    struct classes c = classify(acl);
    struct fold_acl_entry *group = c.mask != NULL ? c.mask : c.group_obj;
    c.owner->perm = (uint16_t)(mode >> 6 & PERM_ALL);
    group->perm = (uint16_t)(mode >> 3 & PERM_ALL);
    c.other->perm = (uint16_t)(mode & PERM_ALL);
}

bool fold_acl_inherit(struct fold_acl *acl, mode_t *mode)
{
    struct classes c = classify(acl);
    mode_t both = bits(&c) & *mode;
    fold_acl_chmod(acl, both);
    *mode = (*mode & ~(mode_t)0777) | both;
    return c.mask != NULL || acl->count > 3;
}
