/* SPDX-License-Identifier: MIT */
/*
 * What this CPU can do, in the four bundles the kernels are written for. The only place that asks
 * cpuid; a vector level counts only if the operating system saves its registers (XCR0). A level
 * includes all below it.
 */
#ifndef FOLD_ASM_CPU_H
#define FOLD_ASM_CPU_H

#include <stdbool.h>

enum fold_level {
    FOLD_LEVEL_SCALAR,
    FOLD_LEVEL_SSE42,
    FOLD_LEVEL_AVX2,
    FOLD_LEVEL_AVX512,
    FOLD_LEVELS
};

/* SSSE3, SSE4.1, SSE4.2, POPCNT, PCLMULQDQ. */
#define FOLD_CPU_SSE42 1u
/* The above and AVX, AVX2, BMI1, BMI2, LZCNT. */
#define FOLD_CPU_AVX2 2u
/* The above and AVX-512 F, CD, BW, DQ, VL, IFMA, VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ, GFNI,
 * VPCLMULQDQ. */
#define FOLD_CPU_AVX512 4u
/* Carry-less multiplication of 256-bit vectors; may come with FOLD_CPU_AVX2 alone, always with
 * FOLD_CPU_AVX512. */
#define FOLD_CPU_VPCLMUL 8u

/* Flags of the running CPU; 0 in builds without assembly. */
unsigned fold_cpu_flags(void);

/* The highest level that a set of flags reaches. */
enum fold_level fold_cpu_level(unsigned flags);

/*
 * Lowers `flags` to the level called `name` ("scalar", "sse42", "avx2", "avx512"); a level above
 * the CPU's own changes nothing. False, with `flags` untouched, if there is no such level.
 */
bool fold_cpu_limit(unsigned *flags, const char *name);

/* "scalar", "sse42", "avx2" or "avx512". */
const char *fold_level_name(enum fold_level level);

#endif
