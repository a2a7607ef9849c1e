/* SPDX-License-Identifier: MIT */
/*
 * The harness. Crashes inside a checked call return by siglongjmp; nothing the kernels do holds a
 * lock or memory, so the jump loses nothing. Where assembly is built, calls go through
 * call_x86.asm, which sets and compares registers; at the scalar level they are plain calls, so
 * that valgrind can follow.
 */
#include "tests/checkasm/harness.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CANARY_BYTES 64

static sigjmp_buf escape;
static volatile sig_atomic_t armed;
static uint8_t canaries[2 * CANARY_BYTES];

static void on_signal(int sig)
{
    if (armed)
        siglongjmp(escape, sig);
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

static uint8_t *guarded_area(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *p =
        mmap(NULL, CHECK_AREA_BYTES + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + page, CHECK_AREA_BYTES, PROT_READ | PROT_WRITE) != 0) {
        perror("checkasm: mmap");
        exit(2);
    }
    return p + page;
}

#if FOLD_ASM

/* What call_x86.asm reports; field offsets are known there. */
struct call_state {
    uint64_t avx;     /* in: vzeroupper may be used */
    uint64_t avx512;  /* in: fill the registers of AVX-512 too */
    uint64_t xinuse;  /* in: xgetbv(1) works */
    uint64_t clobber; /* out: not 0 if a preserved register changed */
    uint64_t inuse;   /* out: state components in use */
};

uint64_t fold_check_call(check_fn fn, const uint64_t *args, struct call_state *state);

#define INUSE_UPPER 0x44u /* upper halves of ymm0-15 and of zmm0-15 */

static struct call_state machine;

static void nothing(void)
{
}

static bool has_xgetbv1(void)
{
    uint32_t a = 13;
    uint32_t b;
    uint32_t c = 1;
    uint32_t d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (a & 4) != 0;
}

static void probe_machine(struct check *c)
{
    static const uint64_t args[6];
    unsigned flags = fold_cpu_flags();
    machine.avx = (flags & FOLD_CPU_AVX2) != 0;
    machine.avx512 = (flags & FOLD_CPU_AVX512) != 0;
    if (!machine.avx || !has_xgetbv1())
        return;
    machine.xinuse = 1;
    struct call_state state = machine;
    (void)fold_check_call(nothing, args, &state);
    c->dirty_seen = (state.inuse & INUSE_UPPER) == 0;
}

static uint64_t watched_call(struct check *c, check_fn fn, const uint64_t *args)
{
    struct call_state state = machine;
    uint64_t result = fold_check_call(fn, args, &state);
    if (state.clobber != 0)
        check_fail(c, CHECK_CLOBBER, "preserved registers changed: mask %#llx",
                   (unsigned long long)state.clobber);
    if (c->dirty_seen && (state.inuse & INUSE_UPPER) != 0)
        check_fail(c, CHECK_DIRTY, "upper vector halves in use: %#llx",
                   (unsigned long long)state.inuse);
    return result;
}

#else

static void probe_machine(struct check *c)
{
    c->dirty_seen = false;
}

#endif

static uint64_t plain_call(check_fn fn, const uint64_t *a)
{
    typedef uint64_t six(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
    return ((six *)fn)(a[0], a[1], a[2], a[3], a[4], a[5]);
}

void check_init(struct check *c, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    c->random = seed;
    for (int i = 0; i < CHECK_AREAS; i++)
        c->area[i] = guarded_area();
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};
        (void)sigaction(signals[i], &act, NULL);
    }
    probe_machine(c);
}

void check_fini(struct check *c)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < CHECK_AREAS; i++)
        (void)munmap(c->area[i] - page, CHECK_AREA_BYTES + 2 * page);
}

uint64_t check_random(struct check *c)
{
    uint64_t z = c->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void check_fill(struct check *c, uint8_t *p, size_t len)
{
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t v = check_random(c);
        memcpy(p, &v, 8);
    }
    uint64_t v = check_random(c);
    memcpy(p, &v, len);
}

uint8_t *check_low(struct check *c, int area, size_t misalign)
{
    return c->area[area] + misalign;
}

uint8_t *check_high(struct check *c, int area, size_t len)
{
    return c->area[area] + CHECK_AREA_BYTES - len;
}

uint64_t check_arg32(struct check *c, uint32_t value)
{
    return (check_random(c) | 1ull << 33) << 32 | value;
}

bool check_call(struct check *c, check_fn fn, const uint64_t *args, size_t n, uint64_t *result)
{
    uint64_t all[6];
    for (size_t i = 0; i < 6; i++)
        all[i] = i < n ? args[i] : 0xdeadbeefcafef00du + i;
    unsigned before = check_failures(c);
    int sig = sigsetjmp(escape, 0);
    if (sig != 0) {
        armed = 0;
        check_fail(c, CHECK_CRASH, "signal %d (%s)", sig, strsignal(sig));
        return false;
    }
    armed = 1;
#if FOLD_ASM
    *result = c->level == FOLD_LEVEL_SCALAR ? plain_call(fn, all) : watched_call(c, fn, all);
#else
    *result = plain_call(fn, all);
#endif
    armed = 0;
    return check_failures(c) == before;
}

void check_fail(struct check *c, enum check_fault fault, const char *fmt, ...)
{
    static const char *const kinds[CHECK_FAULTS] = {"wrong result", "crash", "clobber",
                                                    "dirty upper", "canary"};
    if (c->faults[fault]++ > 0 || c->quiet)
        return;
    va_list args;
    va_start(args, fmt);
    (void)fprintf(stderr, "FAIL %s %s: %s: ", c->family, fold_level_name(c->level), kinds[fault]);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

void check_canary_set(struct check *c, uint8_t *p, size_t len)
{
    check_fill(c, canaries, sizeof canaries);
    memcpy(p - CANARY_BYTES, canaries, CANARY_BYTES);
    memcpy(p + len, canaries + CANARY_BYTES, CANARY_BYTES);
}

void check_canary_verify(struct check *c, const uint8_t *p, size_t len, const char *what)
{
    if (memcmp(p - CANARY_BYTES, canaries, CANARY_BYTES) != 0)
        check_fail(c, CHECK_CANARY, "bytes before the output: %s", what);
    if (memcmp(p + len, canaries + CANARY_BYTES, CANARY_BYTES) != 0)
        check_fail(c, CHECK_CANARY, "bytes behind the output: %s", what);
}

unsigned check_failures(const struct check *c)
{
    unsigned sum = 0;
    for (int i = 0; i < CHECK_FAULTS; i++)
        sum += c->faults[i];
    return sum;
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double check_bench(struct check *c, const char *kernel, check_fn fn, const uint64_t *args, size_t n,
                   size_t bytes)
{
    uint64_t all[6] = {0};
    memcpy(all, args, n * sizeof *all);
    size_t calls = (1u << 20) / (bytes + 1) + 1;
    double best = 1e9;
    for (int round = 0; round < 30; round++) {
        double start = now();
        for (size_t i = 0; i < calls; i++)
            (void)plain_call(fn, all);
        double spent = (now() - start) / (double)calls;
        best = spent < best ? spent : best;
    }
    printf("%-8s %-12s %-7s %8zu B %9.1f ns %8.2f GB/s\n", c->family, kernel,
           fold_level_name(c->level), bytes, best * 1e9, (double)bytes / best * 1e-9);
    return (double)bytes / best;
}
