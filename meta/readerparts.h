/* SPDX-License-Identifier: MIT */
/*
 * The inside of the reader, for the files that make it up (reader, reader_match) and for
 * compact, which needs records verified anew. Everyone else uses meta/reader.h.
 */
#ifndef FOLD_META_READERPARTS_H
#define FOLD_META_READERPARTS_H

#include "meta/reader.h"
#include "meta/record.h"

/* A pinned record whose header was checked. */
struct fold_pinned {
    struct fold_map *map;
    struct fold_rec rec;
    struct fold_loc loc; /* after forwarding */
    const uint8_t *payload;
};

/* Pins the record at `loc`, to be unpinned by the caller. Errors as view, reported. */
int fold_reader_pin(struct fold_reader *r, struct fold_loc loc, struct fold_pinned *p) FOLD_MUST;
void fold_reader_unpin(struct fold_reader *r, struct fold_pinned *p);

/* Checks the payload against its checksum. -FOLD_E_BAD_RECORD, -EIO; reported. */
int fold_reader_check(struct fold_reader *r, const struct fold_pinned *p) FOLD_MUST;

/* Decodes a payload that lies in a mapping. -FOLD_E_BAD_RECORD, -EIO, -ENOMEM; not reported. */
int fold_reader_unpack(enum fold_codec codec, const uint8_t *src, size_t len, void *dst,
                       size_t raw_len) FOLD_MUST;

/* Counts a damaged or missing chunk once, and logs it once for each file; `code` says what, `fp`
 * may be NULL. Returns the code. */
int fold_reader_report(struct fold_reader *r, struct fold_loc loc, const struct fold_fp *fp,
                       int code);

#endif
