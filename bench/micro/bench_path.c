/* SPDX-License-Identifier: MIT */
/*
 * The data path in one process, without the kernel's side: buffers of one size after the other are
 * handed over (a copy), cut, fingerprinted, looked up and appended to a store of their own, read
 * back out of the mapping, and sent through a pipe as a reply is sent through /dev/fuse (the kernel
 * copies out of the pages given). The other columns send a reply that was first copied to a buffer,
 * store what is known already (lookup and comparison), and store new data with a lookup and an
 * append for each chunk instead of batches. MB per second of CPU
 * time, which other work on the machine disturbs least, best of the rounds; nothing is forced to
 * disk. fold_bench_path [DIRECTORY [ROUNDS]]     default /var/tmp 3
 */
#include "chunker/cutter.h"
#include "hashing/dedup.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define STREAM    (96u << 20)
#define AVG       16384u
#define HEADER    16u
#define MAX_REPLY (1u << 20)

enum step { HAND, CUT, HASH, STORE, FIRST, AGAIN, COPIED, KNOWN, SINGLE, STEPS };

static const char *const step_names[STEPS] = {"hand-over", "cut",    "hash",  "store", "first read",
                                              "read",      "copied", "known", "single"};

struct path {
    uint8_t *stream;
    uint8_t *buffer;
    struct fold_chunk *chunks;
    size_t count;
    struct fold_cut cut;
    struct fold_store *store;
    struct fold_dedup *dedup;
    int pipe[2];
    int null;
    double spent[STEPS];
};

static void check(int rc, const char *what)
{
    if (rc >= 0)
        return;
    (void)fprintf(stderr, "bench_path: %s: error %d\n", what, rc);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Time since `start` without that of asking for it. */
static double since(double start)
{
    static double asking = -1;
    while (asking < 0) {
        double first = now();
        double last = first;
        for (int i = 0; i < 10000; i++)
            last = now();
        asking = (last - first) / 10000;
    }
    double t = now() - start - asking;
    return t > 0 ? t : 0;
}

static void fill(uint8_t *p, size_t len, uint64_t seed)
{
    for (size_t i = 0; i < len; i += 8) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t v = seed ^ seed >> 29;
        memcpy(p + i, &v, sizeof v);
    }
}

/* Sends header and payload and lets the kernel throw them away without touching them. */
static void reply(const struct path *b, const void *payload, size_t len)
{
    static uint8_t header[HEADER];
    for (size_t done = 0; done < len;) {
        size_t part = len - done < MAX_REPLY / 2 ? len - done : MAX_REPLY / 2;
        struct iovec v[2] = {{header, HEADER}, {(uint8_t *)(uintptr_t)payload + done, part}};
        if (writev(b->pipe[1], v, 2) != (ssize_t)(part + HEADER))
            check(-EIO, "writev");
        for (ssize_t left = (ssize_t)(part + HEADER); left > 0;) {
            ssize_t n = splice(b->pipe[0], NULL, b->null, NULL, (size_t)left, 0);
            check(n > 0 ? 0 : -EIO, "splice");
            left -= n;
        }
        done += part;
    }
}

/* Hands one buffer over, cuts it and fingerprints its chunks. */
static void prepare(struct path *b, const uint8_t *from, size_t size)
{
    double start = now();
    memcpy(b->buffer, from, size);
    b->spent[HAND] += since(start);
    start = now();
    b->count = 0;
    for (size_t at = 0; at < size;) {
        size_t n = fold_cut_next(&b->cut, b->buffer + at, size - at);
        n = n != 0 ? n : size - at;
        b->chunks[b->count++] = (struct fold_chunk){.data = b->buffer + at, .len = (uint32_t)n};
        at += n;
    }
    b->spent[CUT] += since(start);
    start = now();
    for (size_t i = 0; i < b->count; i++)
        fold_dedup_fingerprint(b->dedup, &b->chunks[i]);
    b->spent[HASH] += since(start);
}

static void store(struct path *b, size_t per_batch, enum step step)
{
    double start = now();
    for (size_t i = 0; i < b->count; i += per_batch) {
        size_t n = b->count - i < per_batch ? b->count - i : per_batch;
        check(fold_dedup_store(b->dedup, &b->chunks[i], n), "store");
    }
    b->spent[step] += since(start);
}

