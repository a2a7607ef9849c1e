/* SPDX-License-Identifier: MIT */
/*
 * CRC arithmetic in plain C. Also compiled into the table generator, so it depends on nothing.
 */
#include "asm/crcpoly.h"

#define X0 0x80000000u /* the polynomial 1 */
#define X1 0x40000000u /* x */
#define X8 0x00800000u /* x^8, one byte */

uint32_t fold_crcpoly_mul(uint32_t poly, uint32_t a, uint32_t b)
{
    uint32_t sum = 0;
    for (int i = 0; i < 32; i++) {
        sum ^= b & (0u - (a >> 31));
        a <<= 1;
        b = (b >> 1) ^ (poly & (0u - (b & 1)));
    }
    return sum;
}

/* base^n. */
static uint32_t power(uint32_t poly, uint32_t base, uint64_t n)
{
    uint32_t product = X0;
    for (; n != 0; n >>= 1) {
        if (n & 1)
            product = fold_crcpoly_mul(poly, product, base);
        base = fold_crcpoly_mul(poly, base, base);
    }
    return product;
}

uint32_t fold_crcpoly_power(uint32_t poly, uint64_t n)
{
    return power(poly, X1, n);
}

uint32_t fold_crcpoly_combine(uint32_t poly, uint32_t crc1, uint32_t crc2, uint64_t len2)
{
    return fold_crcpoly_mul(poly, crc1, power(poly, X8, len2)) ^ crc2;
}

static uint64_t load8(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
           (uint64_t)p[7] << 56;
}

uint32_t fold_crcpoly_slice(const uint32_t table[8][256], uint32_t state, const uint8_t *data,
                            size_t len)
{
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t v = state ^ load8(data);
        state = table[7][v & 255] ^ table[6][v >> 8 & 255] ^ table[5][v >> 16 & 255] ^
                table[4][v >> 24 & 255] ^ table[3][v >> 32 & 255] ^ table[2][v >> 40 & 255] ^
                table[1][v >> 48 & 255] ^ table[0][v >> 56];
    }
    for (; len > 0; data++, len--)
        state = state >> 8 ^ table[0][(state ^ *data) & 255];
    return state;
}
