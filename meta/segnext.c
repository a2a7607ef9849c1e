/* SPDX-License-Identifier: MIT */
/*
 * A small file without content: the number is all.
 */
#include "meta/segnext.h"

#include "meta/base/err.h"
#include "meta/smallfile.h"

#include <errno.h>

#define NAME  "last"
#define MAGIC UINT64_C(0x315453414c444c46) /* "FLDLAST1" */

int fold_segnext_save(int dirfd, uint32_t last)
{
    uint8_t buf[FOLD_SMALLFILE_BYTES(0)];
    struct fold_wr w = fold_smallfile_begin(buf, sizeof buf, MAGIC, last);
    return fold_smallfile_replace(&w, dirfd, NAME);
}

int fold_segnext_load(int dirfd, uint32_t *last)
{
    FOLD_AUTO(free) void *data = NULL;
    struct fold_rd content;
    uint32_t number;
    int rc = fold_smallfile_load(dirfd, NAME, 4096, MAGIC, &data, &number, &content);
    if (rc == -ENOENT) {
        *last = 0;
        return 0;
    }
    if (rc < 0)
        return rc;
    if (!fold_rd_done(&content))
        return -FOLD_E_BAD_SEGMENT;
    *last = number;
    return 0;
}
