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

/* Writes all regions durably to `name` below `dirfd`. Nobody may change them meanwhile. -errno. */
int fold_filter_file_write(const struct fold_regions *s, const struct fold_filter_head *head,
                           int dirfd, const char *name) FOLD_MUST;

/*
 * Initialises `s` from a file that was written with head->stamp and fills in head->keys. -ESTALE,
 * -EBADMSG, -ENOENT, -ENOMEM or another -errno; `s` must be finished in any case.
 */
int fold_filter_file_read(struct fold_regions *s, struct fold_filter_head *head, int dirfd,
                          const char *name) FOLD_MUST;

#endif
