/* SPDX-License-Identifier: MIT */
/*
 * The line of a mount in /run/mount/utab. Without it umount(8), given an absolute path, detaches
 * the mount by itself: all it sees of the type is "fuse". With it umount calls umount.fuse.foldfs,
 * which returns when everything is durable and the store is closed.
 *
 * Only root may write there; for others, and where we were built without libmount, these do
 * nothing. A mount without the line works, so what fails here is only logged.
 */
#ifndef FOLD_FS_UTAB_H
#define FOLD_FS_UTAB_H

/* Adds the line of the mount of `store` on `mountpoint`, both absolute. */
void fold_utab_add(const char *store, const char *mountpoint);

/* Takes the line away, unless another foldfs is mounted there by now. */
void fold_utab_remove(const char *mountpoint);

#endif