static void read_back(struct path *b, enum step step)
{
    static uint8_t bounce[4 * AVG];
    double start = now();
    for (size_t i = 0; i < b->count; i++) {
        struct fold_view v;
        check(fold_store_view(b->store, b->chunks[i].loc, &v), "view");
        if (v.codec != FOLD_CODEC_NONE)
            check(-EINVAL, "random data was compressed");
        if (step == COPIED) {
            memcpy(bounce, v.payload, v.raw_len);
            reply(b, bounce, v.raw_len);
        } else {
            reply(b, v.payload, v.raw_len);
        }
        fold_store_unview(b->store, &v);
    }
    b->spent[step] += since(start);
}

static int drop(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

/* Stores the first `len` bytes of the stream in buffers of `size`; only the storing is timed. */
static void store_again(struct path *b, size_t size, size_t len, size_t per_batch, enum step step)
{
    for (size_t at = 0; at + size <= len; at += size) {
        double kept[3] = {b->spent[HAND], b->spent[CUT], b->spent[HASH]};
        prepare(b, b->stream + at, size);
        memcpy(b->spent, kept, sizeof kept);
        store(b, per_batch, step);
    }
}

static void one_round(struct path *b, const char *dir, size_t size, uint64_t seed)
{
    char place[4096];
    uint8_t secret[FOLD_SECRET_BYTES];
    const struct fold_store_options opt = {.fp_width = 16, .codec = FOLD_CODEC_LZ4};
    (void)snprintf(place, sizeof place, "%s/fold-bench-XXXXXX", dir);
    check(mkdtemp(place) != NULL ? 0 : -errno, "mkdtemp");
    int fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    check(fd, "open");
    fill(b->stream, STREAM, seed);
    memcpy(secret, b->stream, sizeof secret);
    check(fold_store_format(fd), "format");
    check(fold_store_open(fd, &opt, &b->store), "store");
    check(fold_dedup_open(b->store, fd, FOLD_HASH_XXH3, secret, false, &b->dedup), "dedup");
    memset(b->spent, 0, sizeof b->spent);
    size_t half = size > STREAM / 4 ? STREAM : STREAM / 2;
    for (size_t at = 0; at + size <= half; at += size) {
        prepare(b, b->stream + at, size);
        store(b, FOLD_DEDUP_BATCH / 2, STORE);
        read_back(b, FIRST);
        read_back(b, AGAIN);
        read_back(b, COPIED);
    }
    store_again(b, size, half, FOLD_DEDUP_BATCH / 2, KNOWN);
    fill(b->stream, STREAM, ~seed);
    store_again(b, size, half, 1, SINGLE);
    fold_dedup_close(b->dedup, false, fd);
    (void)fold_store_close(b->store, false);
    (void)close(fd);
    (void)nftw(place, drop, 16, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {4u << 10, 16u << 10, 64u << 10, 256u << 10,
                                   1u << 20, 4u << 20,  16u << 20, 48u << 20};
    struct path b = {.stream = malloc(STREAM), .buffer = malloc(48u << 20)};
    const char *dir = argc > 1 ? argv[1] : "/var/tmp";
    int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 3;
    b.chunks = calloc((48u << 20) / 4096, sizeof *b.chunks);
    b.null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (b.stream == NULL || b.buffer == NULL || b.chunks == NULL || b.null < 0 || pipe(b.pipe) != 0)
        return 1;
    check(fcntl(b.pipe[1], F_SETPIPE_SZ, MAX_REPLY) >= 0 ? 0 : -errno, "pipe size");
    memset(b.buffer, 1, 48u << 20);
    (void)fold_cut_init(&b.cut, FOLD_CUT_CDC, AVG);
    printf("%8s", "MB/s");
    for (int s = 0; s < STEPS; s++)
        printf(" %10s", step_names[s]);
    printf(" %10s\n", "write");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        double best[STEPS];
        size_t half = sizes[i] > STREAM / 4 ? STREAM : STREAM / 2;
        double bytes = (double)(half / sizes[i] * sizes[i]);
        for (int round = 0; round < rounds; round++) {
            one_round(&b, dir, sizes[i], (uint64_t)(i * 64 + (size_t)round) * 977 + 13);
            for (int s = 0; s < STEPS; s++)
                best[s] = round == 0 || b.spent[s] < best[s] ? b.spent[s] : best[s];
        }
        printf("%6zu K", sizes[i] >> 10);
        for (int s = 0; s < STEPS; s++)
            printf(" %10.0f", bytes / best[s] * 1e-6);
        printf(" %10.0f\n", bytes / (best[HAND] + best[CUT] + best[HASH] + best[STORE]) * 1e-6);
        (void)fflush(stdout);
    }
    free(b.stream);
    free(b.buffer);
    free(b.chunks);
    return 0;
}
