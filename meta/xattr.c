/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes: key is inode and name, value the bytes as they are.
 */
#include "meta/xattr.h"

#include "meta/base/err.h"
#include "meta/commit.h"

int fold_xattr_load(struct fold_catalog *c, fold_ino ino, const char *name, void *buf, size_t cap,
                    size_t *len)
{
    struct fold_key key;
    size_t name_len = strlen(name);
    if (name_len > FOLD_NAME_MAX)
        return -ENODATA;
    fold_key_name(&key, FOLD_TABLE_XATTR, ino, name, name_len);
    struct fold_found v;
    int rc = fold_recent_get(c->recent, key.bytes, key.len, &v);
    if (rc < 0)
        return rc == -ENOENT ? -ENODATA : rc;
    *len = v.len;
    if (v.len > cap)
        rc = -ERANGE;
    else if (v.len > 0)
        memcpy(buf, v.data, v.len);
    fold_found_fini(&v);
    return rc;
}

void fold_xattr_store(struct fold_txn *t, fold_ino ino, const char *name, const void *value,
                      size_t len)
{
    struct fold_key key;
    fold_key_name(&key, FOLD_TABLE_XATTR, ino, name, strlen(name));
    fold_kv_batch_put(t->batch, key.bytes, key.len, len > 0 ? value : "", len);
}

void fold_xattr_remove(struct fold_txn *t, fold_ino ino, const char *name)
{
    struct fold_key key;
    fold_key_name(&key, FOLD_TABLE_XATTR, ino, name, strlen(name));
    fold_kv_batch_delete(t->batch, key.bytes, key.len);
}

static int open_names(struct fold_catalog *c, fold_ino ino, struct fold_kv_iter **out)
{
    struct fold_key from, to;
    fold_key_ino(&from, FOLD_TABLE_XATTR, ino);
    fold_key_ino(&to, FOLD_TABLE_XATTR, ino + 1);
    return fold_recent_iter_open(c->recent, from.bytes, from.len, to.bytes, to.len, false, out);
}

int fold_xattr_list(struct fold_catalog *c, fold_ino ino, char *buf, size_t cap, size_t *len)
{
    struct fold_kv_iter *it;
    int rc = open_names(c, ino, &it);
    if (rc < 0)
        return rc;
    size_t need = 0;
    struct fold_kv_entry e;
    while ((rc = fold_kv_iter_next(it, &e)) > 0) {
        size_t n = e.key_len - FOLD_KEY_INO_BYTES;
        if (need + n + 1 <= cap) {
            memcpy(buf + need, e.key + FOLD_KEY_INO_BYTES, n);
            buf[need + n] = '\0';
        }
        need += n + 1;
    }
    fold_kv_iter_close(it);
    if (rc < 0)
        return rc;
    *len = need;
    return need > cap ? -ERANGE : 0;
}

int fold_xattr_remove_all(struct fold_txn *t, fold_ino ino)
{
    struct fold_kv_iter *it;
    int rc = open_names(t->catalog, ino, &it);
    if (rc < 0)
        return rc;
    struct fold_kv_entry e;
    while ((rc = fold_kv_iter_next(it, &e)) > 0)
        fold_kv_batch_delete(t->batch, e.key, e.key_len);
    fold_kv_iter_close(it);
    return rc;
}
