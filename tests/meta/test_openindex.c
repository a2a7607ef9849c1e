/* SPDX-License-Identifier: MIT */
/* The open index against a plain array as model. */
#include "blob_rig.h"

#include "meta/openindex.h"

#define KEYS 2000u

/* Few distinct slots, so that runs and back-shifts happen. */
static struct fold_fp key(uint64_t i)
{
    return (struct fold_fp){{rig_mix(i) & 0xff, rig_mix(i) & ~UINT64_C(0xff), 0, 0}};
}

static int count_one(void *arg, const struct fold_fp *fp, struct fold_loc loc)
{
    size_t *seen = arg;
    assert_true(loc.seg != 0 && fp->w[2] == 0);
    (*seen)++;
    return 0;
}

static int stop_at_ten(void *arg, const struct fold_fp *fp FOLD_UNUSED,
                       struct fold_loc loc FOLD_UNUSED)
{
    size_t *seen = arg;
    return ++*seen == 10 ? -ECANCELED : 0;
}

#define MOST 6u

/* The locations of one key, in the order in which they are found. */
struct places {
    struct fold_loc at[MOST];
    size_t count;
};

static void enter(struct places *p, struct fold_loc loc, bool replace)
{
    p->at[p->count++] = loc;
    if (replace) {
        p->at[p->count - 1] = p->at[0];
        p->at[0] = loc;
    }
}

static bool leave(struct places *p, uint32_t seg)
{
    size_t i = 0;
    while (i < p->count && p->at[i].seg != seg)
        i++;
    if (i == p->count)
        return false;
    p->count--;
    memmove(&p->at[i], &p->at[i + 1], (p->count - i) * sizeof p->at[0]);
    return true;
}

static void check_key(struct fold_openindex *t, const struct places *p, uint64_t i)
{
    struct fold_fp fp = key(i);
    struct fold_loc got;
    bool found = fold_openindex_find(t, &fp, &got);
    assert_int_equal(found, p->count > 0);
    if (found)
        assert_true(fold_loc_equal(got, p->at[0]));
}

/* A key keeps all its locations until each is removed. */
static void follows_the_model(void **state FOLD_UNUSED)
{
    static struct places model[KEYS];
    struct fold_openindex *t;
    size_t count = 0, keys = 0;
    assert_int_equal(fold_openindex_create(&t), 0);
    for (uint64_t step = 0; step < 200000; step++) {
        uint64_t r = rig_mix(step);
        size_t i = r % KEYS;
        struct fold_fp fp = key(i);
        struct fold_loc loc = {1 + (uint32_t)(r >> 40) % 3, (uint32_t)(r >> 20) & ~15u};
        if (r >> 63 != 0 && model[i].count < MOST) {
            bool replace = (r >> 62 & 1) != 0;
            assert_int_equal(fold_openindex_insert(t, &fp, loc, replace), 0);
            enter(&model[i], loc, replace);
            count++;
        } else {
            fold_openindex_remove(t, fp.w, loc.seg);
            count -= leave(&model[i], loc.seg);
        }
        check_key(t, &model[i], i);
    }
    for (size_t i = 0; i < KEYS; i++) {
        check_key(t, &model[i], i);
        keys += model[i].count > 0;
    }
    size_t seen = 0;
    assert_int_equal(fold_openindex_each(t, count_one, &seen), 0);
    assert_int_equal(seen, keys);
    assert_int_equal(fold_openindex_count(t), count);
    seen = 0;
    assert_int_equal(fold_openindex_each(t, stop_at_ten, &seen), -ECANCELED);
    assert_int_equal(seen, 10);
    fold_openindex_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(follows_the_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
