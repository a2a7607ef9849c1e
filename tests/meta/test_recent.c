/* SPDX-License-Identifier: MIT */
/*
 * Entries of recent commits between journal and database: whatever was added is read back, alone
 * and by iterators, however much of it the database has; a refused hand-over loses nothing.
 */
#include "catalog_rig.h"

#include "meta/recent.h"

#include <pthread.h>

#define KEYS    3000u
#define ROUNDS  20000u
#define VAL_MAX 600u

struct bench {
    char path[64];
    int fd;
    struct fold_kv *kv;
    struct fold_recent *r;
};

static void open_bench(struct bench *b)
{
    struct fold_kv_options opt = {.create = true};
    rig_temp(b->path);
    b->fd = open(b->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fold_kv_open(b->fd, "db", &opt, &b->kv), 0);
    assert_int_equal(fold_recent_create(b->kv, &b->r), 0);
}

static void close_bench(struct bench *b)
{
    fold_recent_destroy(b->r);
    fold_kv_close(b->kv);
    close(b->fd);
    rig_remove_tree(b->path);
}

static int add(struct fold_recent *r, struct fold_kv_batch *b)
{
    int rc = fold_recent_make_room(r, b);
    if (rc == 0)
        rc = fold_recent_add(r, b);
    fold_kv_batch_destroy(b);
    return rc;
}

/* The model: the length of each value, which repeats its seed; -1: there is none. */
struct model {
    int lens[KEYS];
    uint8_t seeds[KEYS];
};

static void key_of(uint32_t i, char key[16])
{
    (void)snprintf(key, 16, "k%08u", i);
}

static void check_value(const struct model *m, uint32_t i, const uint8_t *data, size_t len)
{
    assert_int_equal(len, m->lens[i]);
    for (size_t k = 0; k < len; k++)
        assert_int_equal(data[k], m->seeds[i]);
}

static void check_key(struct fold_recent *r, const struct model *m, uint32_t i)
{
    char key[16];
    key_of(i, key);
    struct fold_found f;
    int rc = fold_recent_get(r, key, 9, &f);
    assert_int_equal(rc, m->lens[i] < 0 ? -ENOENT : 0);
    if (rc == 0) {
        check_value(m, i, f.data, f.len);
        fold_found_fini(&f);
    }
}

static void check_all(struct fold_recent *r, const struct model *m)
{
    struct fold_kv_iter *it;
    struct fold_kv_entry e;
    uint32_t i = 0;
    assert_int_equal(fold_recent_iter_open(r, "k", 1, "l", 1, false, &it), 0);
    while (fold_kv_iter_next(it, &e) > 0) {
        char key[16];
        while (i < KEYS && m->lens[i] < 0)
            i++;
        assert_true(i < KEYS);
        key_of(i, key);
        assert_memory_equal(e.key, key, 9);
        check_value(m, i, e.val, e.val_len);
        i++;
    }
    while (i < KEYS && m->lens[i] < 0)
        i++;
    assert_int_equal(i, KEYS);
    fold_kv_iter_close(it);
}

/* One random change of some keys, in the batch and in the model. */
static struct fold_kv_batch *change(struct model *m, uint64_t *seed)
{
    struct fold_kv_batch *b = fold_kv_batch_create();
    char key[16], end[16];
    uint32_t n = rig_random(seed) % 400 == 0 ? 900 : 1 + rig_random(seed) % 5;
    for (uint32_t k = 0; k < n; k++) {
        uint64_t x = rig_random(seed);
        /* Mostly a few keys, so that entries change where they are. */
        uint32_t i = (uint32_t)(x % 4 == 0 ? (x >> 8) % KEYS : (x >> 8) % 40);
        uint8_t val[VAL_MAX];
        key_of(i, key);
        if (x >> 40 & 1) {
            m->lens[i] = (int)((x >> 41) % (x >> 60 == 0 ? VAL_MAX : 60));
            m->seeds[i] = (uint8_t)(x >> 52);
            memset(val, m->seeds[i], sizeof val);
            fold_kv_batch_put(b, key, 9, val, (size_t)m->lens[i]);
        } else {
            m->lens[i] = -1;
            fold_kv_batch_delete(b, key, 9);
        }
        if ((x >> 44) % 512 == 7) {
            key_of(i + 20, end);
            fold_kv_batch_delete_range(b, key, 9, end, 9);
            for (uint32_t g = i; g < FOLD_MIN(i + 20, KEYS); g++)
                m->lens[g] = -1;
        }
    }
    return b;
}

static void as_the_model(void **state)
{
    (void)state;
    struct bench b;
    static struct model m;
    uint64_t seed = 4711;
    for (uint32_t i = 0; i < KEYS; i++)
        m.lens[i] = -1;
    open_bench(&b);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        assert_int_equal(add(b.r, change(&m, &seed)), 0);
        check_key(b.r, &m, (uint32_t)(rig_random(&seed) % 40));
        check_key(b.r, &m, (uint32_t)(rig_random(&seed) % KEYS));
        if (i % 1000 == 0)
            check_all(b.r, &m);
        if (i % 3000 == 0)
            assert_int_equal(fold_kv_flush(b.kv, true), 0);
    }
    for (uint32_t i = 0; i < KEYS; i++)
        check_key(b.r, &m, i);
    assert_int_equal(fold_recent_hand_over(b.r), 0);
    for (uint32_t i = 0; i < KEYS; i++)
        check_key(b.r, &m, i);
    check_all(b.r, &m);
    close_bench(&b);
}

