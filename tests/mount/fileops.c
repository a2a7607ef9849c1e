/* SPDX-License-Identifier: MIT */
/*
 * fileops FILE [--seed N] [--ops N] [--max BYTES] [--direct] [--no-mmap] [--trace] [--hook CMD]
 * [--hook-every N]
 *
 * Random reads, writes, mappings, truncates, holes and range copies on one file through several
 * handles, checked against a copy in memory after every step. The hook runs with the file closed
 * and should remount it.
 */
#include "tests/support/random.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HANDLES     5
#define PIECE       (256u << 10)
#define DIRECT_UNIT 4096u

struct exercise {
    const char *path;
    const char *hook;
    uint8_t *model; /* max bytes; zero beyond size */
    uint8_t *buf;   /* PIECE, aligned */
    uint8_t *pool;  /* contents are drawn from here */
    uint64_t size;
    uint64_t max;
    uint64_t seed;
    uint64_t state;
    uint64_t op;
    uint64_t ops;
    uint64_t hook_every;
    int fd[HANDLES]; /* 0: read-write, 1: write-only, 2: read-only, 3: read-write again, 4: direct
                        where asked for */
    bool direct;
    bool mmap;
    bool trace;
    char what[160];
};

static uint64_t below(struct exercise *x, uint64_t n)
{
    uint64_t random = rig_random_mixed(&x->state);
    return n ? (random >> 16) % n : 0;
}

static void fail(const struct exercise *x, const char *why, long long a, long long b)
{
    fprintf(stderr, "fileops: --seed %llu --ops %llu: %s: %s (%lld, expected %lld, errno %s)\n",
            (unsigned long long)x->seed, (unsigned long long)x->op + 1, x->what, why, a, b,
            strerror(errno));
    exit(1);
}

static void open_all(struct exercise *x)
{
    static const int flags[HANDLES] = {O_RDWR | O_CREAT, O_WRONLY, O_RDONLY, O_RDWR, O_RDWR};
    for (int i = 0; i < HANDLES; i++) {
        x->fd[i] = open(x->path, flags[i] | O_CLOEXEC | (i == 4 && x->direct ? O_DIRECT : 0), 0644);
        if (x->fd[i] < 0) {
            fail(x, "open", -1, 0);
        }
    }
}

static void close_all(struct exercise *x)
{
    for (int i = 0; i < HANDLES; i++) {
        if (close(x->fd[i]) != 0) {
            fail(x, "close", -1, 0);
        }
    }
}

static int reader(struct exercise *x)
{
    static const int which[] = {0, 2, 3};
    return x->fd[which[below(x, 3)]];
}

static int writer(struct exercise *x)
{
    static const int which[] = {0, 1, 3};
    return x->fd[which[below(x, 3)]];
}

static bool use_direct(struct exercise *x)
{
    return x->direct && below(x, 4) == 0;
}

static void range(struct exercise *x, uint64_t top, uint64_t *off, uint64_t *len, bool aligned)
{
    *off = below(x, top + 1);
    *len = below(x, below(x, 3) ? 20000 : PIECE) + 1;
    if (aligned || below(x, 4) == 0) {
        *off &= ~(uint64_t)(DIRECT_UNIT - 1);
        *len = (*len + DIRECT_UNIT - 1) & ~(uint64_t)(DIRECT_UNIT - 1);
    }
    if (*off + *len > x->max) {
        *len = x->max > *off ? x->max - *off : 0;
    }
}

static void fill(struct exercise *x, uint64_t len)
{
    uint64_t kind = below(x, 8);
    if (kind == 0) {
        memset(x->buf, 0, len);
    } else {
        memcpy(x->buf, x->pool + below(x, PIECE), len);
    }
    if (kind < 3 && len > 0) {
        memset(x->buf + below(x, len), kind == 1 ? 0 : (int)below(x, 256), 1);
    }
}

static void grow(struct exercise *x, uint64_t end)
{
    x->size = end > x->size ? end : x->size;
}

static void do_write(struct exercise *x)
{
    uint64_t off;
    uint64_t len;
    bool direct = use_direct(x);
    range(x, below(x, 3) ? x->size : x->max, &off, &len, direct);
    fill(x, len);
    snprintf(x->what, sizeof x->what, "%swrite %llu+%llu", direct ? "direct " : "",
             (unsigned long long)off, (unsigned long long)len);
    ssize_t n = pwrite(direct ? x->fd[4] : writer(x), x->buf, len, (off_t)off);
    if (n != (ssize_t)len) {
        fail(x, "short write", n, (long long)len);
    }
    memcpy(x->model + off, x->buf, len);
    grow(x, len ? off + len : 0);
}

