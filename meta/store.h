/* SPDX-License-Identifier: MIT */
/*
 * The public door of data: chunks go in, locations come out, and the other way round. Owns the
 * segment files, their mappings, the fingerprint index and the locality cache. Thread-safe.
 *
 * Durability: a put chunk is in the page cache of the host when put returns (it survives the death
 * of the process) and on stable storage when a later fold_store_sync returns. What is not yet on
 * stable storage is named by fold_store_deps.
 */
#ifndef FOLD_META_STORE_H
#define FOLD_META_STORE_H

#include "meta/types.h"

struct fold_shadow;
struct fold_store;

enum fold_codec { FOLD_CODEC_NONE = 0, FOLD_CODEC_LZ4 = 1, FOLD_CODEC_ZSTD = 2 };

/* When the checksum of a chunk read from a mapping is verified. FIRST: unless it was within the
 * last minute, about. */
enum fold_verify { FOLD_VERIFY_FIRST = 0, FOLD_VERIFY_ALWAYS = 1, FOLD_VERIFY_NONE = 2 };

struct fold_store_options {
    uint32_t segment_bytes; /* size at which a segment is sealed; 0 = 64 MiB */
    uint32_t fp_width;      /* 16 or 32, as fold_hasher_width */
    enum fold_codec codec;  /* for new chunks */
    int codec_level;        /* 0 = the codec's default */
    enum fold_verify verify;
    uint64_t index_cache_bytes;    /* RocksDB cache of the index; 0 = 64 MiB */
    uint64_t locality_cache_bytes; /* fingerprint lists of recent segments; 0 = 64 MiB */
    bool read_only;
    /* Read-only: what stands for segments/, must live as long; NULL = none. Its directory is
     * needed until the store is open. */
    const struct fold_shadow *overlay;
    unsigned appenders; /* segments open for appending at once; 0 = 2 */
};

/* "Everything below `end` bytes of segment `seg` is needed." */
struct fold_dep {
    uint32_t seg;
    uint32_t end;
};

#define FOLD_STORE_MAX_DEPS 32

/* Creates segments/ and index/ in an empty store directory. */
int fold_store_format(int storefd) FOLD_MUST;

/*
 * Opens the blob area below `storefd` (not kept). Sealed segments are known by their footer; others
 * are scanned: a torn tail is cut at the last whole record, the records before it enter the open
 * table. -FOLD_E_BAD_SEGMENT, -errno.
 */
int fold_store_open(int storefd, const struct fold_store_options *opt,
                    struct fold_store **out) FOLD_MUST;

/* Seals open segments if `clean`, closes everything. NULL is fine. Returns the first error of
 * sealing. */
int fold_store_close(struct fold_store *s, bool clean);

struct fold_put {
    const void *data; /* raw bytes, owned by the caller until return */
    uint32_t len;     /* 1 .. 4 MiB */
    struct fold_fp fp;
    bool force; /* in: store it even if the fingerprint is known (content differs: a collision), and
                 * leave the known entry in the open table and the index as it is */
    struct fold_loc loc; /* out */
    bool found; /* out: another thread stored it in the meantime (found by fingerprint in the open
                   table) */
};

/*
 * Stores n chunks: compresses what pays, frames, appends in few system calls, and enters them in
 * the open table. All or nothing towards the caller: on -ENOSPC, -EIO, ... no `loc` may be used
 * (what was written is garbage). -FOLD_E_SICK after a failed sync. With `found` set the stored
 * bytes were compared and are equal.
 */
int fold_store_put(struct fold_store *s, struct fold_put *puts, size_t n) FOLD_MUST;

enum fold_hit { FOLD_HIT_NONE, FOLD_HIT_OPEN, FOLD_HIT_LOCALITY, FOLD_HIT_INDEX };

/*
 * Looks n fingerprints up: open table, then locality cache, then (only where `ask_index`) the
 * index; an index hit loads the segment's fingerprint list into the locality cache. `hits[i]` says
 * where locs[i] came from.
 */
int fold_store_find(struct fold_store *s, const struct fold_fp *const *fps, size_t n,
                    bool ask_index, struct fold_loc *locs, enum fold_hit *hits) FOLD_MUST;

/* A pinned chunk. `payload` points into a read-only mapping of the segment (may fault: see
 * fold_guard). */
struct fold_view {
    const uint8_t *payload;
    uint32_t stored_len;
    uint32_t raw_len;
    uint8_t codec;
    struct fold_loc loc;
    struct fold_fp fp;
    void *pin;
};

