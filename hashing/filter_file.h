/* SPDX-License-Identifier: MIT */
/*
 * The filter's file: a header, then one checksummed block per region. Written whole and renamed
 * into place.
 */
#ifndef FOLD_HASHING_FILTER_FILE_H
#define FOLD_HASHING_FILTER_FILE_H

#include "hashing/filter_regions.h"

struct fold_filter_head {
    uint64_t stamp;
    uint64_t keys;
};

/*
 * Writing happens in three steps, so that nobody has to wait for the disk: create the file that
 * will become `name` below `dirfd` (returns a descriptor), write the regions, during which nobody
 * may change them, and make it durable and put it in place. The last step closes the descriptor;
 * with rc < 0 it removes the file and returns rc. -errno.
 */
int fold_filter_file_create(int dirfd, const char *name) FOLD_MUST;
int fold_filter_file_write(int fd, const struct fold_regions *s,
                           const struct fold_filter_head *head) FOLD_MUST;
int fold_filter_file_finish(int fd, int dirfd, const char *name, int rc) FOLD_MUST;

/*
 * Initialises `s` from a file that was written with head->stamp and fills in head->keys. -ESTALE,
 * -EBADMSG, -ENOENT, -ENOMEM or another -errno; `s` must be finished in any case.
 */
int fold_filter_file_read(struct fold_regions *s, struct fold_filter_head *head, int dirfd,
                          const char *name) FOLD_MUST;

#endif
