/* SPDX-License-Identifier: MIT */
/*
 * The rounds of a check, and the list of what was found. The list is bounded; a problem is the same
 * as one of an earlier round if code, object and message are equal.
 */
#include "meta/check.h"

#include "meta/base/err.h"
#include "meta/base/guard.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/checkparts.h"
#include "meta/commit.h"
#include "meta/redo.h"
#include "meta/repair.h"
#include "meta/rescue.h"
#include "meta/salvage.h"
#include "meta/shadow.h"
#include "meta/storelock.h"
#include "meta/superblock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define ROUNDS_MAX 5u

struct fold_check_label fold_label_ino(fold_ino ino)
{
    struct fold_check_label l;
    (void)snprintf(l.text, sizeof l.text, "inode %" PRIu64, ino);
    return l;
}

struct fold_check_label fold_label_seg(uint32_t seg)
{
    struct fold_check_label l;
    (void)snprintf(l.text, sizeof l.text, "segment %08" PRIx32, seg);
    return l;
}

void fold_check_tell(const struct fold_check *k, const char *step, uint64_t done, uint64_t total)
{
    if (k->opt->progress != NULL)
        k->opt->progress(k->opt->arg, step, done, total);
}

static struct fold_problem *same_problem(struct fold_check *k, const char *code, const char *object,
                                         const char *message)
{
    struct fold_check_result *r = k->result;
    /* In the first round a problem can only be new. */
    for (size_t i = 0; k->round > 0 && i < r->count; i++) {
        struct fold_problem *p = &r->problems[i];
        if (!k->seen[i] && strcmp(p->code, code) == 0 && strcmp(p->object, object) == 0 &&
            strcmp(p->message, message) == 0) {
            k->seen[i] = true;
            return p;
        }
    }
    return NULL;
}

static struct fold_problem *add_problem(struct fold_check *k)
{
    struct fold_check_result *r = k->result;
    if (r->count >= fold_knobs.check_problems)
        return NULL;
    if (r->count == k->seen_cap) {
        size_t cap = FOLD_MAX(k->seen_cap * 2, (size_t)64);
        struct fold_problem *grown = realloc(r->problems, cap * sizeof *grown);
        if (grown == NULL)
            return NULL;
        r->problems = grown;
        bool *seen = realloc(k->seen, cap * sizeof *seen);
        if (seen == NULL)
            return NULL;
        k->seen = seen;
        k->seen_cap = cap;
    }
    k->seen[r->count] = true;
    return &r->problems[r->count++];
}

void fold_check_found(struct fold_check *k, const char *code, enum fold_severity severity,
                      bool repaired, const char *object, const char *fmt, ...)
{
    char *message = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&message, fmt, ap) < 0)
        message = NULL;
    va_end(ap);
    k->mended += repaired;
    char *name = strdup(object);
    struct fold_problem *p = NULL;
    bool known = false;
    if (message != NULL && name != NULL) {
        p = same_problem(k, code, name, message);
        known = p != NULL;
        if (p == NULL)
            p = add_problem(k);
    }
    if (p == NULL)
        k->result->dropped++;
    if (p == NULL || known) {
        if (p != NULL)
            p->repaired = repaired;
        free(message);
        free(name);
        return;
    }
    *p = (struct fold_problem){code, severity, repaired, name, message};
}

bool fold_check_commit(struct fold_check *k, struct fold_txn *t)
{
    (void)k;
    fold_lsn lsn;
    int rc = fold_txn_commit(t, &lsn);
    if (rc < 0)
        fold_error("fsck: a repair could not be stored: %s", fold_err_text(rc));
    return rc == 0;
}

static bool writes(const struct fold_check *k)
{
    return k->opt->repair || k->opt->rebuild_index;
}

static int check_superblock(struct fold_check *k)
{
    static const char *const copies[] = {"volume", "volume.bak"};
    int rc = fold_superblock_read(k->storefd, false, &k->params);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < FOLD_ARRAY_LEN(copies); i++) {
        struct fold_volume_params p;
        void *data = NULL;
        size_t len = 0;
        int one = fold_io_slurp(k->storefd, copies[i], 65536, &data, &len);
        if (one == 0)
            one = fold_superblock_decode(data, len, &p);
        free(data);
        if (one == 0 && memcmp(&p, &k->params, sizeof p) == 0)
            continue;
        bool fixed = k->opt->repair && fold_superblock_write(k->storefd, &k->params) == 0;
        /* A mkfs killed between the two copies has left a whole store; a mount writes the other. */
        bool unfinished = one == -ENOENT && faccessat(k->storefd, FOLD_VOLUME_BEGUN, F_OK, 0) == 0;
        fold_check_found(
            k, "superblock.copy", unfinished ? FOLD_SEVERITY_NOTE : FOLD_SEVERITY_ERROR, fixed,
            copies[i], "%s",
            one == 0 ? "the two copies of the superblock differ"
                     : "this copy of the superblock is missing or damaged; the other one is good");
    }
    return 0;
}

