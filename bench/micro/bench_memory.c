/* SPDX-License-Identifier: MIT */
/*
 * Memory of what finds duplicates: fills filter and fingerprint index with synthetic chunks and
 * reports resident anonymous memory, the filter's bits a key, and the index's size on disk.
 *   fold_bench_memory [FILTER_MILLIONS [INDEX_MILLIONS [CACHE_MIB [DIRECTORY]]]]     default 20 20
 * 64 /var/tmp CACHE_MIB is what the index may cache: a quarter of the mount option index_cache.
 */
#include "hashing/filter.h"
#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/index.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define BATCH     4096u
#define SEGMENT   4096u /* entries of a 64 MiB segment at 16 KiB a chunk */
#define LOAD      (32u * SEGMENT)
#define LOOKUPS   100000u
#define TB_CHUNKS (1e12 / 16384)

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static struct fold_fp fp_of(uint64_t n)
{
    return (struct fold_fp){{mix(2 * n), mix(2 * n + 1), 0, 0}};
}

static double seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Resident anonymous memory of this process. */
static double anon_mb(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "RssAnon: %llu", &kib) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return (double)kib * 1024 / 1e6;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int fill_filter(uint64_t keys)
{
    static struct fold_fp fps[BATCH];
    struct fold_filter *filter;
    double before = anon_mb(), start = seconds();
    int rc = fold_filter_create(0, &filter);
    for (uint64_t done = 0; rc == 0 && done < keys; done += BATCH) {
        size_t n = FOLD_MIN((uint64_t)BATCH, keys - done);
        for (size_t i = 0; i < n; i++)
            fps[i] = fp_of(done + i);
        rc = fold_filter_insert_batch(filter, fps, n);
    }
    if (rc != 0)
        return rc;
    double took = seconds() - start, mb = anon_mb() - before;
    struct fold_filter_info info;
    fold_filter_info(filter, &info);
    double used = (double)info.bytes / (double)keys;
    printf("filter  %7.1f M keys  %8.1f MB resident  %8.1f MB of lines: %5.2f bits a key, %.1f MB "
           "a TB; "
           "%.2f M keys/s\n",
           (double)keys / 1e6, mb, (double)info.bytes / 1e6, used * 8, used / 1e6 * TB_CHUNKS,
           (double)keys / took / 1e6);
    fold_filter_destroy(filter);
    return 0;
}

static int fill_index(struct fold_index *ix, uint64_t keys)
{
    struct fold_index_entry *entries = malloc(LOAD * sizeof *entries);
    int rc = entries != NULL ? 0 : -ENOMEM;
    double peak = 0, start = seconds();
    for (uint64_t done = 0; rc == 0 && done < keys; done += LOAD) {
        for (uint32_t i = 0; i < LOAD; i++) {
            struct fold_fp fp = fp_of(done + i);
            struct fold_loc loc = {(uint32_t)((done + i) / SEGMENT + 1),
                                   i % SEGMENT * 16384 + 4096};
            entries[i] = (struct fold_index_entry){{fp.w[0], fp.w[1]}, loc};
        }
        struct fold_index_load load = {.entries = entries, .count = LOAD};
        rc = fold_index_apply(ix, &load);
        peak = FOLD_MAX(peak, anon_mb());
    }
    printf("index   %7.1f M keys  %8.1f MB resident while filling (peak)  %.2f M keys/s\n",
           (double)keys / 1e6, peak, (double)keys / (seconds() - start) / 1e6);
    free(entries);
    return rc;
}

static int look_up(struct fold_index *ix, uint64_t keys)
{
    double start = seconds();
    for (uint32_t i = 0; i < LOOKUPS; i++) {
        struct fold_loc loc;
        struct fold_fp fp = fp_of(mix(i) % keys);
        int rc = fold_index_get(ix, &fp, &loc);
        if (rc != 0)
            return rc;
    }
    double took = seconds() - start, before = anon_mb();
    (void)malloc_trim(0); /* as the daemon does now and then */
    printf("index   %7.1f M keys  %8.1f MB resident after %u random lookups, %.1f MB trimmed  "
           "%.1f us each  %.1f MB on disk\n",
           (double)keys / 1e6, before, LOOKUPS, anon_mb(), took / LOOKUPS * 1e6,
           (double)fold_index_bytes(ix) / 1e6);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t filter_keys = (argc > 1 ? strtoull(argv[1], NULL, 10) : 20) * 1000000;
    uint64_t keys = (argc > 2 ? strtoull(argv[2], NULL, 10) : 20) * 1000000;
    uint64_t cache = (argc > 3 ? strtoull(argv[3], NULL, 10) : 64) << 20;
    char path[256];
    struct fold_index *ix = NULL;
    fold_log_set_level(FOLD_LOG_WARN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    keys = (keys + LOAD - 1) / LOAD * LOAD; /* whole loads */
    (void)snprintf(path, sizeof path, "%s/fold-memory-XXXXXX", argc > 4 ? argv[4] : "/var/tmp");
    int rc = fill_filter(filter_keys);
    if (rc == 0 && mkdtemp(path) == NULL)
        rc = -errno;
    int fd = rc == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (rc == 0)
        rc = fold_index_format(fd);
    if (rc == 0)
        rc = fold_index_open(fd, cache, false, &ix);
    if (rc == 0) {
        printf("index   nothing           %8.1f MB resident, cache of %" PRIu64 " MiB\n", anon_mb(),
               cache >> 20);
        rc = fill_index(ix, keys);
    }
    if (rc == 0)
        rc = look_up(ix, keys);
    fold_index_close(ix);
    if (fd >= 0) {
        close(fd);
        (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    if (rc != 0)
        fprintf(stderr, "fold_bench_memory: %s\n", fold_err_text(rc));
    return rc == 0 ? 0 : 1;
}