static void ranges_in_order(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b);
    struct fold_found f;
    struct fold_kv_batch *batch = fold_kv_batch_create();
    fold_kv_batch_put(batch, "a1", 2, "x", 1);
    fold_kv_batch_put(batch, "b1", 2, "y", 1);
    assert_int_equal(add(b.r, batch), 0);
    batch = fold_kv_batch_create();
    fold_kv_batch_delete_range(batch, "a", 1, "b", 1);
    assert_int_equal(add(b.r, batch), 0);
    assert_int_equal(fold_recent_get(b.r, "a1", 2, &f), -ENOENT);
    assert_int_equal(fold_recent_get(b.r, "b1", 2, &f), 0);
    assert_memory_equal(f.data, "y", 1);
    fold_found_fini(&f);
    batch = fold_kv_batch_create();
    fold_kv_batch_put(batch, "a1", 2, "z", 1);
    assert_int_equal(add(b.r, batch), 0);
    assert_int_equal(fold_recent_hand_over(b.r), 0);
    assert_int_equal(fold_recent_get(b.r, "a1", 2, &f), 0);
    assert_memory_equal(f.data, "z", 1);
    fold_found_fini(&f);
    close_bench(&b);
}

static int refuse_writes(void *arg, enum fold_kv_op op)
{
    return op == FOLD_KV_WRITE ? *(int *)arg : 0;
}

static void refused_hand_over(void **state)
{
    (void)state;
    struct bench b;
    struct fold_found f;
    int refusal = -ENOSPC, rc = 0;
    open_bench(&b);
    fold_kv_set_fault(refuse_writes, &refusal);
    uint32_t taken = 0;
    char key[16];
    for (; rc == 0; taken += rc == 0) { /* until there is no room for more */
        struct fold_kv_batch *batch = fold_kv_batch_create();
        key_of(taken, key);
        fold_kv_batch_put(batch, key, 9, key, 9);
        rc = add(b.r, batch);
        assert_true(taken < 100000);
    }
    assert_int_equal(rc, -ENOSPC);
    assert_true(taken > 100);
    struct fold_kv_iter *it;
    assert_int_equal(fold_recent_iter_open(b.r, "k", 1, "l", 1, false, &it), -ENOSPC);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i <= taken; i++) {
            key_of(i, key);
            assert_int_equal(fold_recent_get(b.r, key, 9, &f), i < taken ? 0 : -ENOENT);
            if (i < taken) {
                assert_memory_equal(f.data, key, 9);
                fold_found_fini(&f);
            }
        }
        fold_kv_set_fault(NULL, NULL);
        assert_int_equal(fold_recent_hand_over(b.r), 0);
    }
    close_bench(&b);
}

struct racing {
    struct fold_recent *r;
    _Atomic uint64_t done;
    _Atomic bool stop;
};

/* A number that only rises is never seen to fall, in neither way of reading. */
static void *watch(void *arg)
{
    struct racing *w = arg;
    uint64_t last = 0;
    for (unsigned n = 0; !atomic_load(&w->stop); n++) {
        uint64_t least = atomic_load(&w->done), seen = 0;
        struct fold_found f;
        struct fold_kv_iter *it;
        struct fold_kv_entry e;
        if (n % 16 != 0) {
            if (fold_recent_get(w->r, "number", 6, &f) != 0)
                abort();
            memcpy(&seen, f.data, sizeof seen);
            fold_found_fini(&f);
        } else {
            if (fold_recent_iter_open(w->r, "number", 6, "o", 1, false, &it) != 0 ||
                fold_kv_iter_next(it, &e) != 1)
                abort();
            memcpy(&seen, e.val, sizeof seen);
            fold_kv_iter_close(it);
        }
        if (seen < least || seen < last)
            abort();
        last = seen;
    }
    return NULL;
}

static void never_backwards(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b);
    struct racing w = {.r = b.r};
    pthread_t threads[3];
    for (uint64_t i = 0; i < 30000; i++) {
        struct fold_kv_batch *batch = fold_kv_batch_create();
        fold_kv_batch_put(batch, "number", 6, &i, sizeof i);
        char key[16];
        key_of((uint32_t)i, key);
        fold_kv_batch_put(batch, key, 9, key, 9);
        assert_int_equal(add(b.r, batch), 0);
        atomic_store(&w.done, i);
        for (unsigned k = 0; i == 0 && k < 3; k++)
            assert_int_equal(pthread_create(&threads[k], NULL, watch, &w), 0);
    }
    atomic_store(&w.stop, true);
    for (unsigned k = 0; k < 3; k++)
        assert_int_equal(pthread_join(threads[k], NULL), 0);
    close_bench(&b);
}

int main(void)
{
    fold_log_set_level(FOLD_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_model),
        cmocka_unit_test(ranges_in_order),
        cmocka_unit_test(refused_hand_over),
        cmocka_unit_test(never_backwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
