/* SPDX-License-Identifier: MIT */
/*
 * Four threads on one store: writing (often the same chunks), reading what others wrote, finding,
 * syncing, walking all fingerprints, while small segments fill, are sealed and indexed all the
 * time.
 */
#include "blob_rig.h"

#include <pthread.h>

#define THREADS 4
#define ROUNDS  120u
#define BATCH   8u
#define LEN     1500u
#define KEYS    (ROUNDS * BATCH * 2)

struct shared {
    struct rig rig;
    _Atomic uint64_t loc[KEYS]; /* of the chunk with that seed, once somebody stored it */
    _Atomic unsigned bad;
};

static uint64_t pack(struct fold_loc loc)
{
    return (uint64_t)loc.seg << 32 | loc.off;
}

static struct fold_loc unpack(uint64_t word)
{
    return (struct fold_loc){(uint32_t)(word >> 32), (uint32_t)word};
}

/* cmocka's assertions may not be used off the main thread. */
static void note(struct shared *s, bool good)
{
    if (!good)
        atomic_fetch_add(&s->bad, 1);
}

static void write_some(struct shared *s, uint64_t from)
{
    uint8_t data[BATCH][LEN];
    struct fold_put puts[BATCH];
    for (uint64_t i = 0; i < BATCH; i++) {
        uint64_t seed = (from + i) % KEYS;
        rig_fill(seed, data[i], LEN);
        puts[i] = (struct fold_put){.data = data[i], .len = LEN, .fp = rig_fp(seed, 16)};
    }
    note(s, fold_store_put(s->rig.store, puts, BATCH) == 0);
    for (uint64_t i = 0; i < BATCH; i++)
        atomic_store(&s->loc[(from + i) % KEYS], pack(puts[i].loc));
}

static void read_some(struct shared *s, uint64_t from)
{
    for (uint64_t i = 0; i < BATCH; i++) {
        uint64_t seed = (from + i * 37) % KEYS;
        uint64_t word = atomic_load(&s->loc[seed]);
        struct fold_fp fp = rig_fp(seed, 16);
        const struct fold_fp *ask = &fp;
        uint8_t want[LEN];
        struct fold_loc loc;
        enum fold_hit hit;
        bool equal = false;
        if (word == 0)
            continue;
        rig_fill(seed, want, LEN);
        note(s, fold_store_compare(s->rig.store, unpack(word), want, LEN, &equal) == 0 && equal);
        note(s, fold_store_find(s->rig.store, &ask, 1, true, &loc, &hit) == 0);
        note(s, hit != FOLD_HIT_NONE);
        equal = false;
        note(s, hit == FOLD_HIT_NONE ||
                    (fold_store_compare(s->rig.store, loc, want, LEN, &equal) == 0 && equal));
        fold_store_prefetch(s->rig.store, loc, 4096);
    }
}

static int count_fp(void *arg, const struct fold_fp *fp FOLD_UNUSED,
                    struct fold_loc loc FOLD_UNUSED)
{
    size_t *count = arg;
    ++*count;
    return 0;
}

struct job {
    struct shared *s;
    uint64_t number;
};

static void *work(void *arg)
{
    const struct job *job = arg;
    struct shared *s = job->s;
    struct fold_dep deps[FOLD_STORE_MAX_DEPS];
    for (uint64_t round = 0; round < ROUNDS; round++) {
        /* Pairs of threads write the same chunks at about the same time. */
        write_some(s, (job->number / 2 * ROUNDS + round) * BATCH);
        read_some(s, rig_mix(job->number * ROUNDS + round));
        if (round % 10 == job->number)
            note(s, fold_store_sync(s->rig.store) == 0);
        size_t n;
        note(s, fold_store_deps(s->rig.store, deps, &n) == 0);
        for (size_t i = 0; i < n; i++)
            note(s, fold_store_holds(s->rig.store, deps[i]));
        if (round % 40 == 20 + job->number) {
            size_t count = 0;
            note(s, fold_store_each(s->rig.store, count_fp, &count) == 0);
            note(s, count > 0);
        }
    }
    return NULL;
}

static void four_threads(void **state FOLD_UNUSED)
{
    static struct shared s;
    struct job jobs[THREADS];
    pthread_t threads[THREADS];
    struct fold_store_info info;
    rig_init(&s.rig);
    s.rig.opt.segment_bytes = 64u << 10;
    s.rig.opt.appenders = 2;
    s.rig.opt.locality_cache_bytes = 256u << 10;
    rig_open(&s.rig);
    for (uint64_t i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){&s, i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&s.bad), 0);
    fold_store_info(s.rig.store, &info);
    assert_true(info.segments > 20);
    rig_close(&s.rig, true);
    rig_open(&s.rig);
    for (uint64_t seed = 0; seed < KEYS; seed++) {
        struct fold_loc loc;
        enum fold_hit hit;
        assert_int_equal(rig_read(s.rig.store, unpack(s.loc[seed]), seed, LEN), 0);
        assert_true(rig_find(&s.rig, seed, &loc, &hit));
    }
    rig_fini(&s.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(four_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
