/* SPDX-License-Identifier: MIT */
/*
 * What 'foldfs stats' reports of a volume: one plain struct and its JSON form. A snapshot of
 * counters that move while they are read, not one consistent instant.
 */
#ifndef FOLD_FS_STATS_H
#define FOLD_FS_STATS_H

#include "asm/kernels.h"
#include "meta/types.h"

#include <jansson.h>

struct fold_collect_result;
struct fold_usage;
struct fold_volume;

/* How the written bytes of this mount went; zero where nothing is mounted. */
struct fold_stats_ingest {
    uint64_t bytes_in;        /* bytes handed to the chunker */
    uint64_t zero_bytes;      /* of them: became holes */
    uint64_t duplicate_bytes; /* of them: were in the store before */
    uint64_t verified_bytes;  /* duplicates compared byte by byte */
    uint64_t filter_probes;
    uint64_t filter_negatives;
    uint64_t filter_false_positives;
    uint64_t locality_hits;
    uint64_t index_lookups;
    uint64_t refolded_bytes; /* cut again in the background */
};

struct fold_stats {
    uint8_t uuid[16];
    uint64_t files;
    uint64_t directories;
    uint64_t logical_bytes; /* bytes of all files that are not holes */
    uint64_t unique_bytes;  /* raw bytes of distinct chunks */
    uint64_t stored_bytes;  /* the same after compression and framing */
    uint64_t segment_bytes; /* on the host */
    uint64_t catalog_bytes; /* on the host, fingerprint index included */
    uint64_t garbage_bytes; /* stored bytes that the last collection found unreferenced */
    uint64_t chunks;
    uint64_t segments;
    uint64_t open_segments;
    uint64_t damaged_chunks; /* found since the volume was opened */
    uint64_t healed_chunks;
    bool mounted;
    const char *transport;    /* "uring" or "device", NULL where nothing is mounted */
    const char *kernel_level; /* static storage */
    struct fold_stats_ingest ingest;
    struct fold_kernel_count kernel[FOLD_KERNELS]; /* calls in this process */
};

/* Fills everything that the open volume and the process know; `ingest` is zeroed and `mounted`
 * false. */
void fold_stats_from_volume(struct fold_volume *v, struct fold_stats *out);

/* What a collection did, as an object; NULL if memory is short. */
json_t *fold_stats_gc_json(const struct fold_collect_result *r);

/* {"rows": [n objects], "total": object} of what files take; NULL if memory is short. */
json_t *fold_stats_usage_json(const struct fold_usage *rows, size_t n,
                              const struct fold_usage *total);

/* A new object with all keys, ratios included; NULL if memory is short. */
json_t *fold_stats_to_json(const struct fold_stats *s);

/* A uuid as people write it, with its terminator. */
#define FOLD_UUID_TEXT 37
void fold_stats_uuid(const uint8_t uuid[16], char out[FOLD_UUID_TEXT]);

#endif
