/* SPDX-License-Identifier: MIT */
/* The superblock: whatever is accepted is sane, and encodes to something that is accepted as the
 * same. */
#include "meta/superblock.h"
#include "tests/fuzz/target.h"

static void decode(const uint8_t *data, size_t size)
{
    struct fold_volume_params p, again;
    uint8_t out[FOLD_SUPERBLOCK_BYTES];
    if (fold_superblock_decode(data, size, &p) < 0)
        return;
    FOLD_HOLDS(p.chunk_size > 0 && p.hash >= 1 && p.hash <= 2);
    fold_superblock_encode(out, &p);
    FOLD_HOLDS(fold_superblock_decode(out, sizeof out, &again) == 0);
    FOLD_HOLDS(again.chunk_size == p.chunk_size && memcmp(again.uuid, p.uuid, sizeof p.uuid) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fold_fuzz_copy(data, size);
    decode(copy, size);
    if (size >= 4) {
        fold_fuzz_seal(copy + size - 4, fold_kernels()->crc32c(0, copy, size - 4));
        decode(copy, size);
    }
    free(copy);
    return 0;
}
