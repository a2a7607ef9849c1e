/* SPDX-License-Identifier: MIT */
/*
 * The frame around the content, see docs/FORMAT-segments.md. The checksum is looked at first, so
 * that whoever decodes the content deals with what was written, or with a forgery.
 */
#include "meta/smallfile.h"

#include "meta/base/crc.h"
#include "meta/base/err.h"
#include "meta/base/io.h"

#include <assert.h>

struct fold_wr fold_smallfile_begin(void *buf, size_t len, uint64_t magic, uint32_t number)
{
    struct fold_wr w = fold_wr_init(buf, len);
    fold_wr_u64(&w, magic);
    fold_wr_u32(&w, number);
    return w;
}

int fold_smallfile_replace(struct fold_wr *w, int dirfd, const char *name)
{
    fold_crc_put(w);
    assert(!w->bad && w->p == w->end);
    return fold_io_replace(dirfd, name, w->base, fold_wr_len(w), 0600);
}

int fold_smallfile_load(int dirfd, const char *name, size_t max, uint64_t magic, void **data,
                        uint32_t *number, struct fold_rd *content)
{
    void *bytes;
    size_t len;
    int rc = fold_io_slurp(dirfd, name, max, &bytes, &len);
    if (rc < 0)
        return rc;
    struct fold_rd r = fold_rd_init(bytes, len < FOLD_CRC_BYTES ? 0 : len - FOLD_CRC_BYTES);
    uint64_t is = fold_rd_u64(&r);
    uint32_t named = fold_rd_u32(&r);
    if (r.bad || is != magic || !fold_crc_holds(bytes, len)) {
        free(bytes);
        return -FOLD_E_BAD_SEGMENT;
    }
    *data = bytes;
    *number = named;
    *content = r;
    return 0;
}
