/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a segment file around its records: header, fingerprint table, footer; and the
 * summary of a sealed segment that the index keeps. Pure encoding and checking, no I/O.
 * docs/FORMAT.md has every byte.
 */
#ifndef FOLD_META_SEGFMT_H
#define FOLD_META_SEGFMT_H

#include "meta/types.h"

#define FOLD_SEG_HEADER_BYTES  4096u /* the first record starts here */
#define FOLD_SEG_ENTRY_BYTES   24u
#define FOLD_SEG_FOOTER_BYTES  64u
#define FOLD_SEG_SUMMARY_BYTES 60u
#define FOLD_SEG_ALIGN         16u /* of records, table and footer */
#define FOLD_SEG_DEFAULT_BYTES (64u << 20)
#define FOLD_SEG_MIN_BYTES     (64u << 10)
#define FOLD_SEG_MAX_BYTES     (1u << 30)

/* Longest name of a file in segments/, with the terminating zero. */
#define FOLD_SEG_NAME_BYTES 16

/* Who a segment is. `salt` is random and enters every checksum, so that bytes of one segment never
 * pass in another. */
struct fold_seg_ident {
    uint32_t seg;
    uint8_t fp_width; /* 16 or 32 */
    uint64_t salt;
    uint32_t capacity; /* the file never grows beyond this */
};

/* One line of the table of a sealed segment: first 16 bytes of the fingerprint, record offset, raw
 * length. */
struct fold_seg_entry {
    uint64_t w[2];
    uint32_t off;
    uint32_t raw_len;
};

/* What the footer says. The table lies at data_end, the footer right behind it. */
struct fold_seg_footer {
    uint32_t data_end;
    uint32_t whole_end; /* at most data_end: where the first damage not known to be rot was found */
    uint32_t count;
    uint64_t raw_bytes;
    uint64_t stored_bytes; /* records with framing */
    uint32_t table_crc;
};

/* What opening a volume needs to know of a sealed segment. */
struct fold_seg_summary {
    struct fold_seg_ident ident;
    uint32_t file_bytes;
    uint32_t data_end;
    uint32_t whole_end;
    uint32_t count;
    uint64_t raw_bytes;
    uint64_t stored_bytes;
};

/* "0000002a.seg" and back. parse: 0 if the name is not one of a segment file. */
void fold_seg_name(uint32_t seg, char name[FOLD_SEG_NAME_BYTES]);
uint32_t fold_seg_name_parse(const char *name);

/* The same for the files beside it, "0000002a.gap"; `suffix` is the four characters from the dot.
 */
void fold_seg_file_name(uint32_t seg, const char *suffix, char name[FOLD_SEG_NAME_BYTES]);
uint32_t fold_seg_file_parse(const char *name, const char *suffix);

/* Two copies of the identity, each with its checksum. */
void fold_seg_header_encode(const struct fold_seg_ident *id, uint8_t out[FOLD_SEG_HEADER_BYTES]);

/* 0 if one copy is whole and names segment `seg`; -FOLD_E_BAD_SEGMENT. */
int fold_seg_header_decode(const uint8_t in[FOLD_SEG_HEADER_BYTES], uint32_t seg,
                           struct fold_seg_ident *out) FOLD_MUST;

/* Bytes of a sealed file with that much data and that many table entries. */
static inline uint64_t fold_seg_sealed_bytes(uint32_t data_end, uint32_t count)
{
    return (uint64_t)data_end + (uint64_t)count * FOLD_SEG_ENTRY_BYTES + FOLD_SEG_FOOTER_BYTES;
}

/* Encodes table and footer into `out` of fold_seg_sealed_bytes(...) - data_end bytes; sets
 * footer->table_crc. */
void fold_seg_tail_encode(const struct fold_seg_ident *id, struct fold_seg_footer *footer,
                          const struct fold_seg_entry *entries, uint8_t *out);

/* Checks the last FOLD_SEG_FOOTER_BYTES of a file of `file_bytes` bytes. -FOLD_E_BAD_SEGMENT if
 * they are no footer. */
int fold_seg_footer_decode(const uint8_t in[FOLD_SEG_FOOTER_BYTES], uint32_t seg,
                           uint64_t file_bytes, struct fold_seg_ident *id,
                           struct fold_seg_footer *out) FOLD_MUST;

/* Decodes footer->count entries from the table bytes. -FOLD_E_BAD_SEGMENT if they are damaged. */
int fold_seg_table_decode(const uint8_t *in, const struct fold_seg_footer *footer,
                          struct fold_seg_entry *out) FOLD_MUST;

void fold_seg_summary_encode(const struct fold_seg_summary *s, uint8_t out[FOLD_SEG_SUMMARY_BYTES]);
int fold_seg_summary_decode(const uint8_t *in, size_t len, struct fold_seg_summary *out) FOLD_MUST;

#endif
