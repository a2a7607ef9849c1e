/* SPDX-License-Identifier: MIT */
/*
 * Selection of kernels, the override, and the counters that show what the process really called.
 */
#include "asm/compare.h"
#include "asm/kernels.h"
#include "asm/kernels_list.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void complete(const struct fold_kernels *k)
{
    assert_non_null(k->cdc_scan);
    assert_non_null(k->crc32c);
    assert_non_null(k->crc32);
    assert_non_null(k->zero_run);
    assert_non_null(k->data_run);
    assert_non_null(k->compare);
    assert_non_null(k->compare_batch);
    assert_non_null(k->entropy);
    assert_non_null(k->probe);
    for (int i = 0; i < FOLD_KERNELS; i++)
        assert_true(k->chosen[i] <= k->level);
}

static void select_is_pure_and_complete(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 16; flags++) {
        struct fold_kernels one;
        struct fold_kernels two;
        memset(&one, 0xff, sizeof one);
        memset(&two, 0, sizeof two);
        fold_kernels_select(flags, &one);
        fold_kernels_select(flags, &two);
        complete(&one);
        assert_int_equal(one.level, fold_cpu_level(flags));
        assert_memory_equal(one.chosen, two.chosen, sizeof one.chosen);
        assert_ptr_equal(one.cdc_scan, two.cdc_scan);
        assert_ptr_equal(one.crc32c, two.crc32c);
        assert_ptr_equal(one.compare_batch, two.compare_batch);
    }
}

static void levels_differ(void **state)
{
    (void)state;
    struct fold_kernels scalar;
    struct fold_kernels sse42;
    struct fold_kernels avx2;
    fold_kernels_select(0, &scalar);
    fold_kernels_select(FOLD_CPU_SSE42, &sse42);
    fold_kernels_select(FOLD_CPU_SSE42 | FOLD_CPU_AVX2, &avx2);
    assert_int_equal(scalar.chosen[FOLD_KERNEL_CDC], FOLD_LEVEL_SCALAR);
#if FOLD_ASM
    assert_ptr_not_equal(scalar.cdc_scan, sse42.cdc_scan);
    assert_ptr_not_equal(avx2.cdc_scan, sse42.cdc_scan);
    assert_ptr_equal(avx2.crc32c, sse42.crc32c); /* without VPCLMULQDQ */
    assert_int_equal(avx2.chosen[FOLD_KERNEL_CRC32C], FOLD_LEVEL_SSE42);
    assert_int_equal(avx2.chosen[FOLD_KERNEL_CDC], FOLD_LEVEL_AVX2);
#else
    assert_ptr_equal(scalar.cdc_scan, avx2.cdc_scan);
#endif
}

static void limits(void **state)
{
    (void)state;
    unsigned flags = FOLD_CPU_SSE42 | FOLD_CPU_AVX2 | FOLD_CPU_VPCLMUL | FOLD_CPU_AVX512;
    assert_false(fold_cpu_limit(&flags, "avx1024"));
    assert_int_equal(fold_cpu_level(flags), FOLD_LEVEL_AVX512);
    for (int level = FOLD_LEVELS - 1; level >= 0; level--) {
        assert_true(fold_cpu_limit(&flags, fold_level_name((enum fold_level)level)));
        assert_int_equal(fold_cpu_level(flags), level);
    }
    assert_true(fold_cpu_limit(&flags, "avx512")); /* never raises */
    assert_int_equal(fold_cpu_level(flags), FOLD_LEVEL_SCALAR);
}

/* In a child, because the table of a process is chosen once. */
static int level_under(const char *value)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setenv("FOLDFS_CPU", value, 1);
        (void)close(STDERR_FILENO);
        _exit((int)fold_kernels()->level);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void override(void **state)
{
    (void)state;
    int own = (int)fold_cpu_level(fold_cpu_flags());
    for (int level = 0; level < FOLD_LEVELS; level++)
        assert_int_equal(level_under(fold_level_name((enum fold_level)level)),
                         level < own ? level : own);
    assert_int_equal(level_under(""), own);
    assert_int_equal(level_under("pentium"), own);
}

