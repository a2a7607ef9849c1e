/* SPDX-License-Identifier: MIT */
/*
 * What it is worth to do all work on a chunk while it is in the cache.
 *
 *     fold_bench_fused [MIB]
 *
 * The pipeline finds zero runs, cuts, fingerprints and checksums. "Fused": each chunk is treated
 * right after it was cut. "Passes": each step runs over the whole stream before the next. Both on a
 * hot 1 MiB buffer and on a stream of MIB (64) mebibytes that no second-level cache holds.
 */
#include "asm/kernels.h"
#include "chunker/cutter.h"
#include "hashing/fingerprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define AVG 16384u

struct job {
    const struct fold_kernels *k;
    struct fold_cut cut;
    struct fold_hasher hasher;
    const uint8_t *data;
    size_t len;
    size_t *ends; /* of chunks */
    size_t chunks;
    uint64_t sink;
};

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static size_t next_cut(const struct job *j, size_t at)
{
    size_t n = fold_cut_next(&j->cut, j->data + at, j->len - at);
    return n != 0 ? n : j->len - at;
}

static void fingerprint(struct job *j, const uint8_t *p, size_t n)
{
    struct fold_fp fp;
    fold_hasher_one(&j->hasher, p, n, &fp);
    j->sink ^= fp.w[0];
}

static void fused(struct job *j)
{
    for (size_t at = 0; at < j->len;) {
        const uint8_t *p = j->data + at;
        size_t n = next_cut(j, at);
        j->sink += j->k->data_run(p, n, 4096);
        fingerprint(j, p, n);
        j->sink ^= j->k->crc32c(0, p, n);
        at += n;
    }
}

static void passes(struct job *j)
{
    j->sink += j->k->data_run(j->data, j->len, 4096);
    j->chunks = 0;
    for (size_t at = 0; at < j->len; j->chunks++) {
        at += next_cut(j, at);
        j->ends[j->chunks] = at;
    }
    for (size_t i = 0, at = 0; i < j->chunks; at = j->ends[i++])
        fingerprint(j, j->data + at, j->ends[i] - at);
    for (size_t i = 0, at = 0; i < j->chunks; at = j->ends[i++])
        j->sink ^= j->k->crc32c(0, j->data + at, j->ends[i] - at);
}

static void scan_only(struct job *j)
{
    for (size_t at = 0; at < j->len;)
        at += next_cut(j, at);
}

static void scan_and_hash(struct job *j)
{
    for (size_t at = 0; at < j->len;) {
        size_t n = next_cut(j, at);
        fingerprint(j, j->data + at, n);
        at += n;
    }
}

static void report(const char *what, void (*work)(struct job *), struct job *j)
{
    double best = 1e9;
    int rounds = j->len > (8u << 20) ? 7 : 200;
    for (int i = 0; i < rounds; i++) {
        double start = now();
        work(j);
        double spent = now() - start;
        best = spent < best ? spent : best;
    }
    printf("  %-34s %6.2f GB/s\n", what, (double)j->len / best * 1e-9);
}

static void all(struct job *j)
{
    printf("%zu KiB\n", j->len >> 10);
    report("cut", scan_only, j);
    report("cut, fingerprint", scan_and_hash, j);
    report("zero, cut, fingerprint, crc: fused", fused, j);
    report("the same in separate passes", passes, j);
}

int main(int argc, char **argv)
{
    size_t len = (argc > 1 ? strtoul(argv[1], NULL, 0) : 64) << 20;
    uint8_t *data = malloc(len + 8);
    uint64_t seed = 1;
    uint8_t secret[FOLD_SECRET_BYTES];
    struct job j = {.k = fold_kernels(), .data = data, .len = len};
    j.ends = malloc((len / 1024 + 16) * sizeof *j.ends);
    if (data == NULL || j.ends == NULL || len < 1u << 20)
        return 1;
    for (size_t i = 0; i < len; i += 8) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t v = seed ^ seed >> 29;
        memcpy(data + i, &v, sizeof v);
    }
    memcpy(secret, data, sizeof secret);
    fold_hasher_init(&j.hasher, FOLD_HASH_XXH3, secret);
    (void)fold_cut_init(&j.cut, FOLD_CUT_CDC, AVG);
    printf("level %s\n", fold_level_name(j.k->level));
    all(&j);
    j.len = 1u << 20;
    all(&j);
    free(data);
    free(j.ends);
    return j.sink == 1; /* keeps the results alive */
}