static void check(struct exercise *x, const uint8_t *got, uint64_t off, uint64_t len)
{
    if (memcmp(got, x->model + off, len) != 0) {
        uint64_t i = 0;
        while (got[i] == x->model[off + i]) {
            i++;
        }
        fprintf(stderr, "fileops: at %llu: %02x, expected %02x\n", (unsigned long long)(off + i),
                got[i], x->model[off + i]);
        fail(x, "wrong bytes", (long long)(off + i), 0);
    }
}

static void do_read(struct exercise *x)
{
    uint64_t off;
    uint64_t len;
    bool direct = use_direct(x);
    range(x, x->size, &off, &len, direct);
    snprintf(x->what, sizeof x->what, "%sread %llu+%llu", direct ? "direct " : "",
             (unsigned long long)off, (unsigned long long)len);
    ssize_t n = pread(direct ? x->fd[4] : reader(x), x->buf, len, (off_t)off);
    uint64_t want = off >= x->size ? 0 : len < x->size - off ? len : x->size - off;
    if (n != (ssize_t)want) {
        fail(x, "short read", n, (long long)want);
    }
    check(x, x->buf, off, want);
}

static void do_map(struct exercise *x, bool store)
{
    if (x->size == 0) {
        return;
    }
    uint64_t off = below(x, x->size);
    uint64_t len = below(x, PIECE) + 1;
    len = len < x->size - off ? len : x->size - off;
    uint64_t base = off & ~(uint64_t)4095;
    snprintf(x->what, sizeof x->what, "map %s %llu+%llu", store ? "write" : "read",
             (unsigned long long)off, (unsigned long long)len);
    uint8_t *map = mmap(NULL, off - base + len, store ? PROT_READ | PROT_WRITE : PROT_READ,
                        MAP_SHARED, x->fd[0], (off_t)base);
    if (map == MAP_FAILED) {
        fail(x, "mmap", -1, 0);
    }
    check(x, map + (off - base), off, len);
    if (store) {
        fill(x, len);
        memcpy(map + (off - base), x->buf, len);
        memcpy(x->model + off, x->buf, len);
        if (below(x, 2) && msync(map, off - base + len, MS_SYNC) != 0) {
            fail(x, "msync", -1, 0);
        }
    }
    munmap(map, off - base + len);
}

static void do_truncate(struct exercise *x)
{
    uint64_t size = below(x, below(x, 2) ? x->size + 1 : x->max);
    snprintf(x->what, sizeof x->what, "truncate %llu -> %llu", (unsigned long long)x->size,
             (unsigned long long)size);
    if (ftruncate(writer(x), (off_t)size) != 0) {
        fail(x, "ftruncate", -1, 0);
    }
    if (size < x->size) {
        memset(x->model + size, 0, x->size - size);
    }
    x->size = size;
}

static void do_fallocate(struct exercise *x)
{
    static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    int mode = modes[below(x, 5)];
    uint64_t off;
    uint64_t len;
    range(x, x->size, &off, &len, false);
    if (len == 0) {
        return;
    }
    snprintf(x->what, sizeof x->what, "fallocate %d %llu+%llu", mode, (unsigned long long)off,
             (unsigned long long)len);
    if (fallocate(writer(x), mode, (off_t)off, (off_t)len) != 0) {
        fail(x, "fallocate", -1, 0);
    }
    if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
        memset(x->model + off, 0, len);
    }
    if (!(mode & FALLOC_FL_KEEP_SIZE)) {
        grow(x, off + len);
    }
}

static void do_copy(struct exercise *x)
{
    uint64_t from;
    uint64_t to;
    uint64_t len;
    range(x, x->size, &from, &len, false);
    to = below(x, x->max - len + 1);
    if (from + len > x->size) {
        len = x->size - from;
    }
    if (len == 0 || (from < to + len && to < from + len)) {
        return;
    }
    snprintf(x->what, sizeof x->what, "copy range %llu+%llu -> %llu", (unsigned long long)from,
             (unsigned long long)len, (unsigned long long)to);
    off_t in = (off_t)from;
    off_t out = (off_t)to;
    for (uint64_t left = len; left > 0;) {
        ssize_t n = copy_file_range(x->fd[2], &in, x->fd[3], &out, left, 0);
        if (n <= 0) {
            fail(x, "copy_file_range", n, (long long)left);
        }
        left -= (uint64_t)n;
    }
    memcpy(x->model + to, x->model + from, len);
    grow(x, to + len);
}

