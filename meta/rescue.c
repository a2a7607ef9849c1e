/* SPDX-License-Identifier: MIT */
/*
 * The old database is read from one end to the other, around what cannot be read. For the gaps a
 * second database is made, a temporary one of links to the table files, and repaired: that leaves
 * out whole table files with anything bad in them, so what it has in a gap is right or older.
 */
#include "meta/rescue.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/commit.h"
#include "meta/rescueparts.h"
#include "meta/salvage.h"
#include "meta/shadow.h"
#include "meta/twin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

struct gap {
    struct fold_rescue_run run;
    uint64_t found;
};

struct rescue {
    struct fold_kv *to;
    struct fold_kv_batch *batch;
    struct gap *gaps;
    size_t count, cap;
};

static int put(struct rescue *r, const struct fold_kv_entry *e)
{
    fold_kv_batch_put(r->batch, e->key, e->key_len, e->val, e->val_len);
    if (fold_kv_batch_count(r->batch) < fold_knobs.rescue_batch)
        return 0;
    int rc = fold_kv_write(r->to, r->batch);
    fold_kv_batch_clear(r->batch);
    return rc;
}

static int settle(struct rescue *r)
{
    int rc = fold_kv_batch_count(r->batch) > 0 ? fold_kv_write(r->to, r->batch) : 0;
    fold_kv_batch_clear(r->batch);
    return rc;
}

static int note_gap(struct rescue *r, const struct fold_rescue_run *run)
{
    if (r->count >= fold_knobs.rescue_gaps)
        return -FOLD_E_BAD_CATALOG;
    if (r->count == r->cap) {
        size_t cap = FOLD_MAX(r->cap * 2, (size_t)16);
        struct gap *grown = realloc(r->gaps, cap * sizeof *grown);
        if (grown == NULL)
            return -ENOMEM;
        r->gaps = grown;
        r->cap = cap;
    }
    r->gaps[r->count++] = (struct gap){.run = *run};
    return 0;
}

static void set_key(struct fold_key *key, const struct fold_kv_entry *e)
{
    key->len = FOLD_MIN(e->key_len, sizeof key->bytes);
    memcpy(key->bytes, e->key, key->len);
}

/* Everything that can be read, and where it cannot. */
static int copy_readable(struct rescue *r, struct fold_kv *from)
{
    struct fold_kv_iter *it;
    struct fold_kv_entry e;
    struct fold_rescue_run run = {.after.len = 0};
    int rc = fold_kv_iter_open(from, NULL, 0, NULL, 0, true, &it);
    if (rc < 0)
        return rc;
    rc = fold_kv_iter_next(it, &e);
    while (rc != 0) {
        if (rc > 0) {
            set_key(&run.after, &e);
            rc = put(r, &e);
            if (rc == 0)
                rc = fold_kv_iter_next(it, &e);
            else if (fold_rescue_is_damage(rc))
                rc = -EIO; /* of the new database */
            continue;
        }
        if (!fold_rescue_is_damage(rc))
            break;
        rc = fold_rescue_skip(from, &it, &run.after, &run.before, &e);
        int noted = note_gap(r, &run);
        rc = noted < 0 ? noted : rc;
        if (noted < 0 || fold_rescue_is_damage(rc))
            break;
    }
    fold_kv_iter_close(it);
    return rc < 0 ? rc : settle(r);
}

static int copy_gap(struct rescue *r, struct fold_kv *from, struct gap *gap)
{
    struct fold_kv_iter *it;
    struct fold_kv_entry e;
    const struct fold_key *after = &gap->run.after;
    const struct fold_key *before = &gap->run.before;
    int rc = fold_kv_iter_open(from, after->len > 0 ? after->bytes : NULL, after->len,
                               before->len > 0 ? before->bytes : NULL, before->len, true, &it);
    if (rc < 0)
        return rc;
    while ((rc = fold_kv_iter_next(it, &e)) > 0) {
        if (e.key_len == after->len && memcmp(e.key, after->bytes, e.key_len) == 0)
            continue;
        gap->found++;
        rc = put(r, &e);
        if (rc < 0)
            break;
    }
    fold_kv_iter_close(it);
    return rc < 0 ? rc : settle(r);
}

static int fill_from(struct rescue *r, int fd, const struct fold_kv_options *opt)
{
    struct fold_kv *good;
    int rc = fold_kv_repair(fd, ".", opt);
    if (rc == 0)
        rc = fold_kv_open(fd, ".", opt, &good);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < r->count; i++)
        rc = copy_gap(r, good, &r->gaps[i]);
    fold_kv_close(good);
    return rc;
}