/*
 * Pins the chunk at `loc` (forwarding resolved), header checked, payload verified as the option
 * says. -FOLD_E_BAD_RECORD (logged with segment, offset and fingerprint), -FOLD_E_LOST_CHUNK, -EIO.
 */
int fold_store_view(struct fold_store *s, struct fold_loc loc, struct fold_view *out) FOLD_MUST;
void fold_store_unview(struct fold_store *s, struct fold_view *v);

/* One more / one less pin on the same mapping. */
void fold_store_view_dup(struct fold_store *s, const struct fold_view *v, struct fold_view *out);

/* Writes raw_len raw bytes of the viewed chunk to `dst`. -FOLD_E_BAD_RECORD, -EIO (fault in the
 * mapping). */
int fold_store_decode(struct fold_store *s, const struct fold_view *v, void *dst) FOLD_MUST;

/*
 * Byte-compares `data` with the chunk at `loc`. 0 and *equal set; -FOLD_E_BAD_RECORD if the stored
 * chunk is damaged.
 */
int fold_store_compare(struct fold_store *s, struct fold_loc loc, const void *data, uint32_t len,
                       bool *equal) FOLD_MUST;

/* A chunk at hand that may be a stored one. */
struct fold_match {
    struct fold_loc loc;
    const void *data; /* owned by the caller until return */
    uint32_t len;
    int rc;     /* out: as fold_store_compare returns */
    bool equal; /* out: false unless rc is 0 */
};

/* fold_store_compare for n chunks, each with an outcome of its own, in one pass over memory. */
void fold_store_compare_batch(struct fold_store *s, struct fold_match *m, size_t n);

/*
 * Healing: the caller holds good bytes of the damaged chunk at `loc` (fingerprint matches): stores
 * them anew and makes every reference to `loc` read the new record. Logged. -EEXIST: the damaged
 * chunk was another one with this fingerprint, nothing was done. 0 or -errno.
 */
int fold_store_heal(struct fold_store *s, struct fold_loc loc, const void *data, uint32_t len,
                    const struct fold_fp *fp) FOLD_MUST;

/* Where the chunk named by `loc` is now, after healing and collecting. */
struct fold_loc fold_store_where(struct fold_store *s, struct fold_loc loc);

/* Brings [loc, loc+bytes) of the segment into memory. May wait for the disk; failing is no harm. */
void fold_store_prefetch(struct fold_store *s, struct fold_loc loc, uint32_t bytes);

/* Makes everything put so far durable. Concurrent calls share the work. */
int fold_store_sync(struct fold_store *s) FOLD_MUST;

/* As fold_barrier_unlogged and fold_barrier_logged (meta/barrier.h), for the catalog's journal. */
int fold_store_unlogged(struct fold_store *s, void *buf, size_t cap, size_t *len,
                        struct fold_dep marks[FOLD_STORE_MAX_DEPS], size_t *count) FOLD_MUST;
void fold_store_logged(struct fold_store *s, const struct fold_dep *marks, size_t count);

/*
 * Names what was put before the call and is not durable; if it is more than can be named it is made
 * durable instead. On success everything put before the call is durable or named. The error of that
 * sync, with which nothing may be committed that needs what was put.
 */
int fold_store_deps(struct fold_store *s, struct fold_dep deps[FOLD_STORE_MAX_DEPS],
                    size_t *count) FOLD_MUST;

/* True if all bytes the dependency names are present and whole (used at journal replay). */
bool fold_store_holds(struct fold_store *s, struct fold_dep dep);

/* Calls `fn` for each fingerprint known (index, then open tables); a negative return stops and is
 * returned. */
typedef int (*fold_store_fp_fn)(void *arg, const struct fold_fp *fp, struct fold_loc loc);
int fold_store_each(struct fold_store *s, fold_store_fp_fn fn, void *arg) FOLD_MUST;

struct fold_store_info {
    uint64_t chunks;        /* records in all segments, garbage included */
    uint64_t raw_bytes;     /* their raw length */
    uint64_t stored_bytes;  /* their length with framing */
    uint64_t segment_bytes; /* what the segment files occupy on the host */
    uint64_t index_bytes;   /* what the index occupies on the host */
    uint32_t segments;
    uint32_t open_segments;
    uint64_t damaged; /* chunks found damaged since open */
    uint64_t healed;
    uint64_t garbage_bytes; /* stored bytes that the last collection found dead and left in place */
};
void fold_store_info(struct fold_store *s, struct fold_store_info *out);

/*
 * Names the set of stored chunks: differs whenever the set differs, and is the same again after
 * reopening, also when segments were sealed and indexed in between. Stamp for the saved filter.
 */
uint64_t fold_store_stamp(struct fold_store *s);

#endif
