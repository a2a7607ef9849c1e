/* SPDX-License-Identifier: MIT */
/*
 * Verifying duplicates: incoming chunks against stored ones at random places of a large mapping.
 *
 *     fold_bench_compare [CHUNK_BYTES [STORED_MIB]]
 *
 * The incoming side is one megabyte that stays in the cache, as after hashing; the stored side
 * comes from memory. Rates count the bytes of one side.
 */
#include "asm/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INCOMING (1u << 20)

struct job {
    const struct fold_kernels *k;
    struct fold_compare_pair *pairs;
    size_t n;
    uint64_t *same;
    uint64_t sink;
};

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void by_memcmp(struct job *j)
{
    for (size_t i = 0; i < j->n; i++)
        j->sink += memcmp(j->pairs[i].a, j->pairs[i].b, j->pairs[i].len) == 0;
}

static void one_by_one(struct job *j)
{
    for (size_t i = 0; i < j->n; i++)
        j->sink += j->k->compare(j->pairs[i].a, j->pairs[i].b, j->pairs[i].len) == j->pairs[i].len;
}

static void in_a_batch(struct job *j)
{
    j->k->compare_batch(j->pairs, j->n, j->same);
    j->sink += j->same[0];
}

/* Reads the stored side alone: what memory gives. */
static void read_only(struct job *j)
{
    for (size_t i = 0; i < j->n; i++)
        j->sink += j->k->zero_run(j->pairs[i].b, j->pairs[i].len);
}

static void report(const char *what, void (*work)(struct job *), struct job *j)
{
    double best = 1e9;
    double bytes = (double)j->n * (double)j->pairs[0].len;
    for (int i = 0; i < 9; i++) {
        double start = now();
        work(j);
        double spent = now() - start;
        best = spent < best ? spent : best;
    }
    printf("  %-14s %6.2f GB/s\n", what, bytes / best * 1e-9);
}

int main(int argc, char **argv)
{
    size_t chunk = argc > 1 ? strtoul(argv[1], NULL, 0) : 16384;
    size_t stored_len = (argc > 2 ? strtoul(argv[2], NULL, 0) : 512) << 20;
    if (chunk < 64 || chunk > INCOMING || stored_len < 2 * INCOMING)
        return 2;
    size_t n = stored_len / chunk;
    uint8_t *incoming = calloc(1, INCOMING);
    uint8_t *stored = malloc(stored_len);
    struct job j = {.k = fold_kernels(), .n = n};
    j.pairs = malloc(n * sizeof *j.pairs);
    j.same = malloc((n / 64 + 1) * 8);
    if (incoming == NULL || stored == NULL || j.pairs == NULL || j.same == NULL)
        return 1;
    memset(stored, 0, stored_len); /* zeros, so that zero_run reads all of it */
    uint64_t seed = 1;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        j.pairs[i] = (struct fold_compare_pair){incoming + (seed >> 20) % (INCOMING - chunk + 1),
                                                stored + (seed >> 33) % n * chunk, chunk};
    }
    printf("%zu bytes a chunk, level %s\n", chunk, fold_level_name(j.k->level));
    report("read alone", read_only, &j);
    report("memcmp", by_memcmp, &j);
    report("compare", one_by_one, &j);
    report("compare_batch", in_a_batch, &j);
    free(incoming);
    free(stored);
    free(j.pairs);
    free(j.same);
    return j.sink == 1;
}
