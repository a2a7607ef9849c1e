/* SPDX-License-Identifier: MIT */
/*
 * Bucket bytes.
 */
#include "meta/bucketfmt.h"

#include "meta/base/knob.h"

#define SEEDED_SLOTS 2048u
#define KEYED_SLOTS  128u

bool fold_bucket_begin(struct fold_bucket_rd *r, enum fold_name_form form, const void *data,
                       size_t len)
{
    *r = (struct fold_bucket_rd){.rest = fold_rd_init(data, len),
                                 .last = -1,
                                 .slots = form == FOLD_NAMES_KEYED ? KEYED_SLOTS : SEEDED_SLOTS};
    if (form != FOLD_NAMES_KEYED || len == 0)
        return true;
    uint8_t flags = fold_rd_u8(&r->rest);
    r->goes_on = (flags & FOLD_BUCKET_GOES_ON) != 0;
    return (flags & ~FOLD_BUCKET_GOES_ON) == 0;
}

int fold_bucket_next(struct fold_bucket_rd *r, struct fold_bucket_entry *out)
{
    if (fold_rd_done(&r->rest))
        return 0;
    struct fold_bucket_entry e = {.begin = r->rest.p};
    uint64_t slot = fold_rd_varint(&r->rest);
    e.type = fold_rd_u8(&r->rest);
    e.ino = fold_rd_varint(&r->rest);
    e.len = fold_rd_u8(&r->rest);
    const uint8_t *name = fold_rd_bytes(&r->rest, e.len);
    if (name == NULL || e.len == 0 || e.ino == 0 || slot >= r->slots || (int64_t)slot <= r->last)
        return -1;
    e.name = (const char *)name;
    e.end = r->rest.p;
    e.slot = (uint32_t)slot;
    r->last = e.slot;
    *out = e;
    return 1;
}

int fold_bucket_find(enum fold_name_form form, const void *data, size_t len, const char *name,
                     size_t name_len, struct fold_bucket_found *out)
{
    struct fold_bucket_rd r;
    struct fold_bucket_entry e;
    bool gap = false;
    int rc;
    if (!fold_bucket_begin(&r, form, data, len))
        return -1;
    *out = (struct fold_bucket_found){.at = fold_bucket_head(form), .goes_on = r.goes_on};
    while ((rc = fold_bucket_next(&r, &e)) > 0) {
        if (e.len == name_len && memcmp(e.name, name, name_len) == 0) {
            out->entry = e;
            return 1;
        }
        if (!gap && e.slot == out->slot) {
            out->slot = e.slot + 1;
            out->at = (size_t)(e.end - (const uint8_t *)data);
        } else {
            gap = true;
        }
    }
    uint32_t most = form == FOLD_NAMES_KEYED ? (uint32_t)fold_knobs.bucket_slots : r.slots;
    out->full = out->slot >= most;
    return rc;
}
