/* SPDX-License-Identifier: MIT */
/*
 * A store directory as a whole: mkfs, opening with lock and superblock checks, closing. Holds the
 * store (blob area) and the catalog together.
 */
#ifndef FOLD_META_VOLUME_H
#define FOLD_META_VOLUME_H

#include "meta/catalog.h"
#include "meta/store.h"

#define FOLD_VOLUME_SECRET_BYTES 192

/* Features that must be understood. */
#define FOLD_FEATURE_DIRHASH2 1u /* names are hashed with a secret key (meta/namehash.h) */
/* What mkfs gives new stores. */
#define FOLD_FEATURES_NEW FOLD_FEATURE_DIRHASH2

/* What mkfs fixed. Enumerators of chunker and hash are those of chunker/cutter.h and
 * hashing/fingerprint.h as numbers. */
struct fold_volume_params {
    uint8_t uuid[16];
    uint8_t chunker;     /* 1 content-defined, 2 fixed */
    uint8_t hash;        /* 1 XXH3-128, 2 SHA-256 */
    uint8_t codec;       /* enum fold_codec, default for new chunks */
    uint32_t chunk_size; /* bytes */
    uint64_t features;   /* FOLD_FEATURE_*; unknown bits refuse the mount */
    uint8_t secret[FOLD_VOLUME_SECRET_BYTES];
};

/* In a store: mkfs died when all was done but the first copy of the superblock. */
#define FOLD_VOLUME_BEGUN "mkfs.begun"

struct fold_volume {
    struct fold_volume_params params; /* fixed after open */
    struct fold_store *store;
    struct fold_catalog *catalog;
    struct fold_shadow *overlay; /* read-only: stands for segments/; NULL if not needed */
    int fd;                      /* the store directory */
    int lockfd;                  /* holds the lock */
    bool read_only;
};

struct fold_volume_options {
    struct fold_store_options store;
    struct fold_catalog_options catalog;
    bool read_only; /* takes a shared lock; the store is not changed at all */
};

/*
 * Creates a store in `path` (made if missing, mode 0700; must be empty). uuid and secret are drawn
 * here. Everything is durable on return; a failed mkfs leaves no half store behind.
 * -FOLD_E_STORE_EXISTS, -errno.
 */
int fold_volume_format(const char *path, const struct fold_volume_params *wanted) FOLD_MUST;

/*
 * Opens a store. -FOLD_E_NOT_A_STORE, -FOLD_E_NEWER_FORMAT, -FOLD_E_UNKNOWN_FEATURE,
 * -FOLD_E_LOCKED, -FOLD_E_BAD_SUPERBLOCK, ... The superblock is kept twice (volume, volume.bak) so
 * that one damaged copy is survived.
 */
int fold_volume_open(const char *path, const struct fold_volume_options *opt,
                     struct fold_volume **out) FOLD_MUST;

/* Reads and checks the superblock only; no lock. */
int fold_volume_probe(const char *path, struct fold_volume_params *out) FOLD_MUST;

/* Closes store and catalog, and keeps the lock until fold_volume_close: nothing is left to be done
 * to the store then. `clean` as there; the first error. */
int fold_volume_settle(struct fold_volume *v, bool clean);

/* `clean`: everything is made durable first; the first error is returned, and the volume is closed
 * in every case. */
int fold_volume_close(struct fold_volume *v, bool clean);

#endif
