/* SPDX-License-Identifier: MIT */
/*
 * What the checks of the kernels are made of: random inputs from one printed seed, memory between
 * inaccessible pages, and calls that notice what a compiler would not: a clobbered register, a
 * dirty upper vector half, a read or write outside the buffers, trust in the upper half of a 32-bit
 * argument. One thread.
 */
#ifndef FOLD_TESTS_CHECKASM_HARNESS_H
#define FOLD_TESTS_CHECKASM_HARNESS_H

#include "asm/kernels.h"

#include <stdbool.h>

/* Kinds of failure. */
enum check_fault {
    CHECK_WRONG,   /* result or output differs from the reference */
    CHECK_CRASH,   /* SIGSEGV, SIGBUS, SIGILL or SIGFPE, mostly a byte outside the buffers */
    CHECK_CLOBBER, /* callee-saved register, direction flag, MXCSR or x87 control word changed */
    CHECK_DIRTY,   /* upper vector halves not zeroed on return */
    CHECK_CANARY,  /* bytes around an output changed */
    CHECK_FAULTS
};

/* Usable bytes of an area. */
#define CHECK_AREA_BYTES (2u << 20)
#define CHECK_AREAS      3

/* Every length up to this one is tried, at every misalignment up to CHECK_ALIGN. */
#define CHECK_LEN_MAX 512
#define CHECK_ALIGN   64

struct check {
    const char *family;
    enum fold_level level;
    uint64_t random; /* state of the generator */
    bool quiet;      /* count failures without printing them */
    bool dirty_seen; /* this machine can tell dirty uppers */
    unsigned faults[CHECK_FAULTS];
    uint8_t *area[CHECK_AREAS]; /* CHECK_AREA_BYTES each, between inaccessible pages */
};

/* One file check_<family>.c defines `const struct check_family check_<family>`. */
struct check_family {
    const char *name;
    void (*run)(struct check *c, const struct fold_kernels *k);
    /* Prints one line per kernel and size with check_bench; NULL if there is nothing to time. */
    void (*bench)(struct check *c, const struct fold_kernels *k);
};

/* Allocates the areas, installs signal handlers. Aborts the program if it cannot. */
void check_init(struct check *c, uint64_t seed);
void check_fini(struct check *c);

uint64_t check_random(struct check *c);

/* Fills with random bytes. */
void check_fill(struct check *c, uint8_t *p, size_t len);

/* The lowest place with the given misalignment in an area; the place of `len` bytes that end at its
 * upper guard page. */
uint8_t *check_low(struct check *c, int area, size_t misalign);
uint8_t *check_high(struct check *c, int area, size_t len);

/* Any function, and a 32-bit argument with junk in its upper half. */
typedef void (*check_fn)(void);
uint64_t check_arg32(struct check *c, uint32_t value);
#define CHECK_ARG(p) ((uint64_t)(uintptr_t)(p))

/*
 * Calls fn with up to six integer arguments. False, and counted as a failure, if it crashed,
 * clobbered or left dirty vectors. The result is what stands in the return register.
 */
bool check_call(struct check *c, check_fn fn, const uint64_t *args, size_t n, uint64_t *result);

/* Counts a failure and prints it once per kind and family with the case that showed it. */
void check_fail(struct check *c, enum check_fault fault, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* An output of `len` bytes at `p` inside an area with 64 canary bytes on both sides. */
void check_canary_set(struct check *c, uint8_t *p, size_t len);
void check_canary_verify(struct check *c, const uint8_t *p, size_t len, const char *what);

unsigned check_failures(const struct check *c);

/*
 * Times fn(args) and prints family, kernel, level, size and gigabytes per second (`bytes` moved per
 * call). Returns the rate in bytes per second.
 */
double check_bench(struct check *c, const char *kernel, check_fn fn, const uint64_t *args, size_t n,
                   size_t bytes);

#endif
