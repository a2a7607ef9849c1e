/* SPDX-License-Identifier: MIT */
/*
 * The bound and what is counted in one state of the catalog differ by an error that no edit
 * changes: edits add and subtract what they really do. So the state is fixed under the flush lock,
 * counted without any lock, and the error taken off whatever the number has become meanwhile.
 * Another uncounted cut adds an error of its own: then the mark stays.
 */
#include "fs/recount.h"

#include "fs/edit.h"
#include "fs/invalidate.h"
#include "fs/session.h"
#include "meta/base/gate.h"
#include "meta/base/knob.h"

#include <errno.h>
#include <time.h>

static int count_pages(struct fold_recipe_scan *scan, const atomic_bool *stop, uint64_t *sum)
{
    struct fold_page page = {NULL, 0, 0};
    uint64_t page_no;
    int rc;
    *sum = 0;
    for (uint32_t n = 1; (rc = fold_recipe_scan_next(scan, &page_no, &page)) > 0; n++) {
        *sum += fold_page_mapped(&page);
        if (n % fold_knobs.recount_batch != 0)
            continue;
        struct timespec rest = {.tv_nsec = 2000000};
        (void)nanosleep(&rest, NULL);
        if (atomic_load(stop)) {
            rc = -ECANCELED;
            break;
        }
    }
    fold_page_fini(&page);
    return rc;
}

/* Fixes a state: its bound, its pages, and how many uncounted cuts there were. 1 if the file is not
 * marked. */
static int begin(struct fold_session *s, struct fold_inode *inode, uint64_t *bound, uint64_t *cuts,
                 struct fold_recipe_scan **scan)
{
    struct fold_data *d = inode->data;
    fold_turn_wait(inode);
    fold_lock_take(&inode->lock);
    bool marked = (inode->attr.flags & FOLD_INODE_RECOUNT) != 0 && !inode->ghost;
    *bound = inode->attr.mapped;
    fold_lock_drop(&inode->lock);
    *cuts = d->cuts;
    int rc = marked ? fold_recipe_scan_open(fold_session_catalog(s), inode->ino, scan) : 1;
    fold_turn_drop(s, inode);
    return rc;
}

static int take_off(struct fold_session *s, struct fold_inode *inode, uint64_t error, uint64_t cuts)
{
    struct fold_data *d = inode->data;
    struct fold_edit e;
    fold_turn_wait(inode);
    fold_rwlock_write(&d->map);
    fold_edit_begin(&e, s, inode);
    e.mapped -= (int64_t)error;
    fold_lock_take(&inode->lock);
    uint64_t size = FOLD_MIN(inode->disk_size, d->hidden_from);
    bool last = d->cuts == cuts;
    if (last)
        inode->attr.flags &= ~FOLD_INODE_RECOUNT;
    fold_lock_drop(&inode->lock);
    int rc = fold_edit_end(&e, size);
    fold_lock_take(&inode->lock);
    fold_inode_changed_locked(inode);
    fold_lock_drop(&inode->lock);
    if (rc != 0 && last) {
        fold_lock_take(&inode->lock);
        inode->attr.flags |= FOLD_INODE_RECOUNT;
        fold_lock_drop(&inode->lock);
    }
    fold_rwlock_drop(&d->map);
    fold_turn_drop(s, inode);
    fold_invalidate_attr(s, inode);
    return rc;
}

int fold_recount_inode(struct fold_session *s, struct fold_inode *inode, const atomic_bool *stop)
{
    uint64_t bound, cuts, sum;
    struct fold_recipe_scan *scan;
    int rc = begin(s, inode, &bound, &cuts, &scan);
    if (rc != 0)
        return FOLD_MIN(rc, 0);
    rc = count_pages(scan, stop, &sum);
    fold_recipe_scan_close(scan);
    if (rc == 0)
        rc = take_off(s, inode, bound - FOLD_MIN(bound, sum), cuts);
    return rc;
}
