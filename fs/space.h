/* SPDX-License-Identifier: MIT */
/*
 * What can still be written: free bytes of the host filesystem less a reserve that keeps deletes
 * and the catalog going, less what is dirty in memory. Thread-safe.
 */
#ifndef FOLD_FS_SPACE_H
#define FOLD_FS_SPACE_H

#include "meta/base/attr.h"

#include <stdbool.h>
#include <sys/statvfs.h>

struct fold_session;

/* What a new name or inode may cost in the catalog, with room for journal and compaction. */
#define FOLD_SPACE_NAME_BYTES 4096

/* 0 if `len` more bytes may be accepted from a writer, -ENOSPC if not. The host is asked at most
 * twice a second. */
int fold_space_admit(struct fold_session *s, uint64_t len) FOLD_MUST;

/* The same for what frees space as a rule but may need some (punching splits extents): admitted
 * while half of the reserve is there. */
int fold_space_admit_freeing(struct fold_session *s, uint64_t len) FOLD_MUST;

/* What may be accepted now, asked of the host; 0 if it does not answer. */
uint64_t fold_space_room(struct fold_session *s);

/* True if so many bytes may be accepted, as far as is known; takes nothing. */
bool fold_space_has(struct fold_session *s, uint64_t len);

/*
 * Around storing `len` bytes that were accepted before: -ENOSPC if others have taken the space
 * since and storing would eat into the reserve. Only what was claimed is given back.
 */
int fold_space_claim(struct fold_session *s, uint64_t len) FOLD_MUST;
void fold_space_unclaim(struct fold_session *s, uint64_t len);

/* What df shows, in bytes. */
struct fold_space {
    uint64_t used; /* what the store occupies: segments, catalog, journal, index */
    uint64_t left; /* what may still be written if nothing of it is known or compresses */
};

/* Asks the host now. -errno. */
int fold_space_figures(struct fold_session *s, struct fold_space *out) FOLD_MUST;

/* Bytes of the host filesystem that are never given to file data. */
uint64_t fold_space_reserve(const struct statvfs *host);

/* Size of new segments: small on a small host, so that collecting needs little room to copy into.
 */
uint32_t fold_space_segment_bytes(const struct statvfs *host);

#endif
