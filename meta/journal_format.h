/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a journal file: header, record heads, and reading all files back in order. Used by
 * the journal only.
 *
 * File header (64 bytes, little-endian): magic "FOLDJRNL", u32 version, u32 file number, salt[16],
 * zeros, u32 crc32c of the 60 bytes before. Record: u32 magic, u32 crc32c of what follows
 * (continuing from the checksum of the file header), u32 length of the whole record, u16 length of
 * the note, u16 number of deps, u64 lsn, deps (u32 segment, u32 end), note, data.
 */
#ifndef FOLD_META_JOURNAL_FORMAT_H
#define FOLD_META_JOURNAL_FORMAT_H

#include "meta/journal.h"

#define FOLD_JOURNAL_SALT_BYTES   16
#define FOLD_JOURNAL_HEADER_BYTES 64
#define FOLD_JOURNAL_MAGIC_BYTES  4
#define FOLD_JOURNAL_FIXED_BYTES  24
#define FOLD_JOURNAL_HEAD_MAX                                                                      \
    (FOLD_JOURNAL_FIXED_BYTES + 8 * FOLD_STORE_MAX_DEPS + FOLD_JOURNAL_NOTE_MAX)
#define FOLD_JOURNAL_RECORD_MAX (1u << 30)
#define FOLD_JOURNAL_NAME_BYTES 24

void fold_journal_file_name(uint32_t number, char name[FOLD_JOURNAL_NAME_BYTES]);

/* Returns the seed of the checksums of the file's records. */
uint32_t fold_journal_header_write(uint8_t out[FOLD_JOURNAL_HEADER_BYTES], uint32_t number,
                                   const uint8_t salt[FOLD_JOURNAL_SALT_BYTES]);

/* Everything of the record before its data. Returns its length, 0 if the record is too large. */
size_t fold_journal_head_write(uint8_t out[FOLD_JOURNAL_HEAD_MAX], uint32_t seed,
                               const struct fold_journal_record *rec);

/* Numbers of the files in rising order, malloc'd. */
int fold_journal_list(int dirfd, uint32_t **numbers, size_t *count) FOLD_MUST;

/* A file as replay found it. */
struct fold_journal_found {
    uint32_t number;
    uint64_t bytes; /* of its records that were taken; 0: nothing in it is needed */
    uint64_t
        cut_at; /* where the first record that must never come back begins; 0 if there is none */
};

/* *files is malloc'd, in rising order of numbers. */
int fold_journal_read_all(int dirfd, fold_journal_fn fn, void *arg, struct fold_journal_replay *out,
                          struct fold_journal_found **files, size_t *nfiles) FOLD_MUST;

#endif
