/* SPDX-License-Identifier: MIT */
/* Lists of gaps: round trips, what they cover, and no flipped bit passes unnoticed. */
#include "blob_rig.h"

#include "meta/gaps.h"

static const struct fold_gap some[] = {{4096, 100000}, {100016, 300000}, {1u << 20, 3u << 20}};

static struct fold_gaps *make(void)
{
    struct fold_gaps *g = fold_gaps_create(FOLD_ARRAY_LEN(some));
    assert_non_null(g);
    memcpy(g->at, some, sizeof some);
    g->count = FOLD_ARRAY_LEN(some);
    g->raw_bytes = 12345678;
    g->records = 321;
    return g;
}

static void names(void **state FOLD_UNUSED)
{
    char name[FOLD_SEG_NAME_BYTES];
    fold_gaps_name(0x2a, name);
    assert_string_equal(name, "0000002a.gap");
    assert_int_equal(fold_gaps_name_parse(name), 0x2a);
    static const char *const wrong[] = {"", "0000002a.seg", "0000002A.gap", "2a.gap",
                                        "0000002a.gap.new"};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(wrong); i++)
        assert_int_equal(fold_gaps_name_parse(wrong[i]), 0);
}

static void what_is_covered(void **state FOLD_UNUSED)
{
    struct fold_gaps *g = make();
    assert_false(fold_gaps_cover(NULL, 4096));
    for (size_t i = 0; i < FOLD_ARRAY_LEN(some); i++) {
        assert_false(fold_gaps_cover(g, some[i].from - 1));
        assert_true(fold_gaps_cover(g, some[i].from));
        assert_true(fold_gaps_cover(g, some[i].to - 1));
        assert_false(fold_gaps_cover(g, some[i].to));
    }
    assert_int_equal(fold_gaps_bytes(g), 95904 + 199984 + (2u << 20));
    assert_int_equal(fold_gaps_freed(g), 23 * 4096 + 48 * 4096 + (2u << 20));
    assert_int_equal(fold_gaps_bytes(NULL) + fold_gaps_freed(NULL), 0);
    struct fold_seg_entry e[64];
    for (uint32_t i = 0; i < FOLD_ARRAY_LEN(e); i++)
        e[i] = (struct fold_seg_entry){{i + 1, i + 2}, 4096 + i * 65536, 100};
    fold_gaps_hide(NULL, e, FOLD_ARRAY_LEN(e));
    fold_gaps_hide(g, e, FOLD_ARRAY_LEN(e));
    for (uint32_t i = 0; i < FOLD_ARRAY_LEN(e); i++) {
        assert_int_equal(fold_seg_entry_gone(&e[i]), fold_gaps_cover(g, e[i].off));
        assert_int_equal(e[i].off, 4096 + i * 65536);
    }
    free(g);
}

static void lists_come_back(void **state FOLD_UNUSED)
{
    struct rig r;
    rig_init(&r);
    struct fold_gaps *g = make(), *back = NULL;
    assert_int_equal(fold_gaps_load(r.fd, 7, &back), 0);
    assert_null(back);
    assert_int_equal(fold_gaps_save(r.fd, 7, g), 0);
    assert_int_equal(fold_gaps_load(r.fd, 7, &back), 0);
    assert_int_equal(back->count, g->count);
    assert_int_equal(back->raw_bytes, g->raw_bytes);
    assert_int_equal(back->records, g->records);
    assert_memory_equal(back->at, some, sizeof some);
    free(back);
    int fd = rig_file(&r, "00000007.gap");
    for (off_t at = 0; at < rig_size(fd); at++) {
        rig_flip(fd, at, (unsigned)at % 8);
        assert_int_equal(fold_gaps_load(r.fd, 7, &back), -FOLD_E_BAD_SEGMENT);
        rig_flip(fd, at, (unsigned)at % 8);
    }
    for (off_t len = rig_size(fd) - 1; len >= 0; len -= 5) {
        assert_int_equal(ftruncate(fd, len), 0);
        assert_int_equal(fold_gaps_load(r.fd, 7, &back), -FOLD_E_BAD_SEGMENT);
    }
    close(fd);
    g->at[1].from = g->at[0].to; /* gaps that touch are not written, and not believed */
    assert_int_equal(fold_gaps_save(r.fd, 7, g), 0);
    assert_int_equal(fold_gaps_load(r.fd, 7, &back), -FOLD_E_BAD_SEGMENT);
    assert_int_equal(fold_gaps_remove(r.fd, 7), 0);
    assert_int_equal(fold_gaps_remove(r.fd, 7), 0);
    free(g);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(what_is_covered),
                                       cmocka_unit_test(lists_come_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
