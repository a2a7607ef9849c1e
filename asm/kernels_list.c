/* SPDX-License-Identifier: MIT */
/*
 * Listing and timing. Inputs are small enough to stay in the second-level cache, except the filter,
 * which is as large as one for millions of keys. The best of several rounds counts: other programs
 * only ever make a round slower.
 */
#include "asm/kernels_list.h"

#include "asm/compare.h"
#include "asm/xxh3.h"
#include "asm/probe.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUFFER       (1u << 20)
#define PIECE        (16u << 10)
#define SECONDS      0.1 /* of CPU time */
#define PATIENCE     0.5 /* seconds, however busy the machine is */
#define PROBE_KEYS   4096u
#define PROBE_ROOTS  64u
#define PROBE_LINES  FOLD_PROBE_MIN_LINES
#define PROBE_FRAMES (PROBE_LINES / FOLD_PROBE_FRAME_LINES)

struct input {
    const struct fold_kernels *k;
    uint8_t *a; /* BUFFER bytes each */
    uint8_t *b;
    struct fold_probe_table table;
    uint64_t *keys;
    uint64_t *dir;
    uint64_t *frames;
    uint8_t *lines;
    volatile uint64_t sink;
};

/* Does the work once and returns how much: bytes, keys or calls. */
typedef double work_fn(struct input *in);

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Cuts the buffer as the chunker does for chunks of 16 KiB: minimum 8 KiB, then two thresholds. */
static double work_cdc(struct input *in)
{
    size_t at = 0;
    while (at + 4 * PIECE < BUFFER) {
        const uint8_t *p = in->a + at;
        size_t cut = in->k->cdc_scan(p, PIECE / 2, PIECE, 32767 - 5);
        if (cut == PIECE)
            cut = in->k->cdc_scan(p, PIECE, 4 * PIECE, 32767 - 19);
        at += cut;
    }
    return (double)at;
}

static double work_fingerprint(struct input *in)
{
    uint64_t out[2];
    uint64_t sum = 0;
    for (size_t at = 0; at < BUFFER; at += PIECE) {
        in->k->fingerprint(in->a + at, PIECE, in->a, out);
        sum += out[0];
    }
    in->sink = sum;
    return BUFFER;
}

static double work_crc32c(struct input *in)
{
    in->sink = in->k->crc32c(0, in->a, BUFFER);
    return BUFFER;
}

static double work_crc32(struct input *in)
{
    in->sink = in->k->crc32(0, in->a, BUFFER);
    return BUFFER;
}

static double work_probe(struct input *in)
{
    uint64_t maybe[PROBE_KEYS / 64];
    in->k->probe(&in->table, in->keys, PROBE_KEYS, maybe);
    in->sink = maybe[0];
    for (size_t i = 0; i < PROBE_KEYS; i++)
        in->keys[i] = in->keys[i] * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
    return PROBE_KEYS;
}

static double work_zero(struct input *in)
{
    in->sink = in->k->zero_run(in->b, BUFFER);
    return BUFFER;
}

static double work_compare(struct input *in)
{
    in->sink = in->k->compare(in->a, in->a + BUFFER / 2, BUFFER / 2);
    return BUFFER / 2.0;
}

/* Chunks of PIECE bytes, as many as a batch of the product may hold. */
static double work_compare_batch(struct input *in)
{
    enum { PAIRS = BUFFER / 2 / PIECE };
    struct fold_compare_pair pairs[PAIRS];
    uint64_t same[(PAIRS + 63) / 64];
    for (size_t i = 0; i < PAIRS; i++)
        pairs[i] =
            (struct fold_compare_pair){in->a + i * PIECE, in->a + BUFFER / 2 + i * PIECE, PIECE};
    in->k->compare_batch(pairs, PAIRS, same);
    in->sink = same[0];
    return BUFFER / 2.0;
}

static double work_entropy(struct input *in)
{
    unsigned sum = 0;
    for (size_t at = 0; at < BUFFER; at += PIECE)
        sum += in->k->entropy(in->a + at, PIECE);
    in->sink = sum;
    return BUFFER / PIECE;
}

static const struct {
    work_fn *work;
    const char *unit;
    double scale;
} benches[FOLD_KERNELS] = {
    [FOLD_KERNEL_CDC] = {work_cdc, "GB/s", 1e-9},
    [FOLD_KERNEL_FINGERPRINT] = {work_fingerprint, "GB/s", 1e-9},
    [FOLD_KERNEL_CRC32C] = {work_crc32c, "GB/s", 1e-9},
    [FOLD_KERNEL_CRC32] = {work_crc32, "GB/s", 1e-9},
    [FOLD_KERNEL_PROBE] = {work_probe, "Mkeys/s", 1e-6},
    [FOLD_KERNEL_ZERO] = {work_zero, "GB/s", 1e-9},
    [FOLD_KERNEL_COMPARE] = {work_compare, "GB/s", 1e-9},
    [FOLD_KERNEL_COMPARE_BATCH] = {work_compare_batch, "GB/s", 1e-9},
    [FOLD_KERNEL_ENTROPY] = {work_entropy, "Mcalls/s", 1e-6},
};

const char *fold_kernel_unit(enum fold_kernel kernel)
{
    return benches[kernel].unit;
}

/* Lines of noise with five entries in each group and nothing elsewhere, as in a filter that is
 * full. */
