/* SPDX-License-Identifier: MIT */
/*
 * The candidate scan in plain C, and the choice of version. Positions are evaluated in blocks, words at even and at
 * odd offsets apart, in loops that a compiler turns into whatever vectors the target has.
 */
#include "asm/cdc.h"

#include <string.h>

#define BLOCK   256           /* positions evaluated at once */
#define HISTORY 192           /* bytes before the block that its words reach back, without f's own 4 */
#define WORDS   (BLOCK / 2)
#define PAST    (HISTORY / 2) /* words of history */

static uint16_t word(const uint8_t *data, size_t i)
{
    return (uint16_t)(data[i - 2] | data[i - 1] << 8);
}

static unsigned pair(const uint8_t *data, size_t i)
{
    return word(data, i) + (unsigned)FOLD_CDC_A * word(data, i - 2);
}

int16_t fold_cdc_form(const uint8_t *data, size_t i)
{
    unsigned near = pair(data, i) + FOLD_CDC_B * pair(data, i - 64);
    unsigned far = pair(data, i - 128) + FOLD_CDC_B * pair(data, i - 192);
    return (int16_t)(uint16_t)(near + FOLD_CDC_C * far);
}

/* Whether one of the positions p, p+2, ... p+BLOCK-2 is a candidate. */
static int block_has(const uint8_t *data, size_t p, int16_t form)
{
    uint16_t w[PAST + WORDS + 1];
    uint16_t f[PAST + WORDS];
    uint16_t g[PAST + WORDS];
    memcpy(w, data + p - HISTORY - 4, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (size_t j = 0; j < PAST + WORDS + 1; j++)
        w[j] = __builtin_bswap16(w[j]);
#endif
    for (size_t j = 0; j < PAST + WORDS; j++)
        f[j] = (uint16_t)(w[j + 1] + (unsigned)FOLD_CDC_A * w[j]);
    for (size_t j = 32; j < PAST + WORDS; j++)
        g[j] = (uint16_t)(f[j] + (unsigned)FOLD_CDC_B * f[j - 32]);
    int16_t any = 0;
    for (size_t j = PAST; j < PAST + WORDS; j++) {
        int16_t h = (int16_t)(uint16_t)(g[j] + (unsigned)FOLD_CDC_C * g[j - 64]);
        any |= (int16_t)-(h > form);
    }
    return any;
}

size_t fold_cdc_scan_c(const uint8_t *data, size_t from, size_t to, int32_t form)
{
    while (from < to) {
        /* The last block ends at `to` and may begin before `from`. */
        size_t p = to - from < BLOCK ? to - BLOCK : from;
        if (block_has(data, p, (int16_t)form) || block_has(data, p + 1, (int16_t)form)) {
            size_t end = p + BLOCK;
            for (size_t i = from; i < end; i++)
                if (fold_cdc_form(data, i) > form)
                    return i;
        }
        from = p + BLOCK;
    }
    return to;
}

void fold_cdc_select(unsigned flags, struct fold_kernels *out)
{
    (void)flags;
    out->cdc_scan = fold_cdc_scan_c;
}