/* The lock of the volume is taken by opening it; what is done to files before that needs one, too.
 */
static int hold_lock(const struct fold_check *k, int *fd)
{
    *fd = fold_io_open(k->storefd, "lock", O_RDONLY, 0);
    if (*fd == -ENOENT) {
        *fd = -1;
        return 0;
    }
    return *fd < 0 ? *fd : fold_storelock_take(*fd, !writes(k));
}

static bool is_damage(int rc)
{
    return rc == -FOLD_E_BAD_CATALOG || rc == -FOLD_E_CATALOG_IO;
}

static void tell_gap(void *arg, const struct fold_rescue_gap *gap)
{
    fold_check_found(arg, "catalog.lost", FOLD_SEVERITY_ERROR, true, "catalog",
                     "what lies between %s and %s could not be read and is lost, but for %" PRIu64
                     " entries that older table files have",
                     gap->after, gap->before, gap->found);
}

/* Once, with the volume closed: makes the database anew, from what can be read of it, or if it
 * cannot be opened, from its tables. */
static bool salvage(struct fold_check *k, int why)
{
    if (!k->opt->repair || !is_damage(why) || k->salvaged)
        return false;
    k->salvaged = true;
    FOLD_AUTO(close) int lockfd = -1;
    int rc = hold_lock(k, &lockfd);
    if (rc == 0)
        rc = fold_rescue_catalog(k->storefd, tell_gap, k);
    if (is_damage(rc))
        rc = fold_salvage_catalog(k->storefd);
    if (rc < 0)
        fold_error("fsck: the catalog cannot be rebuilt: %s", fold_err_text(rc));
    return rc == 0;
}

/* Repairing takes what is not found for what is not there: so all of the catalog must be readable
 * before anything is repaired. 0, or why it is not. */
static int read_catalog(struct fold_check *k)
{
    struct fold_kv_iter *it;
    struct fold_kv_entry e;
    if (!k->opt->repair)
        return 0;
    fold_check_tell(k, "catalog", 0, 1);
    int rc = fold_kv_iter_open(k->volume->catalog->kv, NULL, 0, NULL, 0, true, &it);
    if (rc < 0)
        return rc;
    while ((rc = fold_kv_iter_next(it, &e)) > 0)
        continue;
    fold_kv_iter_close(it);
    fold_check_tell(k, "catalog", 1, 1);
    return is_damage(rc) || rc == -ENOMEM ? rc : 0;
}

static int open_volume(struct fold_check *k, const char *path)
{
    struct fold_volume_options opt = {
        .read_only = !writes(k),
        .store = {.verify = FOLD_VERIFY_ALWAYS, .overlay = k->overlay},
    };
    int rc = fold_volume_open(path, &opt, &k->volume);
    if (rc == 0 || rc == -ENOMEM || rc == -FOLD_E_LOCKED)
        return rc;
    if (salvage(k, rc)) {
        fold_check_found(k, "catalog.database", FOLD_SEVERITY_ERROR, true, "catalog",
                         "the database cannot be used: %s; it is made anew from what can be read",
                         fold_err_text(rc));
        return 1;
    }
    fold_check_found(k, "volume.open", FOLD_SEVERITY_ERROR, false, "volume",
                     "it cannot be opened: %s; catalog and tree were not checked",
                     fold_err_text(rc));
    return 1;
}

static int check_inside(struct fold_check *k)
{
    int rc = fold_check_forward(k);
    if (rc == 0)
        rc = fold_check_index(k);
    if (rc == 0)
        rc = fold_check_twins(k);
    if (rc == 0)
        rc = fold_check_catalog(k);
    if (rc == 0)
        rc = fold_check_dentries(k);
    if (rc == 0)
        rc = fold_check_recipes(k);
    if (rc == 0)
        rc = fold_check_tree(k);
    return rc;
}

