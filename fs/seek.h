/* SPDX-License-Identifier: MIT */
/*
 * SEEK_DATA and SEEK_HOLE.
 */
#ifndef FOLD_FS_SEEK_H
#define FOLD_FS_SEEK_H

#include "fs/itable.h"

struct fold_session;

/*
 * The first data byte (`data`) or hole byte of an open regular file at or after `off`; the end of
 * the file counts as a hole. Bytes that programs left in a shared mapping are data. May wait for
 * write requests: on the worker pool, with no lock of rank FLUSH or later held. -ENXIO if there is
 * none or `off` is not inside the file.
 */
int fold_seek(struct fold_session *s, struct fold_inode *inode, uint64_t off, bool data,
              uint64_t *out) FOLD_MUST;

#endif