static void fill_lines(uint8_t *lines, size_t bytes, uint64_t *seed)
{
    const uint32_t header = 5 | 10 << 5 | 15 << 10 | 20 << 15 | 25 << 20;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t v = next_random(seed);
        memcpy(lines + i, &v, sizeof v);
    }
    for (size_t i = 0; i < bytes; i += 64)
        memcpy(lines + i + 60, &header, sizeof header);
}

/* A filter of PROBE_ROOTS regions. */
static bool make_filter(struct input *in, uint64_t *seed)
{
    size_t frame_bytes = (size_t)FOLD_PROBE_FRAME_LINES * 64;
    size_t frames = (size_t)PROBE_ROOTS * PROBE_FRAMES;
    in->keys = malloc(PROBE_KEYS * sizeof *in->keys);
    in->dir = malloc(PROBE_ROOTS * sizeof *in->dir);
    in->frames = malloc((frames + FOLD_PROBE_MAX_FRAMES) * sizeof *in->frames);
    in->lines = aligned_alloc(64, frames * frame_bytes);
    if (in->keys == NULL || in->dir == NULL || in->frames == NULL || in->lines == NULL)
        return false;
    fill_lines(in->lines, frames * frame_bytes, seed);
    for (size_t i = 0; i < PROBE_KEYS; i++)
        in->keys[i] = next_random(seed);
    for (size_t i = 0; i < PROBE_ROOTS; i++)
        in->dir[i] = PROBE_LINES | (uint64_t)(i * PROBE_FRAMES) << 24;
    for (size_t i = 0; i < frames + FOLD_PROBE_MAX_FRAMES; i++)
        in->frames[i] = (uint64_t)(uintptr_t)(in->lines + (i < frames ? i : 0) * frame_bytes);
    in->table = (struct fold_probe_table){
        .dir = in->dir, .frames = in->frames, .roots = PROBE_ROOTS, .dir_bits = 0, .ages = 0};
    return true;
}

static bool make_input(struct input *in, const struct fold_kernels *k, enum fold_kernel kernel)
{
    uint64_t seed = 1;
    memset(in, 0, sizeof *in);
    in->k = k;
    in->a = aligned_alloc(64, BUFFER);
    in->b = aligned_alloc(64, BUFFER);
    if (in->a == NULL || in->b == NULL)
        return false;
    for (size_t i = 0; i < BUFFER; i += 8) {
        uint64_t v = next_random(&seed);
        memcpy(in->a + i, &v, sizeof v);
    }
    memset(in->b, 0, BUFFER);
    if (kernel == FOLD_KERNEL_COMPARE || kernel == FOLD_KERNEL_COMPARE_BATCH)
        memcpy(in->a, in->a + BUFFER / 2, BUFFER / 2);
    return kernel != FOLD_KERNEL_PROBE || make_filter(in, &seed);
}

static void free_input(struct input *in)
{
    free(in->a);
    free(in->b);
    free(in->keys);
    free(in->dir);
    free(in->frames);
    free(in->lines);
}

static double now(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* CPU time, so that being interrupted does not count. */
static double spent(void)
{
    return now(CLOCK_THREAD_CPUTIME_ID);
}

double fold_kernel_rate(const struct fold_kernels *k, enum fold_kernel kernel)
{
    struct input in;
    double best = 0;
    if (make_input(&in, k, kernel)) {
        double end = spent() + SECONDS;
        double give_up = now(CLOCK_MONOTONIC) + PATIENCE;
        double start = spent();
        while (start < end && (best == 0 || now(CLOCK_MONOTONIC) < give_up)) {
            double done = 0;
            /* A round is long enough for the clock, short enough to fit between two interruptions,
             * and the clock is not asked often enough to matter. */
            double stop = start;
            while (stop - start < 2e-4) {
                for (int i = 0; i < 8; i++)
                    done += benches[kernel].work(&in);
                stop = spent();
            }
            double rate = done / (stop - start) * benches[kernel].scale;
            best = rate > best ? rate : best;
            start = spent();
        }
    }
    free_input(&in);
    return best;
}

size_t fold_kernels_list(bool bench, struct fold_kernel_row *rows)
{
    size_t n = 0;
    const struct fold_kernels *mine = fold_kernels();
    enum fold_level top = fold_cpu_level(fold_cpu_flags());
    for (int kernel = 0; kernel < FOLD_KERNELS; kernel++) {
        for (int level = 0; level <= (int)top; level++) {
            struct fold_kernels k;
            unsigned flags = fold_cpu_flags();
            (void)fold_cpu_limit(&flags, fold_level_name((enum fold_level)level));
            fold_kernels_select(flags, &k);
            if ((int)k.chosen[kernel] != level)
                continue;
            rows[n++] = (struct fold_kernel_row){
                .kernel = (enum fold_kernel)kernel,
                .level = (enum fold_level)level,
                .name = fold_kernel_name((enum fold_kernel)kernel),
                .level_name = fold_level_name((enum fold_level)level),
                .selected = mine->chosen[kernel] == k.chosen[kernel],
                .unit = fold_kernel_unit((enum fold_kernel)kernel),
                .rate = bench ? fold_kernel_rate(&k, (enum fold_kernel)kernel) : 0,
            };
        }
    }
    return n;
}
