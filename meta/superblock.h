/* SPDX-License-Identifier: MIT */
/*
 * The superblock: the bytes of the files `volume` and `volume.bak`. Pure encoding and checking, and
 * the two copies on disk.
 *
 * 512 bytes, little-endian: magic "FOLDVOL\n", u32 format version, u32 length (512), u64 features
 * that must be understood, u64 features that may be ignored, uuid[16], u8 chunker, u8 hash, u8
 * codec, u8 0, u32 chunk size, secret[192], zeros, u32 crc32c of everything before. Magic, version,
 * length and the checksum at the end keep their places in all versions.
 */
#ifndef FOLD_META_SUPERBLOCK_H
#define FOLD_META_SUPERBLOCK_H

#include "meta/volume.h"

#define FOLD_SUPERBLOCK_BYTES   512
#define FOLD_SUPERBLOCK_VERSION 1
#define FOLD_FEATURES_KNOWN     FOLD_FEATURE_DIRHASH2

void fold_superblock_encode(uint8_t out[FOLD_SUPERBLOCK_BYTES], const struct fold_volume_params *p);

/* -FOLD_E_BAD_SUPERBLOCK, -FOLD_E_NEWER_FORMAT, -FOLD_E_UNKNOWN_FEATURE. */
int fold_superblock_decode(const void *data, size_t len, struct fold_volume_params *out) FOLD_MUST;

/* Writes both copies durably. */
int fold_superblock_write(int storefd, const struct fold_volume_params *p) FOLD_MUST;

/*
 * Reads the copy that is good. -FOLD_E_NOT_A_STORE if there is none at all. With `repair`, a
 * damaged or missing copy is written again from the good one.
 */
int fold_superblock_read(int storefd, bool repair, struct fold_volume_params *out) FOLD_MUST;

#endif
