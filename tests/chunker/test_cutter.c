/* SPDX-License-Identifier: MIT */
/*
 * The cut law: golden cuts that no change may move, the same cuts at every level and however the
 * data arrives, the mean length, data with little entropy, and what an edit disturbs.
 */
#include "asm/kernels.h"
#include "chunker/cutter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1u << 20)

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint8_t *random_bytes(size_t len, uint64_t seed)
{
    uint8_t *p = malloc(len + 8);
    assert_non_null(p);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = next_random(&seed);
        for (int b = 0; b < 8; b++)
            p[i + b] = (uint8_t)(v >> 8 * b);
    }
    return p;
}

static struct fold_cut law(uint32_t avg)
{
    struct fold_cut cut;
    assert_int_equal(fold_cut_init(&cut, FOLD_CUT_CDC, avg), 0);
    return cut;
}

/* Order-dependent digest of all cuts of data, the last chunk included. */
static uint64_t digest(const struct fold_cut *cut, const uint8_t *data, size_t len, size_t *chunks)
{
    uint64_t h = 14695981039346656037u;
    size_t at = 0;
    *chunks = 0;
    while (at < len) {
        size_t n = fold_cut_next(cut, data + at, len - at);
        if (n == 0)
            n = len - at;
        at += n;
        h = (h ^ n) * 1099511628211u;
        (*chunks)++;
    }
    return h;
}

static void rejects_bad_sizes(void **state)
{
    (void)state;
    struct fold_cut cut;
    assert_int_equal(fold_cut_init(&cut, FOLD_CUT_CDC, 2048), -EINVAL);
    assert_int_equal(fold_cut_init(&cut, FOLD_CUT_CDC, 5000), -EINVAL);
    assert_int_equal(fold_cut_init(&cut, FOLD_CUT_CDC, 2 * FOLD_CHUNK_MAX_AVG), -EINVAL);
    assert_int_equal(fold_cut_init(&cut, FOLD_CUT_CDC, 0), -EINVAL);
    assert_int_equal(fold_cut_init(&cut, (enum fold_cut_kind)9, 4096), -EINVAL);
}

static void fixed_cuts(void **state)
{
    (void)state;
    struct fold_cut cut;
    assert_int_equal(fold_cut_init(&cut, FOLD_CUT_FIXED, 4096), 0);
    assert_int_equal(cut.min, 4096);
    assert_int_equal(cut.max, 4096);
    assert_int_equal(fold_cut_fixed(&cut, 0), 4096);
    assert_int_equal(fold_cut_fixed(&cut, 4095), 1);
    assert_int_equal(fold_cut_fixed(&cut, (1ull << 40) + 1), 4095);
}

/* The cuts are part of the stored format: volumes made long ago must go on deduplicating. */
static const struct {
    uint32_t avg;
    size_t chunks;
    uint64_t digest;
} golden[] = {
    {4096, 2068, 0x6beeca4ca1669321u}, {8192, 1029, 0x6b8ebe86de583889u},
    {16384, 504, 0xe9b7dca5c872a779u}, {32768, 259, 0xbc9e56b9cec018e1u},
    {65536, 123, 0xa82bd2f01d921949u}, {131072, 64, 0xcf562c91206a750bu},
    {262144, 31, 0x3eb1672862602479u}, {524288, 16, 0x49dfbe3943b59907u},
    {1048576, 8, 0x0b3af7a2bb11743bu},
};
#define GOLDEN_BYTES (8u * MIB)

static bool golden_holds(const uint8_t *data, bool print)
{
    bool same = true;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        struct fold_cut cut = law(golden[i].avg);
        size_t chunks;
        uint64_t got = digest(&cut, data, GOLDEN_BYTES, &chunks);
        if (got == golden[i].digest && chunks == golden[i].chunks)
            continue;
        same = false;
        if (print)
            print_error("now: {%u, %zu, 0x%016llxu},\n", golden[i].avg, chunks,
                        (unsigned long long)got);
    }
    return same;
}

