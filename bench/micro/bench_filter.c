/* SPDX-License-Identifier: MIT */
/*
 * The filter at size: fold_bench_filter [MILLIONS [START_MILLIONS]], 16.777216 by default. Prints
 * memory, load, false positives, the cost of insertions, and probes per second for batches of
 * different sizes at the level of the process (FOLDFS_CPU). With a second number the filter is made
 * for that many keys and grows to the first.
 */
#include "asm/kernels.h"
#include "tests/hashing/filter_keys.h"

#include <stdio.h>
#include <time.h>

#define POOL                                                                                       \
    65536 /* fingerprints probed over and over; far fewer than lines, so that these do not stay    \
             cached */
#define ROUNDS 25

static struct fold_fp pool[POOL];
static uint64_t maybe[POOL / 64];

/* CPU time of this thread: other programs on the machine count as little as possible. */
static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double insert_all(struct fold_filter *f, uint64_t keys)
{
    double spent = 0;
    for (uint64_t i = 0; i < keys; i += POOL) {
        size_t n = FOLD_MIN(keys - i, POOL);
        for (size_t k = 0; k < n; k++)
            pool[k] = fp_of(i + k);
        double start = now();
        if (fold_filter_insert_batch(f, pool, n) < 0)
            return 0;
        spent += now() - start;
    }
    return spent;
}

/* Best rate of ROUNDS, in millions per second. */
static double probe_rate(const struct fold_filter *f, uint64_t keys, size_t batch, bool present)
{
    double best = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (uint64_t k = 0; k < POOL; k++)
            pool[k] =
                fp_of(present ? mix(round * POOL + k) % keys : (1ull << 40) + round * POOL + k);
        double start = now();
        for (size_t at = 0; at < POOL; at += batch)
            fold_filter_probe(f, pool + at, batch, maybe);
        double rate = POOL / (now() - start) * 1e-6;
        best = FOLD_MAX(best, rate);
    }
    return best;
}

static double wrong_rate(const struct fold_filter *f)
{
    uint64_t wrong = 0;
    const uint64_t rounds = 150;
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint64_t k = 0; k < POOL; k++)
            pool[k] = fp_of((1ull << 41) + round * POOL + k);
        fold_filter_probe(f, pool, POOL, maybe);
        for (size_t w = 0; w < POOL / 64; w++)
            wrong += (uint64_t)__builtin_popcountll(maybe[w]);
    }
    return (double)wrong / (double)(rounds * POOL);
}

int main(int argc, char **argv)
{
    uint64_t keys = argc > 1 ? (uint64_t)(strtod(argv[1], NULL) * 1e6) : 16777216;
    uint64_t room = argc > 2 ? (uint64_t)(strtod(argv[2], NULL) * 1e6) : keys;
    static const size_t batches[] = {1, 4, 16, 64, 256, 1024, POOL};
    struct fold_filter *f;
    if (keys == 0 || fold_filter_create_exact(room, &f) < 0)
        return 1;
    double spent = insert_all(f, keys);
    struct fold_filter_info info;
    fold_filter_info(f, &info);
    printf("level %s\nkeys %llu, made for %llu, doublings %u\n",
           fold_level_name(fold_kernels()->level), (unsigned long long)keys,
           (unsigned long long)room, info.doublings);
    printf("load %.2f %%, %.2f bits per key, %.1f MB\n", 100.0 * (double)keys / (double)info.slots,
           8.0 * (double)info.bytes / (double)keys, (double)info.bytes * 1e-6);
    printf("false positives %.4f %%\n", 100 * wrong_rate(f));
    printf("insertion %.0f ns\n", spent / (double)keys * 1e9);
    for (size_t i = 0; i < FOLD_ARRAY_LEN(batches); i++)
        printf("batch %5zu: %6.1f M new, %6.1f M known keys/s\n", batches[i],
               probe_rate(f, keys, batches[i], false), probe_rate(f, keys, batches[i], true));
    fold_filter_destroy(f);
    return 0;
}