static void do_check_size(struct exercise *x)
{
    for (int i = 0; i < HANDLES; i++) {
        struct stat st;
        if (fstat(x->fd[i], &st) != 0 || (uint64_t)st.st_size != x->size) {
            fail(x, "size", (long long)st.st_size, (long long)x->size);
        }
    }
}

static void do_check_all(struct exercise *x)
{
    snprintf(x->what, sizeof x->what, "check of the whole file");
    int fd = reader(x);
    for (uint64_t off = 0; off < x->size; off += PIECE) {
        uint64_t want = x->size - off < PIECE ? x->size - off : PIECE;
        ssize_t n = pread(fd, x->buf, want, (off_t)off);
        if (n != (ssize_t)want) {
            fail(x, "short read", n, (long long)want);
        }
        check(x, x->buf, off, want);
    }
}

static void do_reopen(struct exercise *x, bool hook)
{
    snprintf(x->what, sizeof x->what, hook ? "hook" : "reopen");
    close_all(x);
    if (hook && system(x->hook) != 0) {
        fail(x, "hook", 1, 0);
    }
    open_all(x);
    do_check_size(x);
    do_check_all(x);
}

static void one_op(struct exercise *x)
{
    uint64_t kind = below(x, 100);
    if (kind < 30) {
        do_write(x);
    } else if (kind < 55) {
        do_read(x);
    } else if (kind < 70) {
        if (x->mmap) {
            do_map(x, kind < 63);
        }
    } else if (kind < 77) {
        do_truncate(x);
    } else if (kind < 86) {
        do_fallocate(x);
    } else if (kind < 93) {
        do_copy(x);
    } else if (kind < 96) {
        snprintf(x->what, sizeof x->what, "sync");
        if ((kind == 94 ? fsync(writer(x)) : fdatasync(writer(x))) != 0) {
            fail(x, "fsync", -1, 0);
        }
    } else if (kind < 97) {
        do_reopen(x, false);
    } else {
        do_check_all(x);
    }
    do_check_size(x);
    if (x->trace) {
        fprintf(stderr, "%llu %s\n", (unsigned long long)x->op, x->what);
    }
}

static void parse(struct exercise *x, int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", 1, NULL, 's'},   {"ops", 1, NULL, 'n'},        {"max", 1, NULL, 'm'},
        {"direct", 0, NULL, 'd'}, {"no-mmap", 0, NULL, 'M'},    {"trace", 0, NULL, 't'},
        {"hook", 1, NULL, 'h'},   {"hook-every", 1, NULL, 'e'}, {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 's':
            x->seed = strtoull(optarg, NULL, 0);
            break;
        case 'n':
            x->ops = strtoull(optarg, NULL, 0);
            break;
        case 'm':
            x->max = strtoull(optarg, NULL, 0);
            break;
        case 'd':
            x->direct = true;
            break;
        case 'M':
            x->mmap = false;
            break;
        case 't':
            x->trace = true;
            break;
        case 'h':
            x->hook = optarg;
            break;
        case 'e':
            x->hook_every = strtoull(optarg, NULL, 0);
            break;
        default:
            exit(2);
        }
    }
    if (argc - optind != 1 || x->max < PIECE || x->max % DIRECT_UNIT || x->hook_every == 0) {
        fprintf(stderr,
                "usage: fileops FILE [--seed N] [--ops N] [--max BYTES (>= 256 KiB)] [--direct]\n"
                "       [--no-mmap] [--trace] [--hook CMD] [--hook-every N]\n");
        exit(2);
    }
    x->path = argv[optind];
}

int main(int argc, char **argv)
{
    static struct exercise x = {.max = 2u << 20, .ops = 5000, .hook_every = 1000, .mmap = true};
    x.seed = (uint64_t)time(NULL);
    parse(&x, argc, argv);
    x.state = x.seed * 0x9e3779b97f4a7c15u + 0x1234567;
    x.model = calloc(1, x.max + PIECE);
    x.buf = aligned_alloc(4096, PIECE);
    x.pool = malloc(2 * PIECE);
    if (!x.model || !x.buf || !x.pool) {
        return 2;
    }
    for (size_t i = 0; i < 2 * PIECE; i++) {
        x.pool[i] = (uint8_t)(i % 8192 < 4096 ? below(&x, 256) : 'a' + below(&x, 4));
    }
    open_all(&x);
    for (x.op = 0; x.op < x.ops; x.op++) {
        if (x.hook && x.op % x.hook_every == x.hook_every - 1) {
            do_reopen(&x, true);
        } else {
            one_op(&x);
        }
    }
    do_check_all(&x);
    close_all(&x);
    printf("fileops: seed %llu, %llu operations: good\n", (unsigned long long)x.seed,
           (unsigned long long)x.ops);
    return 0;
}