/* One child per level, because a process chooses its kernels once. */
static void golden_at_every_level(void **state)
{
    (void)state;
    uint8_t *data = random_bytes(GOLDEN_BYTES, 42);
    for (int level = 0; level < FOLD_LEVELS; level++) {
        int status;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            (void)setenv("FOLDFS_CPU", fold_level_name((enum fold_level)level), 1);
            bool holds = golden_holds(data, level == 0);
            free(data);
            _exit(holds ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    free(data);
}

static void any_split_gives_the_same_cuts(void **state)
{
    (void)state;
    size_t len = 2u * MIB;
    uint8_t *data = random_bytes(len, 1);
    uint64_t seed = 5;
    for (uint32_t avg = 4096; avg <= 65536; avg *= 4) {
        struct fold_cut cut = law(avg);
        for (size_t at = 0; at + cut.max < len;) {
            size_t want = fold_cut_next(&cut, data + at, len - at);
            size_t known = 0;
            size_t got = 0;
            assert_in_range(want, cut.min, cut.max);
            for (size_t have = 0; got == 0;) {
                have += 1 + next_random(&seed) % (avg / 2);
                got = fold_cut_resume(&cut, data + at, have, known);
                assert_int_equal(got, fold_cut_next(&cut, data + at, have));
                assert_true(got != 0 || have < want);
                known = have;
            }
            assert_int_equal(got, want);
            assert_int_equal(fold_cut_next(&cut, data + at, want),
                             want); /* no byte behind is needed */
            at += want;
        }
    }
    free(data);
}

/* The data ends at an inaccessible page. */
static void reads_nothing_behind_the_end(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t len = 64 * page;
    uint8_t *map =
        mmap(NULL, len + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map + len, page, PROT_NONE), 0);
    uint8_t *data = random_bytes(len, 3);
    memcpy(map, data, len);
    struct fold_cut cut = law(4096);
    for (size_t n = 0; n < 3 * cut.max; n += 7)
        assert_int_equal(fold_cut_next(&cut, map + len - n, n),
                         fold_cut_next(&cut, data + len - n, n));
    free(data);
    assert_int_equal(munmap(map, len + page), 0);
}

static void mean_is_the_chunk_size(void **state)
{
    (void)state;
    size_t len = 96u * MIB;
    uint8_t *data = random_bytes(len, 11);
    for (uint32_t avg = FOLD_CHUNK_MIN_AVG; avg <= FOLD_CHUNK_MAX_AVG; avg *= 2) {
        struct fold_cut cut = law(avg);
        size_t chunks;
        (void)digest(&cut, data, len, &chunks);
        double mean = (double)len / (double)chunks;
        assert_true(mean > 0.9 * avg && mean < 1.1 * avg);
    }
    free(data);
}

static void zeros_are_cut_at_max_only(void **state)
{
    (void)state;
    uint8_t *zeros = calloc(1, MIB);
    assert_non_null(zeros);
    for (uint32_t avg = 4096; avg <= 65536; avg *= 2) {
        struct fold_cut cut = law(avg);
        assert_int_equal(fold_cut_next(&cut, zeros, MIB), cut.max);
        assert_int_equal(fold_cut_next(&cut, zeros, cut.max - 1), 0);
    }
    free(zeros);
}

/* The chunks of data as hash values; returns their number. */
static size_t chunk_hashes(const struct fold_cut *cut, const uint8_t *data, size_t len,
                           uint64_t *out)
{
    size_t n = 0;
    for (size_t at = 0; at < len; n++) {
        size_t chunk = fold_cut_next(cut, data + at, len - at);
        if (chunk == 0)
            chunk = len - at;
        uint64_t h = chunk;
        for (size_t i = 0; i < chunk; i++)
            h = (h ^ data[at + i]) * 1099511628211u;
        out[n] = h ^ h >> 32;
        at += chunk;
    }
    return n;
}

/* How many chunks of b are not among those of a. */
static size_t new_chunks(const uint64_t *a, size_t na, const uint64_t *b, size_t nb)
{
    size_t fresh = 0;
    for (size_t i = 0; i < nb; i++) {
        size_t j = 0;
        while (j < na && a[j] != b[i])
            j++;
        fresh += j == na;
    }
    return fresh;
}

static void an_edit_disturbs_few_chunks(void **state)
{
    (void)state;
    enum { LEN = 256 << 10, ROUNDS = 100 };
    struct fold_cut cut = law(4096);
    uint64_t seed = 17;
    static uint64_t before[1000];
    static uint64_t after[1000];
    size_t sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint8_t *data = random_bytes(LEN, (uint64_t)round);
        size_t na = chunk_hashes(&cut, data, LEN, before);
        size_t at = next_random(&seed) % (LEN - 1);
        bool insert = round % 2 == 0;
        if (insert)
            memmove(data + at + 1, data + at, LEN - 1 - at);
        else
            memmove(data + at, data + at + 1, LEN - 1 - at);
        size_t nb = chunk_hashes(&cut, data, LEN - 1, after);
        size_t fresh = new_chunks(before, na, after, nb);
        assert_in_range(fresh, 0, 12);
        sum += fresh;
        free(data);
    }
    assert_true(sum < 4 * ROUNDS);
}

