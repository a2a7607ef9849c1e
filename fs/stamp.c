/* SPDX-License-Identifier: MIT */
/*
 * When a read moves the access time. With relatime only once a day, or if nobody read the file
 * since its last change.
 */
#include "fs/stamp.h"

#include "fs/change.h"
#include "fs/flush.h"
#include "fs/invalidate.h"
#include "fs/session.h"

#define DAY_SECONDS (24 * 3600)

static bool later(struct timespec a, struct timespec b)
{
    return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

static bool relatime_due(const struct fold_attr *attr, struct timespec now)
{
    return !later(attr->atime, attr->mtime) || !later(attr->atime, attr->ctime) ||
           now.tv_sec - attr->atime.tv_sec >= DAY_SECONDS;
}

static bool kept(const struct fold_session *s, const struct fold_inode *inode)
{
    return !s->opt.read_only && s->opt.atime != FOLD_ATIME_NEVER &&
           !(s->opt.no_dir_atime && S_ISDIR(inode->type));
}

static bool due_locked(const struct fold_session *s, const struct fold_inode *inode,
                       struct timespec now)
{
    return s->opt.atime == FOLD_ATIME_STRICT || relatime_due(&inode->attr, now);
}

bool fold_inode_touch_atime(struct fold_session *s, struct fold_inode *inode)
{
    if (!kept(s, inode))
        return false;
    struct timespec now = fold_change_now();
    fold_lock_take(&inode->lock);
    bool due = due_locked(s, inode, now);
    if (due) {
        inode->attr.atime = now;
        if (!inode->ghost)
            fold_flush_attr_dirty_locked(s, inode);
    }
    fold_lock_drop(&inode->lock);
    return due;
}

void fold_inode_opened_to_read(struct fold_session *s, struct fold_inode *inode)
{
    if (!fold_inode_touch_atime(s, inode))
        return;
    fold_lock_take(&inode->lock);
    fold_inode_changed_locked(inode);
    fold_lock_drop(&inode->lock);
}
