/* SPDX-License-Identifier: MIT */
/*
 * Zero runs in plain C, and the choice of version.
 */
#include "asm/zero.h"

#include <string.h>

static uint64_t load8(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

size_t fold_zero_run_c(const void *data, size_t len)
{
    const uint8_t *p = data;
    size_t i = 0;
    for (; len - i >= 64; i += 64) {
        uint64_t any = 0;
        for (size_t j = 0; j < 64; j += 8)
            any |= load8(p + i + j);
        if (any != 0)
            break;
    }
    while (i < len && p[i] == 0)
        i++;
    return i;
}

size_t fold_data_run_c(const void *data, size_t len, size_t block)
{
    const uint8_t *p = data;
    for (size_t i = 0; len - i >= block; i += block)
        if (fold_zero_run_c(p + i, block) == block)
            return i;
    return len;
}

#if FOLD_ASM

size_t fold_zero_run_sse42(const void *data, size_t len);
size_t fold_zero_run_avx2(const void *data, size_t len);
size_t fold_zero_run_avx512(const void *data, size_t len);
size_t fold_data_run_sse42(const void *data, size_t len, size_t block);
size_t fold_data_run_avx2(const void *data, size_t len, size_t block);
size_t fold_data_run_avx512(const void *data, size_t len, size_t block);

void fold_zero_select(unsigned flags, struct fold_kernels *out)
{
    size_t (*const zero_run[FOLD_LEVELS])(const void *, size_t) = {
        fold_zero_run_c, fold_zero_run_sse42, fold_zero_run_avx2, fold_zero_run_avx512};
    size_t (*const data_run[FOLD_LEVELS])(const void *, size_t, size_t) = {
        fold_data_run_c, fold_data_run_sse42, fold_data_run_avx2, fold_data_run_avx512};
    enum fold_level level = fold_cpu_level(flags);
    out->zero_run = zero_run[level];
    out->data_run = data_run[level];
    out->chosen[FOLD_KERNEL_ZERO] = level;
}

#else

void fold_zero_select(unsigned flags, struct fold_kernels *out)
{
    (void)flags;
    out->zero_run = fold_zero_run_c;
    out->data_run = fold_data_run_c;
}

#endif