static void forget_round(struct fold_check *k)
{
    for (size_t i = 0; i < k->seg_count; i++)
        free(k->segs[i].recs);
    free(k->segs);
    free(k->nodes);
    k->segs = NULL;
    k->nodes = NULL;
    k->seg_count = k->seg_cap = k->node_count = k->node_cap = 0;
    k->lost_found = 0;
}

int fold_check_open_segments(const struct fold_check *k)
{
    const char *name = k->overlay != NULL ? fold_shadow_path(k->overlay) : "segments";
    return fold_io_open(k->storefd, name, O_RDONLY | O_DIRECTORY, 0);
}

/* The bytes that opening would put back must be there when the segments are looked at. What keeps
 * them from it is told when the volume is opened. */
static int put_back(struct fold_check *k)
{
    int rc = writes(k) ? fold_redo_run(k->storefd) : fold_redo_overlay(k->storefd, &k->overlay);
    return rc == -ENOMEM ? rc : 0;
}

static int before_opening(struct fold_check *k)
{
    FOLD_AUTO(close) int lockfd = -1;
    int rc = hold_lock(k, &lockfd);
    if (rc == 0)
        rc = check_superblock(k);
    if (rc == 0)
        rc = put_back(k);
    if (rc == 0)
        rc = fold_check_segments(k);
    bool again = k->opt->repair && k->index_broken;
    if (rc == 0 && (again || (k->opt->rebuild_index && k->round == 0)))
        rc = fold_repair_drop_index(k->storefd);
    k->index_broken = false;
    return rc;
}

/* Of a database that was opened, but has parts that cannot be read. */
static int mend_catalog(struct fold_check *k, int why)
{
    if (!is_damage(why))
        return why;
    bool done = salvage(k, why);
    fold_check_found(k, "catalog.unreadable", FOLD_SEVERITY_ERROR, done, "catalog",
                     "not all of the database can be read: %s; it is made anew from what can",
                     fold_err_text(why));
    return 0;
}

static int run_round(struct fold_check *k, const char *path)
{
    k->mended = 0;
    k->result->dropped = 0;
    memset(&k->result->inodes, 0, sizeof *k->result - offsetof(struct fold_check_result, inodes));
    if (k->seen != NULL)
        memset(k->seen, 0, k->seen_cap * sizeof *k->seen);
    int rc = before_opening(k);
    if (rc == 0)
        rc = open_volume(k, path);
    int unreadable = rc == 0 ? read_catalog(k) : 0;
    if (unreadable == 0 && rc == 0)
        rc = check_inside(k);
    if (unreadable == 0 && rc == 0)
        rc = fold_check_damage(k);
    int closed = fold_volume_close(k->volume, rc == 0 && unreadable == 0 && writes(k));
    k->volume = NULL;
    if (unreadable < 0)
        rc = mend_catalog(k, unreadable);
    fold_shadow_destroy(k->overlay);
    k->overlay = NULL;
    return rc < 0 ? rc : closed;
}

/* What was found once and not in the last round is gone; what the last round found and could not
 * mend is there. */
static void settle(struct fold_check *k)
{
    struct fold_check_result *r = k->result;
    for (size_t i = 0; i < r->count; i++) {
        struct fold_problem *p = &r->problems[i];
        if (k->round > 0 && !k->seen[i])
            p->repaired = true;
        if (p->severity == FOLD_SEVERITY_NOTE)
            continue;
        r->errors++;
        r->repaired += p->repaired;
    }
    r->errors += r->dropped;
}

int fold_check_run(const char *path, const struct fold_check_options *opt,
                   struct fold_check_result *out)
{
    *out = (struct fold_check_result){0};
    struct fold_check k = {.opt = opt, .result = out, .segfd = -1};
    fold_guard_install();
    k.storefd = fold_io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (k.storefd < 0)
        return k.storefd;
    int rc = 0;
    for (bool more = true; rc == 0 && more; k.round += more) {
        rc = run_round(&k, path);
        more = rc == 0 && k.mended > 0 && k.round + 1 < ROUNDS_MAX;
        forget_round(&k);
    }
    if (rc == 0)
        settle(&k);
    free(k.seen);
    (void)close(k.storefd);
    return rc;
}

void fold_check_free(struct fold_check_result *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->problems[i].object);
        free(r->problems[i].message);
    }
    free(r->problems);
    *r = (struct fold_check_result){0};
}
