/* SPDX-License-Identifier: MIT */
/*
 * Build-time generator: writes the slicing tables (C) and the folding constants (NASM) of both
 * CRCs.
 *
 *     fold_gen_crc crc_tables.h crc_fold.inc
 *
 * Folding constants. A 128-bit register holds two 64-bit halves; bit 0 of the register is the
 * highest power. To move a register d bits further down the message, its low half L (the higher
 * powers) is multiplied by x^(d+64) and its high half H by x^d, both mod P. A carry-less product of
 * two reflected 64-bit values comes out reflected over 127 bits, one position short of 128, which
 * costs one power of x, and a 32-bit constant stands in the upper half of its 64-bit operand, so
 * the constants are x^(d+64-1) and x^(d-1) mod P, shifted left by 32.
 *
 * Reduction constants. R = L x^64 + H times x^32 becomes 96 bits by L x^96, then 64 bits by T x^64
 * of its upper 32 bits T, again with one power less in the constants; the last 32 come from
 * Barrett's quotient with floor(x^64 / P) and P, both reflected over 33 bits.
 */
#include "asm/crcpoly.h"

#include <stdio.h>
#include <stdlib.h>

struct poly {
    const char *name;
    uint32_t reflected;
};

static const struct poly polys[] = {{"crc32c", 0x82F63B78u}, {"crc32", 0xEDB88320u}};

/* Distances the kernels fold over, in bits. */
static const unsigned distances[] = {128, 256, 384, 512, 768, 1024, 1536, 2048};

static void write_table(FILE *f, const struct poly *p)
{
    uint32_t row[256];
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t v = b;
        for (int i = 0; i < 8; i++)
            v = v >> 1 ^ (p->reflected & (0u - (v & 1)));
        row[b] = v;
    }
    fprintf(f, "\n__attribute__((unused)) static const uint32_t fold_%s_table[8][256] = {\n",
            p->name);
    uint32_t cell[256];
    for (int b = 0; b < 256; b++)
        cell[b] = row[b];
    for (int k = 0; k < 8; k++) {
        fprintf(f, "    {");
        for (int b = 0; b < 256; b++)
            fprintf(f, "%s0x%08xu,", b % 8 == 0 ? "\n        " : " ", cell[b]);
        fprintf(f, "\n    },\n");
        for (int b = 0; b < 256; b++)
            cell[b] = cell[b] >> 8 ^ row[cell[b] & 255];
    }
    fprintf(f, "};\n");
}

static uint64_t constant(const struct poly *p, unsigned bits)
{
    return (uint64_t)fold_crcpoly_power(p->reflected, bits) << 32;
}

/* floor(x^64 / P) reflected over 33 bits: long division of x^64 by the 33-bit polynomial. */
static uint64_t quotient(const struct poly *p)
{
    uint64_t divisor = 1; /* not reflected: x^32 + ... */
    for (int i = 0; i < 32; i++)
        divisor = divisor << 1 | (p->reflected >> i & 1);
    uint64_t rest = divisor ^ 1ull << 32; /* x^64 - P x^32, in units of x^32 */
    uint64_t mirrored = 1;
    for (int i = 1; i <= 32; i++) {
        rest <<= 1;
        if (rest >> 32 & 1) {
            rest ^= divisor;
            mirrored |= 1ull << i;
        }
    }
    return mirrored;
}

static void write_constants(FILE *f, const struct poly *p)
{
    for (size_t i = 0; i < sizeof distances / sizeof *distances; i++) {
        unsigned d = distances[i];
        fprintf(f, "%%define %s_fold%u_lo 0x%016llx\n", p->name, d,
                (unsigned long long)constant(p, d + 64 - 1));
        fprintf(f, "%%define %s_fold%u_hi 0x%016llx\n", p->name, d,
                (unsigned long long)constant(p, d - 1));
    }
    fprintf(f, "%%define %s_to96 0x%016llx\n", p->name, (unsigned long long)constant(p, 95));
    fprintf(f, "%%define %s_to64 0x%016llx\n", p->name, (unsigned long long)constant(p, 63));
    fprintf(f, "%%define %s_mu 0x%09llx\n", p->name, (unsigned long long)quotient(p));
    fprintf(f, "%%define %s_poly 0x%09llx\n", p->name, (unsigned long long)p->reflected << 1 | 1);
}

int main(int argc, char **argv)
{
    FILE *c = argc == 3 ? fopen(argv[1], "w") : NULL;
    FILE *n = argc == 3 ? fopen(argv[2], "w") : NULL;
    if (c == NULL || n == NULL)
        return EXIT_FAILURE;
    fprintf(c, "/* Made by asm/gen/crc_tables.c. */\n#include <stdint.h>\n");
    fprintf(n, "; Made by asm/gen/crc_tables.c.\n");
    for (size_t i = 0; i < sizeof polys / sizeof *polys; i++) {
        write_table(c, &polys[i]);
        write_constants(n, &polys[i]);
    }
    return fclose(c) == 0 && fclose(n) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
