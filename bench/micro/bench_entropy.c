/* SPDX-License-Identifier: MIT */
/*
 * How well the entropy sampler foretells real compressors: precision and recall against LZ4 and
 * zstd on the chunks of given files.
 *
 *     fold_bench_entropy CHUNK_BYTES FILE...
 *
 * "Pays" means saving at least a sixteenth. Precision: of the chunks it would compress, how many
 * pay. Recall: of the chunks that pay, how many it would compress.
 */
#include "asm/entropy.h"

#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

struct tally {
    unsigned long chunks;
    unsigned long pays;
    unsigned long said;
    unsigned long both;
};

static void count(struct tally *t, int said, int pays)
{
    t->chunks++;
    t->said += said != 0;
    t->pays += pays != 0;
    t->both += said && pays;
}

static void add(struct tally *sum, const struct tally *t)
{
    sum->chunks += t->chunks;
    sum->pays += t->pays;
    sum->said += t->said;
    sum->both += t->both;
}

static double share(unsigned long a, unsigned long b)
{
    return b == 0 ? 1.0 : (double)a / (double)b;
}

static void print(const char *name, const struct tally *lz4, const struct tally *zstd, double ns)
{
    printf(
        "%-24s %7lu chunks  lz4: pays %.3f precision %.3f recall %.3f  zstd: pays %.3f precision "
        "%.3f recall %.3f  %4.0f ns\n",
        name, lz4->chunks, share(lz4->pays, lz4->chunks), share(lz4->both, lz4->said),
        share(lz4->both, lz4->pays), share(zstd->pays, zstd->chunks), share(zstd->both, zstd->said),
        share(zstd->both, zstd->pays), ns);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void one_file(FILE *f, size_t chunk, struct tally *lz4, struct tally *zstd, double *ns)
{
    char *in = malloc(chunk);
    char *out = malloc(ZSTD_compressBound(chunk));
    *ns = 0;
    while (in != NULL && out != NULL && fread(in, 1, chunk, f) == chunk) {
        size_t enough = chunk - chunk / 16;
        int lz4_pays = LZ4_compress_fast(in, out, (int)chunk, (int)enough, 1) > 0;
        int zstd_pays = ZSTD_compress(out, ZSTD_compressBound(chunk), in, chunk, 1) <= enough;
        unsigned score =
            fold_kernels()->entropy(in, chunk); /* also brings the table into the cache */
        double start = now();
        score = fold_kernels()->entropy(in, chunk);
        *ns += now() - start;
        count(lz4, score >= FOLD_ENTROPY_PAYS, lz4_pays);
        count(zstd, score >= FOLD_ENTROPY_PAYS_CODER, zstd_pays);
    }
    *ns /= lz4->chunks > 0 ? (double)lz4->chunks : 1;
    free(in);
    free(out);
}

int main(int argc, char **argv)
{
    size_t chunk = argc > 2 ? strtoul(argv[1], NULL, 0) : 0;
    struct tally all_lz4 = {0};
    struct tally all_zstd = {0};
    double all_ns = 0;
    if (chunk < 256 || chunk > 64u << 20) {
        (void)fprintf(stderr, "usage: %s CHUNK_BYTES FILE...\n", argv[0]);
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        struct tally lz4 = {0};
        struct tally zstd = {0};
        double ns;
        FILE *f = fopen(argv[i], "rb");
        if (f == NULL) {
            perror(argv[i]);
            return 1;
        }
        one_file(f, chunk, &lz4, &zstd, &ns);
        (void)fclose(f);
        const char *slash = strrchr(argv[i], '/');
        print(slash != NULL ? slash + 1 : argv[i], &lz4, &zstd, ns);
        add(&all_lz4, &lz4);
        add(&all_zstd, &zstd);
        all_ns += ns * (double)lz4.chunks;
    }
    print("all", &all_lz4, &all_zstd, all_ns / (all_lz4.chunks > 0 ? (double)all_lz4.chunks : 1));
    return 0;
}
