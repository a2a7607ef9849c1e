/* SPDX-License-Identifier: MIT */
/*
 * CRC-32 in plain C (slicing by 8), its combination, and the choice of version.
 */
#include "asm/crc32.h"

#include "asm/crcpoly.h"
#include "crc_tables.h"

uint32_t fold_crc32_c(uint32_t crc, const void *data, size_t len)
{
    return ~fold_crcpoly_slice(fold_crc32_table, ~crc, data, len);
}

uint32_t fold_crc32_combine(uint32_t crc1, uint32_t crc2, uint64_t len2)
{
    return fold_crcpoly_combine(FOLD_CRC32_POLY, crc1, crc2, len2);
}

/* Without the inversions, zeros only multiply the state by a power of x. */
uint32_t fold_crc32_zeros(uint32_t crc, uint64_t len)
{
    return ~fold_crcpoly_combine(FOLD_CRC32_POLY, ~crc, 0, len);
}

#if FOLD_ASM

uint32_t fold_crc32_sse42(uint32_t crc, const void *data, size_t len);
uint32_t fold_crc32_avx2(uint32_t crc, const void *data, size_t len);
uint32_t fold_crc32_avx512(uint32_t crc, const void *data, size_t len);

void fold_crc32_select(unsigned flags, struct fold_kernels *out)
{
    uint32_t (*const crc[FOLD_LEVELS])(uint32_t, const void *, size_t) = {
        fold_crc32_c, fold_crc32_sse42, fold_crc32_avx2, fold_crc32_avx512};
    enum fold_level level = fold_cpu_level(flags);
    /* AVX2 alone brings no wider multiplication. */
    if (level == FOLD_LEVEL_AVX2 && !(flags & FOLD_CPU_VPCLMUL))
        level = FOLD_LEVEL_SSE42;
    out->crc32 = crc[level];
    out->chosen[FOLD_KERNEL_CRC32] = level;
}

#else

void fold_crc32_select(unsigned flags, struct fold_kernels *out)
{
    (void)flags;
    out->crc32 = fold_crc32_c;
}

#endif
