/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a bucket of directory entries: entries in rising order of slot, each varint slot, u8
 * type, varint inode, u8 length, name. In the keyed form (meta/namehash.h) a byte of flags comes
 * first. Pure encoding and checking.
 */
#ifndef FOLD_META_BUCKETFMT_H
#define FOLD_META_BUCKETFMT_H

#include "meta/base/bytes.h"
#include "meta/namehash.h"

/* Flag of the keyed form: the bucket of the same hash at the next level has entries, too. */
#define FOLD_BUCKET_GOES_ON 1u

#define FOLD_BUCKET_ENTRY_MAX (2 + 1 + 10 + 1 + FOLD_NAME_MAX)

struct fold_bucket_entry {
    const uint8_t *begin; /* its bytes in the bucket */
    const uint8_t *end;
    const char *name; /* not terminated */
    fold_ino ino;
    uint32_t slot;
    uint8_t type;
    uint8_t len;
};

/* Reading one bucket from its beginning. */
struct fold_bucket_rd {
    struct fold_rd rest;
    int64_t last; /* slot of the entry before, or -1 */
    uint32_t slots;
    bool goes_on;
};

/* Bytes before the first entry. */
static inline size_t fold_bucket_head(enum fold_name_form form)
{
    return form == FOLD_NAMES_KEYED ? 1 : 0;
}

/* Begins to read; no bytes: a bucket that is not there, without entries. False if the flags make no
 * sense. */
bool fold_bucket_begin(struct fold_bucket_rd *r, enum fold_name_form form, const void *data,
                       size_t len) FOLD_MUST;

/* Next entry: 1, 0 at the end, -1 if the bytes make no sense. */
int fold_bucket_next(struct fold_bucket_rd *r, struct fold_bucket_entry *out) FOLD_MUST;

/* What looking for a name found. */
struct fold_bucket_found {
    struct fold_bucket_entry entry; /* if it is there */
    uint32_t slot;                  /* if not: the lowest free slot */
    size_t at;                      /* if not: where in the bytes it belongs */
    bool full;                      /* if not: there is no free slot */
    bool goes_on;                   /* if not: it may be at the next level */
};

/* 1, 0 or -1 as above. */
int fold_bucket_find(enum fold_name_form form, const void *data, size_t len, const char *name,
                     size_t name_len, struct fold_bucket_found *out) FOLD_MUST;

#endif
