/* SPDX-License-Identifier: MIT */
/*
 * Inodes, symlink targets and orphans in the catalog.
 *
 * Inode value: u8 version, u8 which times are stored, then varints mode, uid, gid, nlink, rdev,
 * size, mapped, parent, flags; btime, and mtime, ctime, atime where they differ from the time
 * before them in that list (atime from mtime). A time is a zigzag varint of seconds and a u32 of
 * nanoseconds.
 */
#include "meta/inode.h"

#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/commit.h"

#include <assert.h>

#define INODE_VERSION 1
#define INODE_MAX     192
#define HAS_MTIME     1u
#define HAS_CTIME     2u
#define HAS_ATIME     4u

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static void write_time(struct fold_wr *w, const struct timespec *t)
{
    int64_t s = t->tv_sec;
    fold_wr_varint(w, ((uint64_t)s << 1) ^ (uint64_t)(s >> 63));
    fold_wr_u32(w, (uint32_t)t->tv_nsec);
}

static struct timespec read_time(struct fold_rd *r)
{
    uint64_t z = fold_rd_varint(r);
    uint32_t ns = fold_rd_u32(r);
    if (ns >= 1000000000u)
        r->bad = true;
    return (struct timespec){.tv_sec = (time_t)((z >> 1) ^ (0 - (z & 1))), .tv_nsec = (long)ns};
}

static size_t encode(uint8_t out[INODE_MAX], const struct fold_attr *a)
{
    uint8_t times = 0;
    if (!same_time(&a->mtime, &a->btime))
        times |= HAS_MTIME;
    if (!same_time(&a->ctime, &a->mtime))
        times |= HAS_CTIME;
    if (!same_time(&a->atime, &a->mtime))
        times |= HAS_ATIME;
    struct fold_wr w = fold_wr_init(out, INODE_MAX);
    fold_wr_u8(&w, INODE_VERSION);
    fold_wr_u8(&w, times);
    fold_wr_varint(&w, a->mode);
    fold_wr_varint(&w, a->uid);
    fold_wr_varint(&w, a->gid);
    fold_wr_varint(&w, a->nlink);
    fold_wr_varint(&w, a->rdev);
    fold_wr_varint(&w, a->size);
    fold_wr_varint(&w, a->mapped);
    fold_wr_varint(&w, a->parent);
    fold_wr_varint(&w, a->flags);
    write_time(&w, &a->btime);
    if (times & HAS_MTIME)
        write_time(&w, &a->mtime);
    if (times & HAS_CTIME)
        write_time(&w, &a->ctime);
    if (times & HAS_ATIME)
        write_time(&w, &a->atime);
    assert(!w.bad);
    return fold_wr_len(&w);
}

static uint32_t read_u32(struct fold_rd *r)
{
    uint64_t v = fold_rd_varint(r);
    if (v > UINT32_MAX)
        r->bad = true;
    return (uint32_t)v;
}

int fold_inode_decode(const void *data, size_t len, fold_ino ino, struct fold_attr *out)
{
    struct fold_rd r = fold_rd_init(data, len);
    uint8_t version = fold_rd_u8(&r);
    uint8_t times = fold_rd_u8(&r);
    struct fold_attr a = {.ino = ino};
    a.mode = read_u32(&r);
    a.uid = read_u32(&r);
    a.gid = read_u32(&r);
    a.nlink = read_u32(&r);
    a.rdev = fold_rd_varint(&r);
    a.size = fold_rd_varint(&r);
    a.mapped = fold_rd_varint(&r);
    a.parent = fold_rd_varint(&r);
    a.flags = read_u32(&r);
    a.btime = read_time(&r);
    a.mtime = times & HAS_MTIME ? read_time(&r) : a.btime;
    a.ctime = times & HAS_CTIME ? read_time(&r) : a.mtime;
    a.atime = times & HAS_ATIME ? read_time(&r) : a.mtime;
    if (!fold_rd_done(&r) || version != INODE_VERSION ||
        (times & ~(HAS_MTIME | HAS_CTIME | HAS_ATIME)) != 0)
        return -FOLD_E_BAD_CATALOG;
    *out = a;
    return 0;
}

static int decode(const void *data, size_t len, fold_ino ino, struct fold_attr *out)
{
    int rc = fold_inode_decode(data, len, ino, out);
    if (rc < 0)
        fold_error("catalog: inode %llu: %s", (unsigned long long)ino, fold_err_text(rc));
    return rc;
}

