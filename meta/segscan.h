/* SPDX-License-Identifier: MIT */
/*
 * Reading a segment file from scratch: its footer and table if it was sealed, or all of its records
 * one by one.
 */
#ifndef FOLD_META_SEGSCAN_H
#define FOLD_META_SEGSCAN_H

#include "meta/segment.h"

struct fold_map;

/*
 * Reads identity and footer. 0 and both set if the file is sealed; 1 and only *id set if it is not
 * (or its footer is damaged or unreadable); -FOLD_E_BAD_SEGMENT if there is no identity either,
 * -errno if it cannot be read.
 */
int fold_segscan_footer(int fd, uint32_t seg, struct fold_seg_ident *id,
                        struct fold_seg_summary *sum) FOLD_MUST;

/*
 * Of a file without identity: 1 if its header was never written, as after a power cut soon after
 * its creation. The header is synced before anything in the segment counts, so nothing does then.
 * 0, -errno.
 */
int fold_segscan_unbegun(int fd) FOLD_MUST;

/* Reads the table of a sealed segment into malloc'd memory. -FOLD_E_BAD_SEGMENT, -ENOMEM, -EIO. */
int fold_segscan_table(int fd, const struct fold_seg_summary *sum,
                       struct fold_seg_entry **out) FOLD_MUST;

/* The same from a mapping of the segment, guarded. */
int fold_segscan_mapped_table(const struct fold_map *map, const struct fold_seg *seg,
                              struct fold_seg_entry **out, uint32_t *count) FOLD_MUST;

/*
 * Walks the records of a file that has no footer, checking every payload. Records behind damaged
 * places are found again; what follows the last whole record is left out (data_end lies before it).
 * Entries include damaged records whose header is whole, so that the same content, when it comes
 * again, meets and heals them. whole_end: the first damage that is not known to be rot of durable
 * bytes. Places that the disk refuses to read count as rot and cost the records in them. *clean: no
 * damage and nothing left over. The caller frees content->entries. -ENOMEM, -errno of the mapping.
 */
int fold_segscan_records(int fd, const struct fold_seg_ident *id,
                         struct fold_segment_content *content, bool *clean) FOLD_MUST;

#endif
