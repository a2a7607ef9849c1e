/* SPDX-License-Identifier: MIT */
/*
 * Which requests make the store larger, and by how much at most.
 */
#ifndef FOLD_FS_GROWTH_H
#define FOLD_FS_GROWTH_H

#include "meta/base/attr.h"

/* Bytes that the request of the kernel at mem[0..len), a header at least, needs to be admitted; 0
 * if it needs none, or admits itself. */
uint64_t fold_growth_of(const uint8_t *mem, size_t len);

/* What sharing so many bytes with another file may cost in the catalog: an extent for each chunk,
 * with room for journal and compaction. */
uint64_t fold_growth_of_copy(uint64_t len);

#endif
