/* SPDX-License-Identifier: MIT */
/*
 * Small files with a checksum, written and read as a whole: u64 magic, u32 number, content, CRC-32C
 * of all before. The number is that of the segment they are about. No locks: two writers of one
 * name must not meet.
 */
#ifndef FOLD_META_SMALLFILE_H
#define FOLD_META_SMALLFILE_H

#include "meta/base/bytes.h"

/* Bytes of a file with that much content. */
#define FOLD_SMALLFILE_BYTES(content) (16u + (size_t)(content))

/* Begins a file in `buf`, which stays the caller's; `len` bytes, FOLD_SMALLFILE_BYTES of what is
 * going to be written to the cursor. */
struct fold_wr fold_smallfile_begin(void *buf, size_t len, uint64_t magic, uint32_t number);

/* Ends the file and replaces `name` by it, atomically and durably. Errors of fold_io_replace. */
int fold_smallfile_replace(struct fold_wr *w, int dirfd, const char *name) FOLD_MUST;

/*
 * Reads a file of at most `max` bytes: *data is malloc'd, the caller frees it, *content a cursor in
 * it over exactly the content. -FOLD_E_BAD_SEGMENT if the file is damaged or has another magic,
 * -EFBIG, -ENOENT, -ENOMEM, -errno; there is nothing to free then.
 */
int fold_smallfile_load(int dirfd, const char *name, size_t max, uint64_t magic, void **data,
                        uint32_t *number, struct fold_rd *content) FOLD_MUST;

#endif
