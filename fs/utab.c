/* SPDX-License-Identifier: MIT */
/*
 * libmount keeps the file: its format, its lock, and lines of others.
 */
#include "fs/utab.h"

#include "meta/base/log.h"

#if defined(FOLD_HAVE_LIBMOUNT)

#include <errno.h>
#include <libmount/libmount.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static const char type[] = "fuse.foldfs";

/* Writes the change and frees it. */
static void commit(struct libmnt_update *update, int rc, const char *mountpoint)
{
    if (rc == 0)
        rc = mnt_update_table(update, NULL);
    if (rc < 0)
        fold_debug("the line of '%s' in /run/mount/utab could not be changed: %s", mountpoint,
                   strerror(-rc));
    mnt_free_update(update);
}

void fold_utab_add(const char *store, const char *mountpoint)
{
    if (geteuid() != 0)
        return;
    struct libmnt_update *update = mnt_new_update();
    struct libmnt_fs *fs = mnt_new_fs();
    int rc = update == NULL || fs == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = mnt_fs_set_source(fs, store);
    if (rc == 0)
        rc = mnt_fs_set_target(fs, mountpoint);
    if (rc == 0)
        rc = mnt_fs_set_fstype(fs, type);
    if (rc == 0)
        rc = mnt_fs_set_options(fs, "uhelper=fuse.foldfs");
    if (rc == 0)
        rc = mnt_update_set_fs(update, 0, NULL, fs);
    mnt_unref_fs(fs);
    commit(update, rc, mountpoint);
}

static bool mounted_again(const char *mountpoint)
{
    struct libmnt_table *table = mnt_new_table_from_file("/proc/self/mountinfo");
    struct libmnt_fs *fs =
        table != NULL ? mnt_table_find_target(table, mountpoint, MNT_ITER_BACKWARD) : NULL;
    const char *is = fs != NULL ? mnt_fs_get_fstype(fs) : NULL;
    bool again = is != NULL && strcmp(is, type) == 0;
    mnt_unref_table(table);
    return again;
}

void fold_utab_remove(const char *mountpoint)
{
    if (geteuid() != 0 || mounted_again(mountpoint))
        return;
    struct libmnt_update *update = mnt_new_update();
    int rc = update != NULL ? mnt_update_set_fs(update, 0, mountpoint, NULL) : -ENOMEM;
    commit(update, rc, mountpoint);
}

#else

void fold_utab_add(const char *store, const char *mountpoint)
{
    (void)store;
    fold_debug("built without libmount: '%s' gets no line in /run/mount/utab", mountpoint);
}

void fold_utab_remove(const char *mountpoint)
{
    (void)mountpoint;
}

#endif
