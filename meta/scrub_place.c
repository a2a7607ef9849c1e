/* SPDX-License-Identifier: MIT */
/*
 * The file `scrub`: the segment a scrub was in, and the segments before it that are damaged.
 */
#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/scrubparts.h"
#include "meta/smallfile.h"

#include <errno.h>

#define NAME     "scrub"
#define MAGIC    UINT64_C(0x3142524353444c46) /* "FLDSCRB1" */
#define MAX_FILE (1u << 20)

static int decode(struct fold_rd *r, struct fold_scrub_place *p)
{
    size_t n = fold_rd_left(r) / sizeof *p->bad;
    if (FOLD_GROW(p->bad, p->cap, n, 1) < 0)
        return -ENOMEM;
    for (p->count = 0; p->count < n; p->count++) {
        p->bad[p->count] = fold_rd_u32(r);
        if (p->count > 0 && p->bad[p->count] <= p->bad[p->count - 1])
            return -FOLD_E_BAD_SEGMENT;
    }
    return fold_rd_done(r) ? 0 : -FOLD_E_BAD_SEGMENT;
}

int fold_scrub_place_load(int storefd, struct fold_scrub_place *p)
{
    FOLD_AUTO(free) void *data = NULL;
    struct fold_rd content;
    *p = (struct fold_scrub_place){0};
    int rc = fold_smallfile_load(storefd, NAME, MAX_FILE, MAGIC, &data, &p->seg, &content);
    if (rc == 0)
        rc = decode(&content, p);
    if (rc < 0)
        fold_scrub_place_fini(p);
    return rc;
}

int fold_scrub_place_save(int storefd, const struct fold_scrub_place *p)
{
    if (p->seg == 0) {
        int rc = fold_io_unlink(storefd, NAME);
        return rc == -ENOENT ? 0 : rc;
    }
    size_t len = FOLD_SMALLFILE_BYTES(p->count * sizeof *p->bad);
    FOLD_AUTO(free) uint8_t *bytes = malloc(len);
    if (bytes == NULL)
        return -ENOMEM;
    struct fold_wr w = fold_smallfile_begin(bytes, len, MAGIC, p->seg);
    for (size_t i = 0; i < p->count; i++)
        fold_wr_u32(&w, p->bad[i]);
    return fold_smallfile_replace(&w, storefd, NAME);
}

/* Where the segment stands in the list, or would stand. */
static size_t find(const struct fold_scrub_place *p, uint32_t seg)
{
    size_t i = p->count;
    while (i > 0 && p->bad[i - 1] >= seg)
        i--;
    return i;
}

bool fold_scrub_place_bad(const struct fold_scrub_place *p, uint32_t seg)
{
    size_t i = find(p, seg);
    return i < p->count && p->bad[i] == seg;
}

bool fold_scrub_place_mark(struct fold_scrub_place *p, uint32_t seg, bool bad)
{
    size_t i = find(p, seg);
    bool there = i < p->count && p->bad[i] == seg;
    if (there == bad)
        return true;
    if (there) {
        p->count--;
        memmove(&p->bad[i], &p->bad[i + 1], (p->count - i) * sizeof *p->bad);
        return true;
    }
    if (p->count >= fold_knobs.scrub_bad_segments ||
        FOLD_GROW(p->bad, p->cap, p->count + 1, 16) < 0)
        return false;
    memmove(&p->bad[i + 1], &p->bad[i], (p->count - i) * sizeof *p->bad);
    p->bad[i] = seg;
    p->count++;
    return true;
}

void fold_scrub_place_fini(struct fold_scrub_place *p)
{
    free(p->bad);
    *p = (struct fold_scrub_place){0};
}
