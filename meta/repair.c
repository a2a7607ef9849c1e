/* SPDX-License-Identifier: MIT */
/*
 * Each repair only takes away derived bytes or writes bytes that are known from elsewhere, durably.
 */
#include "meta/repair.h"

#include "meta/base/io.h"

#include <errno.h>
#include <fcntl.h>

int fold_repair_drop_index(int storefd)
{
    FOLD_AUTO(close) int dirfd = fold_io_open(storefd, "index", O_RDONLY | O_DIRECTORY, 0);
    if (dirfd == -ENOENT)
        return 0;
    if (dirfd < 0)
        return dirfd;
    int rc = fold_io_empty(dirfd);
    return rc < 0 ? rc : fold_io_fsync(dirfd);
}

int fold_repair_header(int fd, const struct fold_seg_ident *id)
{
    uint8_t header[FOLD_SEG_HEADER_BYTES];
    fold_seg_header_encode(id, header);
    int rc = fold_io_pwrite(fd, header, sizeof header, 0);
    return rc < 0 ? rc : fold_io_fdatasync(fd);
}

int fold_repair_unseal(int fd, uint32_t data_end)
{
    int rc = fold_io_truncate(fd, data_end);
    return rc < 0 ? rc : fold_io_fsync(fd);
}
