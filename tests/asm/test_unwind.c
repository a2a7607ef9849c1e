/* SPDX-License-Identifier: MIT */
/*
 * Debuggers and profilers see through every kernel at every level: each one is sent to a page that
 * nobody may read, and the handler of the fault must find the way back to whoever called it.
 */
#include "asm/compare.h"
#include "asm/kernels.h"
#include "asm/probe.h"
#include "meta/base/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <execinfo.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#define DEPTH 64
#define LEN   (64u << 10)

static uint8_t *closed; /* LEN bytes without access */
static sigjmp_buf back;
static void *caller[DEPTH]; /* the way back from where the kernel is called */
static int caller_depth;
static bool found;

static void on_fault(int sig)
{
    void *seen[DEPTH];
    int n = backtrace(seen, DEPTH);
    int rest = caller_depth - 2; /* without call() itself, and a sanitizer's backtrace() */
    found = rest > 0 && n > rest &&
            memcmp(seen + n - rest, caller + 2, (size_t)rest * sizeof *seen) == 0;
    siglongjmp(back, sig);
}

static void call_probe(const struct fold_kernels *k)
{
    static uint64_t frames[2 * FOLD_PROBE_MAX_FRAMES];
    static const uint64_t dir = FOLD_PROBE_MIN_LINES;
    const struct fold_probe_table table = {.dir = &dir, .frames = frames, .roots = 1};
    uint64_t keys[64];
    uint64_t maybe;
    for (size_t i = 0; i < FOLD_ARRAY_LEN(frames); i++)
        frames[i] = (uint64_t)(uintptr_t)closed;
    for (size_t i = 0; i < FOLD_ARRAY_LEN(keys); i++)
        keys[i] = i * 0x9e3779b97f4a7c15u;
    k->probe(&table, keys, FOLD_ARRAY_LEN(keys), &maybe);
}

static void enter(const struct fold_kernels *k, enum fold_kernel kernel)
{
    static const uint8_t secret[192];
    const struct fold_compare_pair pair = {closed, secret, sizeof secret};
    uint64_t out[2];
    switch (kernel) {
    case FOLD_KERNEL_CDC:
        (void)k->cdc_scan(closed, LEN / 2, LEN, 0);
        break;
    case FOLD_KERNEL_FINGERPRINT:
        k->fingerprint(closed, LEN, secret, out);
        break;
    case FOLD_KERNEL_CRC32C:
        (void)k->crc32c(0, closed, LEN);
        break;
    case FOLD_KERNEL_CRC32:
        (void)k->crc32(0, closed, LEN);
        break;
    case FOLD_KERNEL_PROBE:
        call_probe(k);
        break;
    case FOLD_KERNEL_ZERO:
        (void)k->zero_run(closed, LEN);
        break;
    case FOLD_KERNEL_COMPARE:
        (void)k->compare(closed, secret, sizeof secret);
        break;
    case FOLD_KERNEL_COMPARE_BATCH:
        k->compare_batch(&pair, 1, out);
        break;
    case FOLD_KERNEL_ENTROPY:
        (void)k->entropy(closed, LEN);
        break;
    default:
        fail();
    }
}

/* Not inlined, so that the way back begins at the same call for both looks at it. */
__attribute__((noinline)) static bool call(const struct fold_kernels *k, enum fold_kernel kernel)
{
    found = false;
    caller_depth = backtrace(caller, DEPTH);
    if (sigsetjmp(back, 1) == 0) {
        enter(k, kernel);
        fail_msg("%s read what nobody may read", fold_kernel_name(kernel));
    }
    return found;
}

static void the_way_back_is_known(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_fault};
    struct sigaction before;
    closed = mmap(NULL, LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(closed, MAP_FAILED);
    assert_int_equal(sigaction(SIGSEGV, &action, &before), 0);
    for (int level = 0; level <= (int)fold_cpu_level(fold_cpu_flags()); level++) {
        struct fold_kernels k;
        unsigned flags = fold_cpu_flags();
        assert_true(fold_cpu_limit(&flags, fold_level_name((enum fold_level)level)));
        fold_kernels_select(flags, &k);
        for (int kernel = 0; kernel < FOLD_KERNELS; kernel++)
            if (!call(&k, (enum fold_kernel)kernel))
                fail_msg("%s at %s hides its caller", fold_kernel_name((enum fold_kernel)kernel),
                         fold_level_name((enum fold_level)level));
    }
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
    assert_int_equal(munmap(closed, LEN), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_way_back_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
