/* SPDX-License-Identifier: MIT */
/*
 * What to do between two looks at a word that another thread is about to change: tells the CPU that
 * this is a loop of waiting, so that it neither guesses ahead nor takes cycles from its twin. Spin
 * for a bounded number of rounds, then wait on a lock.
 */
#ifndef FOLD_ASM_RELAX_H
#define FOLD_ASM_RELAX_H

static inline void fold_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