/* Share of a second, shifted copy of data that deduplicates against the first. */
static double shifted_savings(const struct fold_cut *cut, const uint8_t *data, size_t len)
{
    enum { MANY = 4000 };
    uint64_t *a = malloc(MANY * sizeof *a);
    uint64_t *b = malloc(MANY * sizeof *b);
    uint8_t *shifted = malloc(len + 13);
    assert_true(a != NULL && b != NULL && shifted != NULL);
    memset(shifted, 0x5a, 13);
    memcpy(shifted + 13, data, len);
    size_t na = chunk_hashes(cut, data, len, a);
    size_t nb = chunk_hashes(cut, shifted, len + 13, b);
    double share = 1.0 - (double)new_chunks(a, na, b, nb) / (double)nb;
    free(a);
    free(b);
    free(shifted);
    return share;
}

static void low_entropy_does_not_collapse(void **state)
{
    (void)state;
    size_t len = 4u * MIB;
    struct fold_cut cut = law(8192);
    uint8_t *data = random_bytes(len, 23);
    for (size_t i = 0; i < len; i++)
        data[i] = data[i] & 1 ? 'a' : 'b';
    size_t chunks;
    (void)digest(&cut, data, len, &chunks);
    assert_in_range(len / chunks, 8192 * 7 / 10, 8192 * 14 / 10);
    assert_true(shifted_savings(&cut, data, len) > 0.9);

    uint64_t seed = 29;
    memset(data, 0, len);
    for (size_t i = 0; i < len / 100; i++)
        data[next_random(&seed) % len] = (uint8_t)next_random(&seed);
    (void)digest(&cut, data, len, &chunks);
    assert_in_range(len / chunks, 8192 / 2, 8192 * 2);
    assert_true(shifted_savings(&cut, data, len) > 0.9);
    free(data);
}

/* Whatever the period, a long run becomes a handful of different chunks: forced cuts fall into
 * step. */
static void periodic_data_deduplicates(void **state)
{
    (void)state;
    size_t len = 8u * MIB;
    uint8_t *data = random_bytes(len, 31);
    static const size_t periods[] = {1, 2, 3, 7, 48, 64, 100, 512, 1000, 4096, 5003};
    static uint64_t hashes[8000];
    for (uint32_t avg = 4096; avg <= 65536; avg *= 2) {
        struct fold_cut cut = law(avg);
        for (size_t p = 0; p < sizeof periods / sizeof *periods; p++) {
            for (size_t i = periods[p]; i < len; i++)
                data[i] = data[i - periods[p]];
            size_t n = chunk_hashes(&cut, data, len, hashes);
            size_t different = 0;
            for (size_t i = 0; i < n; i++)
                different += new_chunks(hashes, i, hashes + i, 1);
            assert_in_range(different, 1, 12);
        }
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_at_every_level), /* before this process has chosen */
        cmocka_unit_test(rejects_bad_sizes),
        cmocka_unit_test(fixed_cuts),
        cmocka_unit_test(any_split_gives_the_same_cuts),
        cmocka_unit_test(reads_nothing_behind_the_end),
        cmocka_unit_test(mean_is_the_chunk_size),
        cmocka_unit_test(zeros_are_cut_at_max_only),
        cmocka_unit_test(an_edit_disturbs_few_chunks),
        cmocka_unit_test(low_entropy_does_not_collapse),
        cmocka_unit_test(periodic_data_deduplicates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
