/* SPDX-License-Identifier: MIT */
/*
 * Sixteen bytes: magic, number, checksum; replaced atomically.
 */
#include "meta/segnext.h"

#include "asm/kernels.h"
#include "meta/base/bytes.h"
#include "meta/base/err.h"
#include "meta/base/io.h"

#include <errno.h>

#define NAME  "last"
#define MAGIC UINT64_C(0x315453414c444c46) /* "FLDLAST1" */
#define BYTES 16u

int fold_segnext_save(int dirfd, uint32_t last)
{
    uint8_t buf[BYTES];
    struct fold_wr w = fold_wr_init(buf, sizeof buf);
    fold_wr_u64(&w, MAGIC);
    fold_wr_u32(&w, last);
    fold_wr_u32(&w, fold_kernels()->crc32c(0, buf, BYTES - 4));
    return fold_io_replace(dirfd, NAME, buf, sizeof buf, 0600);
}

int fold_segnext_load(int dirfd, uint32_t *last)
{
    FOLD_AUTO(free) void *data = NULL;
    size_t len;
    int rc = fold_io_slurp(dirfd, NAME, 4096, &data, &len);
    if (rc == -ENOENT) {
        *last = 0;
        return 0;
    }
    if (rc < 0)
        return rc;
    struct fold_rd r = fold_rd_init(data, len);
    uint64_t magic = fold_rd_u64(&r);
    uint32_t number = fold_rd_u32(&r);
    uint32_t crc = fold_rd_u32(&r);
    if (!fold_rd_done(&r) || magic != MAGIC || crc != fold_kernels()->crc32c(0, data, BYTES - 4))
        return -FOLD_E_BAD_SEGMENT;
    *last = number;
    return 0;
}