static uint64_t calls(enum fold_kernel kernel)
{
    struct fold_kernel_count counts[FOLD_KERNELS];
    fold_kernels_counts(counts);
    assert_string_equal(counts[kernel].name, fold_kernel_name(kernel));
    return counts[kernel].calls;
}

static void counts_calls(void **state)
{
    (void)state;
    static uint8_t data[4096];
    const struct fold_kernels *k = fold_kernels();
    const struct fold_compare_pair pair = {data, data, sizeof data};
    const struct fold_compare_pair pairs[3] = {pair, pair, pair};
    uint64_t same;
    uint64_t before[FOLD_KERNELS];
    for (int i = 0; i < FOLD_KERNELS; i++)
        before[i] = calls((enum fold_kernel)i);
    complete(k);
    (void)k->cdc_scan(data, 512, 4000, 100);
    (void)k->crc32c(0, data, 10);
    (void)k->crc32(0, data, 10);
    (void)k->zero_run(data, 10);
    (void)k->data_run(data, 4096, 64);
    (void)k->compare(data, data, 10);
    k->compare_batch(pairs, 3, &same);
    (void)k->entropy(data, 4096);
    assert_int_equal(same, 7);
    assert_int_equal(calls(FOLD_KERNEL_CDC) - before[FOLD_KERNEL_CDC], 1);
    assert_int_equal(calls(FOLD_KERNEL_CRC32C) - before[FOLD_KERNEL_CRC32C], 1);
    assert_int_equal(calls(FOLD_KERNEL_CRC32) - before[FOLD_KERNEL_CRC32], 1);
    assert_int_equal(calls(FOLD_KERNEL_ZERO) - before[FOLD_KERNEL_ZERO], 2);
    assert_int_equal(calls(FOLD_KERNEL_COMPARE) - before[FOLD_KERNEL_COMPARE], 4);
    assert_int_equal(calls(FOLD_KERNEL_COMPARE_BATCH) - before[FOLD_KERNEL_COMPARE_BATCH], 1);
    assert_int_equal(calls(FOLD_KERNEL_ENTROPY) - before[FOLD_KERNEL_ENTROPY], 1);
    assert_int_equal(calls(FOLD_KERNEL_PROBE) - before[FOLD_KERNEL_PROBE], 0);
}

#define THREADS 8
#define ROUNDS  1000

static void *many_calls(void *arg)
{
    for (int i = 0; i < ROUNDS; i++)
        (void)fold_kernels()->crc32c(0, arg, 8);
    return NULL;
}

static void counts_all_threads(void **state)
{
    (void)state;
    static uint8_t data[8];
    pthread_t threads[THREADS];
    uint64_t before = calls(FOLD_KERNEL_CRC32C);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, many_calls, data), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(calls(FOLD_KERNEL_CRC32C) - before, THREADS * ROUNDS);
}

static void lists_every_kernel(void **state)
{
    (void)state;
    struct fold_kernel_row rows[FOLD_KERNEL_ROWS];
    size_t n = fold_kernels_list(false, rows);
    unsigned selected[FOLD_KERNELS] = {0};
    assert_in_range(n, FOLD_KERNELS, FOLD_KERNEL_ROWS);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(rows[i].name, fold_kernel_name(rows[i].kernel));
        assert_true(rows[i].rate == 0);
        selected[rows[i].kernel] += rows[i].selected;
    }
    for (int i = 0; i < FOLD_KERNELS; i++)
        assert_int_equal(selected[i], 1);
}

static void rates_are_measured(void **state)
{
    (void)state;
    struct fold_kernels k;
    fold_kernels_select(0, &k);
    for (int i = 0; i < FOLD_KERNELS; i++)
        assert_true(fold_kernel_rate(&k, (enum fold_kernel)i) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(override), /* before the table of this process exists */
        cmocka_unit_test(select_is_pure_and_complete),
        cmocka_unit_test(levels_differ),
        cmocka_unit_test(limits),
        cmocka_unit_test(counts_calls),
        cmocka_unit_test(counts_all_threads),
        cmocka_unit_test(lists_every_kernel),
        cmocka_unit_test(rates_are_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
