/* SPDX-License-Identifier: MIT */
/*
 * Selection, and the process-wide table. The table that fold_kernels() returns holds thin wrappers:
 * each adds one to a counter of the calling thread's slot and jumps on. Slots are shared beyond 64
 * threads, so counts may then run a little short; they never slow a kernel down.
 */
#include "asm/kernels.h"

#include "asm/cdc.h"
#include "asm/compare.h"
#include "asm/crc32.h"
#include "asm/crc32c.h"
#include "asm/entropy.h"
#include "asm/xxh3.h"
#include "asm/probe.h"
#include "asm/zero.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 64

struct slot {
    _Alignas(64) atomic_uint_fast64_t calls[FOLD_KERNELS];
};

static struct slot slots[SLOTS];
static atomic_uint next_slot;
static _Thread_local struct slot *mine;

static struct fold_kernels raw;     /* fixed after once */
static struct fold_kernels counted; /* fixed after once */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_bool ready; /* spares the call of pthread_once */

static const char *const names[FOLD_KERNELS] = {
    [FOLD_KERNEL_CDC] = "cdc",         [FOLD_KERNEL_FINGERPRINT] = "fingerprint",
    [FOLD_KERNEL_CRC32C] = "crc32c",   [FOLD_KERNEL_CRC32] = "crc32",
    [FOLD_KERNEL_PROBE] = "probe",     [FOLD_KERNEL_ZERO] = "zero",
    [FOLD_KERNEL_COMPARE] = "compare", [FOLD_KERNEL_COMPARE_BATCH] = "compare_batch",
    [FOLD_KERNEL_ENTROPY] = "entropy",
};

const char *fold_kernel_name(enum fold_kernel kernel)
{
    return names[kernel];
}

void fold_kernels_select(unsigned flags, struct fold_kernels *out)
{
    memset(out, 0, sizeof *out);
    out->level = fold_cpu_level(flags);
    fold_cdc_select(flags, out);
    fold_xxh3_select(flags, out);
    fold_crc32c_select(flags, out);
    fold_crc32_select(flags, out);
    fold_zero_select(flags, out);
    fold_compare_select(flags, out);
    fold_entropy_select(flags, out);
    fold_probe_select(flags, out);
}

static inline void tally_many(enum fold_kernel kernel, size_t n)
{
    if (__builtin_expect(mine == NULL, 0))
        mine = &slots[atomic_fetch_add_explicit(&next_slot, 1, memory_order_relaxed) % SLOTS];
    atomic_uint_fast64_t *calls = &mine->calls[kernel];
    atomic_store_explicit(calls, atomic_load_explicit(calls, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void tally(enum fold_kernel kernel)
{
    tally_many(kernel, 1);
}

static size_t counted_cdc_scan(const uint8_t *data, size_t from, size_t to, int32_t form)
{
    tally(FOLD_KERNEL_CDC);
    return raw.cdc_scan(data, from, to, form);
}

static void counted_fingerprint(const void *data, size_t len, const uint8_t *secret,
                                uint64_t out[2])
{
    tally(FOLD_KERNEL_FINGERPRINT);
    raw.fingerprint(data, len, secret, out);
}

static uint32_t counted_crc32c(uint32_t crc, const void *data, size_t len)
{
    tally(FOLD_KERNEL_CRC32C);
    return raw.crc32c(crc, data, len);
}

static uint32_t counted_crc32(uint32_t crc, const void *data, size_t len)
{
    tally(FOLD_KERNEL_CRC32);
    return raw.crc32(crc, data, len);
}

static size_t counted_zero_run(const void *data, size_t len)
{
    tally(FOLD_KERNEL_ZERO);
    return raw.zero_run(data, len);
}

static size_t counted_data_run(const void *data, size_t len, size_t block)
{
    tally(FOLD_KERNEL_ZERO);
    return raw.data_run(data, len, block);
}

static size_t counted_compare(const void *a, const void *b, size_t len)
{
    tally(FOLD_KERNEL_COMPARE);
    return raw.compare(a, b, len);
}

static void counted_compare_batch(const struct fold_compare_pair *pairs, size_t n, uint64_t *same)
{
    tally(FOLD_KERNEL_COMPARE_BATCH);
    tally_many(FOLD_KERNEL_COMPARE, n);
    raw.compare_batch(pairs, n, same);
}

static unsigned counted_entropy(const void *data, size_t len)
{
    tally(FOLD_KERNEL_ENTROPY);
    return raw.entropy(data, len);
}

static void counted_probe(const struct fold_probe_table *table, const uint64_t *keys, size_t n,
                          uint64_t *maybe)
{
    tally(FOLD_KERNEL_PROBE);
    raw.probe(table, keys, n, maybe);
}

static void fill(void)
{
    unsigned flags = fold_cpu_flags();
    const char *limit = getenv("FOLDFS_CPU");
    if (limit != NULL && *limit != '\0' && !fold_cpu_limit(&flags, limit))
        (void)fprintf(stderr, "foldfs: FOLDFS_CPU=%s ignored: use scalar, sse42, avx2 or avx512\n",
                      limit);
    fold_kernels_select(flags, &raw);
    counted = raw;
    counted.cdc_scan = counted_cdc_scan;
    counted.fingerprint = counted_fingerprint;
    counted.crc32c = counted_crc32c;
    counted.crc32 = counted_crc32;
    counted.zero_run = counted_zero_run;
    counted.data_run = counted_data_run;
    counted.compare = counted_compare;
    counted.compare_batch = counted_compare_batch;
    counted.entropy = counted_entropy;
    counted.probe = counted_probe;
    atomic_store_explicit(&ready, true, memory_order_release);
}

const struct fold_kernels *fold_kernels(void)
{
    if (__builtin_expect(!atomic_load_explicit(&ready, memory_order_acquire), 0))
        (void)pthread_once(&once, fill);
    return &counted;
}

void fold_kernels_counts(struct fold_kernel_count *out)
{
    const struct fold_kernels *k = fold_kernels();
    for (size_t i = 0; i < FOLD_KERNELS; i++) {
        out[i].name = names[i];
        out[i].level = fold_level_name(k->chosen[i]);
        out[i].calls = 0;
        for (size_t s = 0; s < SLOTS; s++)
            out[i].calls += atomic_load_explicit(&slots[s].calls[i], memory_order_relaxed);
    }
}
