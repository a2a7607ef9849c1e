/* SPDX-License-Identifier: MIT */
/*
 * The candidate scan in plain C, and the choice of version. Positions are evaluated in blocks,
 * words at even and at odd offsets apart, in loops that a compiler turns into whatever vectors the
 * target has.
 */
#include "asm/cdc.h"

#include <string.h>

#define BLOCK 256 /* positions evaluated at once */
#define WORDS (BLOCK / 2)
#define PAST  14 /* words of history behind the first word of a block's oldest f */

static uint16_t word(const uint8_t *data, size_t i)
{
    return (uint16_t)(data[i - 2] | data[i - 1] << 8);
}

static unsigned form4(const uint8_t *data, size_t i)
{
    return word(data, i) + (unsigned)FOLD_CDC_A * word(data, i - 2);
}

static unsigned form8(const uint8_t *data, size_t i)
{
    return form4(data, i) + FOLD_CDC_B * form4(data, i - 4);
}

static unsigned form16(const uint8_t *data, size_t i)
{
    return form8(data, i) + FOLD_CDC_C * form8(data, i - 8);
}

int16_t fold_cdc_form(const uint8_t *data, size_t i)
{
    return (int16_t)(uint16_t)(form16(data, i) + FOLD_CDC_D * form16(data, i - 16));
}

/* Whether one of the positions p, p+2, ... p+BLOCK-2 is a candidate. Word j of each array ends at p
 * + 2 (j - 14). */
static int block_has(const uint8_t *data, size_t p, int16_t form)
{
    uint16_t w[PAST + WORDS + 1];
    uint16_t v[PAST + WORDS];
    memcpy(w, data + p - 2 * (PAST + 1) - 2, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (size_t j = 0; j < PAST + WORDS + 1; j++)
        w[j] = __builtin_bswap16(w[j]);
#endif
    for (size_t j = 0; j < PAST + WORDS; j++)
        v[j] = (uint16_t)(w[j + 1] + (unsigned)FOLD_CDC_A * w[j]);
    for (size_t j = 0; j < PAST + WORDS - 2; j++)
        w[j] = (uint16_t)(v[j + 2] + (unsigned)FOLD_CDC_B * v[j]);
    for (size_t j = 0; j < PAST + WORDS - 6; j++)
        v[j] = (uint16_t)(w[j + 4] + (unsigned)FOLD_CDC_C * w[j]);
    int16_t any = 0;
    for (size_t j = 0; j < WORDS; j++) {
        int16_t e = (int16_t)(uint16_t)(v[j + 8] + (unsigned)FOLD_CDC_D * v[j]);
        any |= (int16_t) - (e > form);
    }
    return any;
}

size_t fold_cdc_scan_c(const uint8_t *data, size_t from, size_t to, int32_t form)
{
    while (from < to) {
        /* The last block ends at `to` and may begin before `from`. */
        size_t p = to - from < BLOCK ? to - BLOCK : from;
        if (block_has(data, p, (int16_t)form) || block_has(data, p + 1, (int16_t)form)) {
            for (size_t i = from; i < p + BLOCK; i++)
                if (fold_cdc_form(data, i) > form)
                    return i;
        }
        from = p + BLOCK;
    }
    return to;
}

#if FOLD_ASM

size_t fold_cdc_scan_sse42(const uint8_t *data, size_t from, size_t to, int32_t form);
size_t fold_cdc_scan_avx2(const uint8_t *data, size_t from, size_t to, int32_t form);
size_t fold_cdc_scan_avx512(const uint8_t *data, size_t from, size_t to, int32_t form);

void fold_cdc_select(unsigned flags, struct fold_kernels *out)
{
    size_t (*const scan[FOLD_LEVELS])(const uint8_t *, size_t, size_t, int32_t) = {
        fold_cdc_scan_c, fold_cdc_scan_sse42, fold_cdc_scan_avx2, fold_cdc_scan_avx512};
    enum fold_level level = fold_cpu_level(flags);
    out->cdc_scan = scan[level];
    out->chosen[FOLD_KERNEL_CDC] = level;
}

#else

void fold_cdc_select(unsigned flags, struct fold_kernels *out)
{
    (void)flags;
    out->cdc_scan = fold_cdc_scan_c;
}

#endif
