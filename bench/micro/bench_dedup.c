/* SPDX-License-Identifier: MIT */
/*
 * Savings of our chunker against FastCDC at equal mean chunk length.
 *
 *     fold_bench_dedup PATH...
 *
 * Each file named or below a named directory is one stream. For every target size FastCDC runs with
 * normal lengths around the target, three gear tables each, and its savings are interpolated at the
 * mean length that our chunker has on the same data. Savings count whole duplicate chunks; no
 * compression, no metadata.
 */
#include "bench/micro/fastcdc.h"
#include "chunker/cutter.h"

#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define POINTS 5
#define SEEDS  3

struct stream {
    const uint8_t *data;
    size_t len;
};

struct piece {
    XXH128_hash_t hash;
    size_t len;
};

struct result {
    double savings; /* percent */
    double mean;    /* bytes */
    double seconds; /* cutting alone */
};

static struct stream *streams;
static size_t stream_count;
static struct piece *pieces;
static size_t piece_count;
static size_t piece_room;

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int add_file(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)where;
    if (kind != FTW_F || !S_ISREG(st->st_mode) || st->st_size == 0)
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    void *map = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    (void)close(fd);
    if (map == MAP_FAILED)
        return 0;
    if (stream_count % 1024 == 0) {
        struct stream *more = realloc(streams, (stream_count + 1024) * sizeof *streams);
        if (more == NULL)
            return 1;
        streams = more;
    }
    streams[stream_count++] = (struct stream){map, (size_t)st->st_size};
    return 0;
}

static void add_piece(const uint8_t *data, size_t len)
{
    if (piece_count == piece_room) {
        piece_room = piece_room * 2 + 4096;
        pieces = realloc(pieces, piece_room * sizeof *pieces);
        if (pieces == NULL)
            abort();
    }
    pieces[piece_count++] = (struct piece){XXH3_128bits(data, len), len};
}

static int by_hash(const void *a, const void *b)
{
    return memcmp(&((const struct piece *)a)->hash, &((const struct piece *)b)->hash,
                  sizeof(XXH128_hash_t));
}

static struct result finish(double seconds)
{
    double total = 0;
    double unique = 0;
    qsort(pieces, piece_count, sizeof *pieces, by_hash);
    for (size_t i = 0; i < piece_count; i++) {
        total += (double)pieces[i].len;
        if (i == 0 || by_hash(&pieces[i], &pieces[i - 1]) != 0)
            unique += (double)pieces[i].len;
    }
    return (struct result){100 * (total - unique) / total, total / (double)piece_count, seconds};
}

typedef size_t next_fn(const void *law, const uint8_t *data, size_t len);

static size_t next_fastcdc(const void *law, const uint8_t *data, size_t len)
{
    return fastcdc_next(law, data, len);
}

static size_t next_fold(const void *law, const uint8_t *data, size_t len)
{
    size_t n = fold_cut_next(law, data, len);
    return n != 0 ? n : len;
}

/* Cuts everything: once for the time, once more for the hashes. */
static struct result chunk(next_fn *next, const void *law)
{
    volatile size_t sink = 0;
    double start = now();
    for (size_t s = 0; s < stream_count; s++)
        for (size_t at = 0; at < streams[s].len; at += sink)
            sink = next(law, streams[s].data + at, streams[s].len - at);
    double seconds = now() - start;
    piece_count = 0;
    for (size_t s = 0; s < stream_count; s++) {
        for (size_t at = 0; at < streams[s].len;) {
            size_t n = next(law, streams[s].data + at, streams[s].len - at);
            add_piece(streams[s].data + at, n);
            at += n;
        }
    }
    return finish(seconds);
}

/* FastCDC around a target: masks as they are for it, lengths stretched; averaged over gear tables.
 */
static void reference(unsigned bits, struct result *out)
{
    for (int p = 0; p < POINTS; p++) {
        double avg = ldexp(1, (int)bits) * (0.6 + 0.2 * p);
        out[p] = (struct result){0, 0, 0};
        for (int s = 0; s < SEEDS; s++) {
            struct fastcdc f;
            fastcdc_init_lengths(&f, (size_t)(avg / 4), (size_t)avg, (size_t)(8 * avg), bits,
                                 (uint64_t)s + 1);
            struct result r = chunk(next_fastcdc, &f);
            out[p].savings += r.savings / SEEDS;
            out[p].mean += r.mean / SEEDS;
            out[p].seconds += r.seconds / SEEDS;
        }
    }
}

static double interpolate(const struct result *r, double mean)
{
    int p = 0;
    while (p < POINTS - 2 && mean > r[p + 1].mean)
        p++;
    double share = log(mean / r[p].mean) / log(r[p + 1].mean / r[p].mean);
    return r[p].savings + share * (r[p + 1].savings - r[p].savings);
}

int main(int argc, char **argv)
{
    double total = 0;
    for (int i = 1; i < argc; i++)
        if (nftw(argv[i], add_file, 64, FTW_PHYS) != 0)
            return 1;
    for (size_t s = 0; s < stream_count; s++)
        total += (double)streams[s].len;
    if (total == 0) {
        (void)fprintf(stderr, "usage: %s PATH...\n", argv[0]);
        return 2;
    }
    printf("%zu streams, %.1f MB\n", stream_count, total * 1e-6);
    for (unsigned bits = 12; bits <= 16; bits++) {
        struct result ref[POINTS];
        struct fold_cut cut;
        (void)fold_cut_init(&cut, FOLD_CUT_CDC, 1u << bits);
        struct result ours = chunk(next_fold, &cut);
        reference(bits, ref);
        double want = interpolate(ref, ours.mean);
        printf(
            "target %6u: mean %8.0f savings %6.2f %% at %5.2f GB/s; FastCDC at that mean %6.2f %%, "
            "%4.2f GB/s; difference %+.2f\n",
            1u << bits, ours.mean, ours.savings, total / ours.seconds * 1e-9, want,
            total / ref[2].seconds * 1e-9, ours.savings - want);
        (void)fflush(stdout);
    }
    return 0;
}
