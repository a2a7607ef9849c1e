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

static void follows_the_model(void **state FOLD_UNUSED)
{
    static struct fold_loc model[KEYS];
    struct fold_openindex *t;
    size_t live = 0;
    assert_int_equal(fold_openindex_create(&t), 0);
    for (uint64_t step = 0; step < 200000; step++) {
        uint64_t r = rig_mix(step);
        size_t i = r % KEYS;
        struct fold_fp fp = key(i);
        struct fold_loc loc = {1 + (uint32_t)(r >> 40) % 3, (uint32_t)(r >> 20) & ~15u};
        struct fold_loc got;
        switch ((r >> 60) % 4) {
        case 0:
            assert_int_equal(fold_openindex_insert(t, &fp, loc, false), 0);
            live += model[i].seg == 0;
            model[i] = model[i].seg == 0 ? loc : model[i];
            break;
        case 1:
            assert_int_equal(fold_openindex_insert(t, &fp, loc, true), 0);
            live += model[i].seg == 0;
            model[i] = loc;
            break;
        default:
            fold_openindex_remove(t, fp.w, loc.seg);
            if (model[i].seg == loc.seg) {
                model[i].seg = 0;
                live--;
            }
        }
        bool found = fold_openindex_find(t, &fp, &got);
        assert_int_equal(found, model[i].seg != 0);
        if (found)
            assert_true(fold_loc_equal(got, model[i]));
    }
    for (size_t i = 0; i < KEYS; i++) {
        struct fold_fp fp = key(i);
        struct fold_loc got;
        assert_int_equal(fold_openindex_find(t, &fp, &got), model[i].seg != 0);
    }
    size_t seen = 0;
    assert_int_equal(fold_openindex_each(t, count_one, &seen), 0);
    assert_int_equal(seen, live);
    assert_int_equal(fold_openindex_count(t), live);
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
