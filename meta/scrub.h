/* SPDX-License-Identifier: MIT */
/*
 * Reads all stored chunks from the disk, past the page cache where the host allows it, and verifies
 * checksum and fingerprint. Runs beside everything else. Remembers in the file `scrub` of the
 * store directory where it is, so that a run that was ended goes on at the segment it was in, and
 * reads the segments again in which it had found damage.
 */
#ifndef FOLD_META_SCRUB_H
#define FOLD_META_SCRUB_H

#include "meta/catalog.h"
#include "meta/store.h"

struct fold_gate;

struct fold_scrub_options {
    uint64_t rate; /* bytes per second; 0 = no limit */
    bool restart;  /* from the first segment, whatever the position says */
    void *arg;     /* for the functions below, of which only `matches` must be there */
    bool (*matches)(void *arg, const void *raw, size_t len,
                    const struct fold_fp *fp); /* raw bytes have the fingerprint */
    void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
    bool (*cancelled)(void *arg);
};

struct fold_scrub_damage {
    struct fold_loc loc;
    struct fold_fp fp; /* first 16 bytes */
    bool fp_known;
    const char *what; /* static storage */
    char **files;     /* paths, or "inode N" for files without a name */
    size_t file_count;
    fold_ino *inos; /* the same files */
    size_t ino_cap;
};

struct fold_scrub_result {
    struct fold_scrub_damage *damage; /* by location */
    size_t count;
    uint64_t not_listed; /* damaged chunks beyond the most that are kept */
    uint64_t chunks;     /* verified */
    uint64_t bytes;      /* read */
    uint64_t segments;
    uint32_t resumed_at; /* segment; 0: from the start */
};

/*
 * `storefd` is the store directory. The caller sees to it that only one runs. -ECANCELED, -ENOMEM,
 * -EIO, ...: the place is kept, and what was found so far is in `out`, which is to be freed in
 * every case.
 */
int fold_scrub_run(struct fold_store *store, struct fold_catalog *catalog, struct fold_gate *gate,
                   int storefd, const struct fold_scrub_options *opt,
                   struct fold_scrub_result *out) FOLD_MUST;
void fold_scrub_free(struct fold_scrub_result *r);

#endif
