/* SPDX-License-Identifier: MIT */
/*
 * Is there a size at which the path of a buffer falls off a cliff? Buffers of 4 KiB to 48 MiB, one
 * after the other out of a stream that no cache holds, go through hand-over (a copy, as for small
 * requests), zero test, cutting, fingerprint, checksum and comparison with a stored copy. GB/s of
 * each step alone and of all together; the last column is the total against the neighbour before.
 */
#include "asm/kernels.h"
#include "chunker/cutter.h"
#include "hashing/fingerprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STREAM (192u << 20)
#define AVG    16384u
#define ROUNDS 11

enum step { COPY, ZERO, CUT, HASH, CRC, COMPARE, STEPS };

static const char *const step_names[STEPS] = {"copy", "zero", "cut", "hash", "crc", "compare"};

struct job {
    const struct fold_kernels *k;
    struct fold_cut cut;
    struct fold_hasher hasher;
    uint8_t *stream;
    uint8_t *stored;
    uint8_t *buffer;
    double spent[STEPS];
    uint64_t sink;
};

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static size_t next_cut(const struct job *j, const uint8_t *p, size_t left)
{
    size_t n = fold_cut_next(&j->cut, p, left);
    return n != 0 ? n : left;
}

static void hash(struct job *j, const uint8_t *p, size_t n)
{
    struct fold_fp fp;
    fold_hasher_one(&j->hasher, p, n, &fp);
    j->sink ^= fp.w[0];
}

/* One buffer through all steps, each over the whole buffer: the clock is read between them. */
static void one(struct job *j, size_t at, size_t size)
{
    const uint8_t *p = j->buffer;
    double t[STEPS + 1];
    t[0] = now();
    memcpy(j->buffer, j->stream + at, size);
    t[1] = now();
    j->sink += j->k->data_run(p, size, 4096);
    t[2] = now();
    for (size_t i = 0; i < size;)
        i += next_cut(j, p + i, size - i);
    t[3] = now();
    for (size_t i = 0; i < size; i += AVG)
        hash(j, p + i, size - i < AVG ? size - i : AVG);
    t[4] = now();
    for (size_t i = 0; i < size; i += AVG)
        j->sink ^= j->k->crc32c(0, p + i, size - i < AVG ? size - i : AVG);
    t[5] = now();
    j->sink += j->k->compare(p, j->stored + at, size);
    t[6] = now();
    for (int s = 0; s < STEPS; s++)
        j->spent[s] += t[s + 1] - t[s];
}

static double one_size(struct job *j, size_t size, double before)
{
    double best[STEPS];
    size_t count = size < STREAM / 4 ? STREAM / 4 / size : 1;
    count = count < 1000 ? count : 1000;
    double bytes = (double)count * (double)size;
    double total = 0;
    for (int round = 0; round < ROUNDS; round++) {
        memset(j->spent, 0, sizeof j->spent);
        for (size_t i = 0; i < count; i++)
            one(j, (i + (size_t)round * count) * size % (STREAM - size), size);
        for (int s = 0; s < STEPS; s++)
            best[s] = round == 0 || j->spent[s] < best[s] ? j->spent[s] : best[s];
    }
    printf("%8zu K", size >> 10);
    for (int s = 0; s < STEPS; s++) {
        printf(" %8.2f", bytes / best[s] * 1e-9);
        total += best[s];
    }
    double rate = bytes / total * 1e-9;
    printf(" %8.2f %7.2f\n", rate, before > 0 ? rate / before : 1.0);
    return rate;
}

int main(void)
{
    struct job j = {.k = fold_kernels()};
    uint8_t secret[FOLD_SECRET_BYTES];
    uint64_t seed = 1;
    double before = 0;
    j.stream = malloc(STREAM);
    j.stored = malloc(STREAM);
    j.buffer = malloc(48u << 20);
    if (j.stream == NULL || j.stored == NULL || j.buffer == NULL)
        return 1;
    for (size_t i = 0; i < STREAM; i += 8) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t v = seed ^ seed >> 29;
        memcpy(j.stream + i, &v, sizeof v);
    }
    memcpy(j.stored, j.stream, STREAM);
    memcpy(secret, j.stream, sizeof secret);
    memset(j.buffer, 1, 48u << 20);
    fold_hasher_init(&j.hasher, FOLD_HASH_XXH3, secret);
    (void)fold_cut_init(&j.cut, FOLD_CUT_CDC, AVG);
    printf("%10s", "GB/s");
    for (int s = 0; s < STEPS; s++)
        printf(" %8s", step_names[s]);
    printf(" %8s %7s\n", "all", "step");
    for (size_t size = 4096; size <= 48u << 20; size *= 2) {
        before = one_size(&j, size, before);
        if (size * 3 / 2 <= 48u << 20)
            before = one_size(&j, size * 3 / 2, before);
    }
    free(j.stream);
    free(j.stored);
    free(j.buffer);
    return j.sink == 1;
}
