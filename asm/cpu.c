/* SPDX-License-Identifier: MIT */
/*
 * CPU detection by cpuid and XCR0. Each bundle is all or nothing, so that a hypervisor which hides
 * one feature of a family never gets the family's kernels.
 */
#include "asm/cpu.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static const char *const level_names[FOLD_LEVELS] = {"scalar", "sse42", "avx2", "avx512"};

const char *fold_level_name(enum fold_level level)
{
    return level_names[level];
}

enum fold_level fold_cpu_level(unsigned flags)
{
    if (flags & FOLD_CPU_AVX512)
        return FOLD_LEVEL_AVX512;
    if (flags & FOLD_CPU_AVX2)
        return FOLD_LEVEL_AVX2;
    return (flags & FOLD_CPU_SSE42) ? FOLD_LEVEL_SSE42 : FOLD_LEVEL_SCALAR;
}

bool fold_cpu_limit(unsigned *flags, const char *name)
{
    static const unsigned keep[FOLD_LEVELS] = {
        0, FOLD_CPU_SSE42, FOLD_CPU_SSE42 | FOLD_CPU_AVX2 | FOLD_CPU_VPCLMUL, ~0u};
    for (size_t i = 0; i < FOLD_LEVELS; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *flags &= keep[i];
            return true;
        }
    }
    return false;
}

#if FOLD_ASM

#include <cpuid.h>

struct leaf {
    uint32_t a, b, c, d;
};

static struct leaf ask(uint32_t leaf, uint32_t sub)
{
    struct leaf r = {0, 0, 0, 0};
    if (leaf <= (uint32_t)__get_cpuid_max(leaf & 0x80000000u, NULL))
        __cpuid_count(leaf, sub, r.a, r.b, r.c, r.d);
    return r;
}

static bool has(uint64_t reg, uint64_t bits)
{
    return (reg & bits) == bits;
}

static uint64_t saved_state(const struct leaf *one)
{
    uint32_t low;
    uint32_t high;
    if (!has(one->c, bit_OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}

unsigned fold_cpu_flags(void)
{
    const uint64_t ymm = 0x06; /* XMM and upper YMM */
    const uint64_t zmm = 0xe6; /* and opmask, upper ZMM, ZMM16-31 */
    struct leaf one = ask(1, 0);
    struct leaf seven = ask(7, 0);
    struct leaf ext = ask(0x80000001u, 0);
    uint64_t state = saved_state(&one);
    unsigned flags = 0;
    if (!has(one.c, bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT | bit_PCLMUL))
        return 0;
    flags |= FOLD_CPU_SSE42;
    if (!has(state, ymm) || !has(one.c, bit_AVX) || !has(ext.c, bit_LZCNT) ||
        !has(seven.b, bit_AVX2 | bit_BMI | bit_BMI2))
        return flags;
    flags |= FOLD_CPU_AVX2;
    if (has(seven.c, bit_VPCLMULQDQ))
        flags |= FOLD_CPU_VPCLMUL;
    if (has(state, zmm) && (flags & FOLD_CPU_VPCLMUL) &&
        has(seven.b, bit_AVX512F | bit_AVX512CD | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL |
                         bit_AVX512IFMA) &&
        has(seven.c, bit_AVX512VBMI | bit_AVX512VBMI2 | bit_AVX512VNNI | bit_AVX512BITALG |
                         bit_AVX512VPOPCNTDQ | bit_GFNI))
        flags |= FOLD_CPU_AVX512;
    return flags;
}

#else

unsigned fold_cpu_flags(void)
{
    return 0;
}

#endif