int fold_inode_load(struct fold_catalog *c, fold_ino ino, struct fold_attr *out)
{
    struct fold_key key;
    fold_key_ino(&key, FOLD_TABLE_INODE, ino);
    struct fold_found v;
    int rc = fold_recent_get(c->recent, key.bytes, key.len, &v);
    if (rc < 0)
        return rc;
    rc = decode(v.data, v.len, ino, out);
    fold_found_fini(&v);
    return rc;
}

void fold_inode_store(struct fold_txn *t, const struct fold_attr *attr)
{
    struct fold_key key;
    uint8_t value[INODE_MAX];
    fold_key_ino(&key, FOLD_TABLE_INODE, attr->ino);
    fold_kv_batch_put(t->batch, key.bytes, key.len, value, encode(value, attr));
}

static void remove_key(struct fold_txn *t, enum fold_table table, fold_ino ino)
{
    struct fold_key key;
    fold_key_ino(&key, table, ino);
    fold_kv_batch_delete(t->batch, key.bytes, key.len);
}

void fold_inode_remove(struct fold_txn *t, fold_ino ino)
{
    remove_key(t, FOLD_TABLE_INODE, ino);
}

int fold_symlink_load(struct fold_catalog *c, fold_ino ino, char *buf)
{
    struct fold_key key;
    fold_key_ino(&key, FOLD_TABLE_SYMLINK, ino);
    struct fold_found v;
    int rc = fold_recent_get(c->recent, key.bytes, key.len, &v);
    if (rc < 0)
        return rc;
    if (v.len > FOLD_SYMLINK_MAX) {
        fold_error("catalog: symlink %llu: %s", (unsigned long long)ino,
                   fold_err_text(FOLD_E_BAD_CATALOG));
        rc = -FOLD_E_BAD_CATALOG;
    } else {
        memcpy(buf, v.data, v.len);
        buf[v.len] = '\0';
    }
    fold_found_fini(&v);
    return rc;
}

void fold_symlink_store(struct fold_txn *t, fold_ino ino, const char *target)
{
    struct fold_key key;
    fold_key_ino(&key, FOLD_TABLE_SYMLINK, ino);
    fold_kv_batch_put(t->batch, key.bytes, key.len, target, strlen(target));
}

void fold_symlink_remove(struct fold_txn *t, fold_ino ino)
{
    remove_key(t, FOLD_TABLE_SYMLINK, ino);
}

void fold_orphan_add(struct fold_txn *t, fold_ino ino)
{
    struct fold_key key;
    fold_key_ino(&key, FOLD_TABLE_ORPHAN, ino);
    fold_kv_batch_put(t->batch, key.bytes, key.len, "", 0);
}

void fold_orphan_remove(struct fold_txn *t, fold_ino ino)
{
    remove_key(t, FOLD_TABLE_ORPHAN, ino);
}

static int open_table(struct fold_catalog *c, enum fold_table table, bool scan,
                      struct fold_kv_iter **out)
{
    struct fold_key from, to;
    fold_key_ino(&from, table, 0);
    fold_key_table_end(&to, table);
    return fold_recent_iter_open(c->recent, from.bytes, from.len, to.bytes, to.len, scan, out);
}

int fold_orphan_each(struct fold_catalog *c, int (*fn)(void *arg, fold_ino ino), void *arg)
{
    struct fold_kv_iter *it;
    int rc = open_table(c, FOLD_TABLE_ORPHAN, false, &it);
    if (rc < 0)
        return rc;
    struct fold_kv_entry e;
    while ((rc = fold_kv_iter_next(it, &e)) > 0) {
        fold_ino ino;
        rc = fold_key_read_ino(e.key, e.key_len, FOLD_TABLE_ORPHAN, &ino) ? fn(arg, ino)
                                                                          : -FOLD_E_BAD_CATALOG;
        if (rc < 0)
            break;
    }
    fold_kv_iter_close(it);
    return rc;
}

int fold_inode_each(struct fold_catalog *c, int (*fn)(void *arg, const struct fold_attr *attr),
                    void *arg)
{
    struct fold_kv_iter *it;
    int rc = open_table(c, FOLD_TABLE_INODE, true, &it);
    if (rc < 0)
        return rc;
    struct fold_kv_entry e;
    while ((rc = fold_kv_iter_next(it, &e)) > 0) {
        fold_ino ino;
        struct fold_attr a;
        rc = fold_key_read_ino(e.key, e.key_len, FOLD_TABLE_INODE, &ino)
                 ? decode(e.val, e.val_len, ino, &a)
                 : -FOLD_E_BAD_CATALOG;
        if (rc == 0)
            rc = fn(arg, &a);
        if (rc < 0)
            break;
    }
    fold_kv_iter_close(it);
    return rc;
}