/* What other table files have of the gaps. Without that more is lost, but not all. */
static int fill_gaps(struct rescue *r, int storefd)
{
    struct fold_kv_options opt = fold_catalog_kv_options(0, 0);
    struct fold_shadow *links;
    opt.no_compaction = true;
    int rc = fold_shadow_create(storefd, FOLD_CATALOG_DIR, fold_shadow_database, NULL, &links);
    if (rc == 0) {
        FOLD_AUTO(close)
        int fd = fold_io_open(AT_FDCWD, fold_shadow_path(links), O_RDONLY | O_DIRECTORY, 0);
        rc = fd < 0 ? fd : fill_from(r, fd, &opt);
        fold_shadow_destroy(links);
    }
    if (rc < 0 && rc != -ENOMEM && rc != -ENOSPC) {
        fold_warn("catalog: the other table files cannot be looked into: %s", fold_err_text(rc));
        rc = settle(r);
    }
    for (size_t i = 0; rc == 0 && i < r->count; i++)
        rc = fold_rescue_pages(r->to, &r->gaps[i].run);
    return rc;
}

static void describe(const struct fold_key *key, const char *open_end, char text[80])
{
    uint64_t a = 0, b = 0;
    struct fold_rd rd = fold_rd_init(key->bytes + 1, key->len > 0 ? key->len - 1 : 0);
    if (fold_rd_left(&rd) >= 8)
        a = fold_rd_be64(&rd);
    if (fold_rd_left(&rd) >= 8)
        b = fold_rd_be64(&rd);
    switch (key->len > 0 ? key->bytes[0] : 0) {
    case FOLD_TABLE_DENTRY:
        (void)snprintf(text, 80, "an entry of directory %" PRIu64, a);
        break;
    case FOLD_TABLE_INODE:
        (void)snprintf(text, 80, "inode %" PRIu64, a);
        break;
    case FOLD_TABLE_SYMLINK:
        (void)snprintf(text, 80, "the target of link %" PRIu64, a);
        break;
    case FOLD_TABLE_RECIPE:
        (void)snprintf(text, 80, "the content of inode %" PRIu64 " at %" PRIu64 " MiB", a, b);
        break;
    case FOLD_TABLE_XATTR:
        (void)snprintf(text, 80, "an attribute of inode %" PRIu64, a);
        break;
    default:
        (void)snprintf(text, 80, "%s", key->len > 0 ? "other entries" : open_end);
        break;
    }
}

static void tell_gaps(const struct rescue *r, fold_rescue_fn fn, void *arg)
{
    for (size_t i = 0; i < r->count; i++) {
        struct fold_rescue_gap told = {.found = r->gaps[i].found};
        describe(&r->gaps[i].run.after, "the beginning", told.after);
        describe(&r->gaps[i].run.before, "the end", told.before);
        fn(arg, &told);
    }
}

static bool no_file(const char *name)
{
    (void)name;
    return false;
}

static int copy_all(struct rescue *r, int storefd, struct fold_kv *from)
{
    struct fold_kv_options opt = fold_catalog_kv_options(0, 0);
    struct fold_twin_name twin;
    size_t none;
    opt.create = true;
    int rc = fold_twin_create(storefd, FOLD_CATALOG_DIR, no_file, &twin, &none);
    if (rc == 0)
        rc = fold_kv_open(storefd, twin.text, &opt, &r->to);
    if (rc < 0)
        return rc;
    r->batch = fold_kv_batch_create();
    rc = copy_readable(r, from);
    if (rc == 0 && r->count > 0)
        rc = fill_gaps(r, storefd);
    if (rc == 0)
        rc = fold_salvage_complete(storefd, r->to);
    if (rc == 0)
        rc = fold_kv_flush(r->to, true);
    fold_kv_batch_destroy(r->batch);
    fold_kv_close(r->to);
    return rc;
}

int fold_rescue_catalog(int storefd, fold_rescue_fn fn, void *arg)
{
    struct fold_kv_options opt = fold_catalog_kv_options(0, 0);
    struct fold_kv *from;
    struct rescue r = {0};
    opt.read_only = true;
    int rc = fold_kv_open(storefd, FOLD_CATALOG_DIR, &opt, &from);
    if (rc < 0)
        return rc;
    rc = copy_all(&r, storefd, from);
    fold_kv_close(from);
    if (fold_rescue_is_damage(rc))
        rc = -EIO; /* not of the old database: that was opened */
    if (rc == 0)
        rc = fold_twin_swap(storefd, FOLD_CATALOG_DIR);
    if (rc == 0)
        tell_gaps(&r, fn, arg);
    free(r.gaps);
    return rc;
}
