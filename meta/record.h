/* SPDX-License-Identifier: MIT */
/*
 * The framing of one chunk in a segment: a header that says what follows, the payload, zeros up to
 * the next multiple of
 * 16. Pure encoding and checking, no I/O. The header's checksum covers the segment's salt and the
 * record's place as well, so a header is only valid where it was written.
 */
#ifndef FOLD_META_RECORD_H
#define FOLD_META_RECORD_H

#include "meta/segfmt.h"

#define FOLD_CHUNK_MAX_BYTES (4u << 20)
#define FOLD_REC_MAX_HEADER  64u

struct fold_rec {
    uint8_t codec;
    uint32_t dict; /* dictionary the codec needs; 0 = none */
    uint32_t raw_len;
    uint32_t stored_len;
    uint32_t
        synced; /* bytes of the segment known to be on stable storage when the record was written */
    uint32_t payload_crc;
    struct fold_fp fp;
};

static inline uint32_t fold_rec_header_bytes(uint8_t fp_width)
{
    return 32u + fp_width;
}

/* Bytes from the start of a record to the start of the next. stored_len at most
 * FOLD_CHUNK_MAX_BYTES. */
static inline uint32_t fold_rec_bytes(uint8_t fp_width, uint32_t stored_len)
{
    return (fold_rec_header_bytes(fp_width) + stored_len + FOLD_SEG_ALIGN - 1) &
           ~(FOLD_SEG_ALIGN - 1);
}

/* Writes fold_rec_header_bytes(id->fp_width) bytes of header for a record at offset `off`. */
void fold_rec_encode(const struct fold_seg_ident *id, uint32_t off, const struct fold_rec *rec,
                     uint8_t *out);

/*
 * Checks a header of fold_rec_header_bytes(id->fp_width) bytes that claims to lie at `off` of a
 * segment whose data ends at `end`: the record lies inside. -FOLD_E_BAD_RECORD.
 */
int fold_rec_decode(const struct fold_seg_ident *id, uint32_t off, uint32_t end, const uint8_t *in,
                    struct fold_rec *out) FOLD_MUST;

/* True if the four bytes look like the start of a record: the cheap test before fold_rec_decode
 * when searching. */
bool fold_rec_magic(const uint8_t in[4]);

uint32_t fold_rec_payload_crc(const void *payload, size_t len);

/* The same of bytes in the mapping of a file. -EIO if they cannot be read. */
int fold_rec_payload_read(const void *payload, size_t len, uint32_t *crc) FOLD_MUST;

#endif
