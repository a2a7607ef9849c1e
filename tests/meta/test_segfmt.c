/* SPDX-License-Identifier: MIT */
/* Segment header, table, footer and summary: round trips, and no flipped bit passes unnoticed. */
#include "blob_rig.h"

#include "meta/segfmt.h"

static const struct fold_seg_ident ident = {42, 16, UINT64_C(0xfeedfacecafebeef), 1u << 20};

static void same_ident(const struct fold_seg_ident *a, const struct fold_seg_ident *b)
{
    assert_int_equal(a->seg, b->seg);
    assert_int_equal(a->fp_width, b->fp_width);
    assert_true(a->salt == b->salt);
    assert_int_equal(a->capacity, b->capacity);
}

static void names(void **state FOLD_UNUSED)
{
    char name[FOLD_SEG_NAME_BYTES];
    fold_seg_name(0x2a, name);
    assert_string_equal(name, "0000002a.seg");
    assert_int_equal(fold_seg_name_parse(name), 0x2a);
    fold_seg_name(UINT32_MAX, name);
    assert_int_equal(fold_seg_name_parse(name), UINT32_MAX);
    static const char *const wrong[] = {"",
                                        "0000002a",
                                        "0000002A.seg",
                                        "0000002a.sex",
                                        "2a.seg",
                                        "00000000.seg",
                                        "+000002a.seg",
                                        " 00002a.seg",
                                        "0000002a.segx",
                                        "0000002a.fwd"};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(wrong); i++)
        assert_int_equal(fold_seg_name_parse(wrong[i]), 0);
}

static void header_survives_one_damaged_copy(void **state FOLD_UNUSED)
{
    uint8_t head[FOLD_SEG_HEADER_BYTES];
    struct fold_seg_ident out;
    fold_seg_header_encode(&ident, head);
    assert_int_equal(fold_seg_header_decode(head, 42, &out), 0);
    same_ident(&out, &ident);
    assert_int_equal(fold_seg_header_decode(head, 43, &out), -FOLD_E_BAD_SEGMENT);
    for (unsigned bit = 0; bit < 64 * 8; bit++) {
        head[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        memset(&out, 0, sizeof out);
        assert_int_equal(fold_seg_header_decode(head, 42, &out), 0);
        same_ident(&out, &ident);
        head[2048 + bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(fold_seg_header_decode(head, 42, &out), -FOLD_E_BAD_SEGMENT);
        fold_seg_header_encode(&ident, head);
    }
}

#define COUNT 3u
#define END   9008u

static void make_tail(struct fold_seg_entry *e, struct fold_seg_footer *f, uint8_t *tail)
{
    for (uint32_t i = 0; i < COUNT; i++)
        e[i] = (struct fold_seg_entry){{rig_mix(i), rig_mix(i + 9)}, 4096 + 1600 * i, 1000 + i};
    *f = (struct fold_seg_footer){.data_end = END,
                                  .whole_end = 5696,
                                  .count = COUNT,
                                  .raw_bytes = 3003,
                                  .stored_bytes = 4912};
    fold_seg_tail_encode(&ident, f, e, tail);
}

static void tail_round_trip(void **state FOLD_UNUSED)
{
    struct fold_seg_entry e[COUNT];
    struct fold_seg_entry got[COUNT];
    struct fold_seg_footer f;
    struct fold_seg_footer out;
    struct fold_seg_ident id;
    uint8_t tail[COUNT * FOLD_SEG_ENTRY_BYTES + FOLD_SEG_FOOTER_BYTES];
    uint64_t size = fold_seg_sealed_bytes(END, COUNT);
    const uint8_t *foot = tail + COUNT * FOLD_SEG_ENTRY_BYTES;
    make_tail(e, &f, tail);
    assert_int_equal(fold_seg_footer_decode(foot, 42, size, &id, &out), 0);
    same_ident(&id, &ident);
    assert_int_equal(out.data_end, END);
    assert_int_equal(out.whole_end, 5696);
    assert_int_equal(out.count, COUNT);
    assert_int_equal(out.raw_bytes, 3003);
    assert_int_equal(out.stored_bytes, 4912);
    assert_int_equal(fold_seg_table_decode(tail, &out, got), 0);
    assert_memory_equal(got, e, sizeof e);
    assert_int_equal(fold_seg_footer_decode(foot, 41, size, &id, &out), -FOLD_E_BAD_SEGMENT);
    assert_int_equal(fold_seg_footer_decode(foot, 42, size + 1, &id, &out), -FOLD_E_BAD_SEGMENT);
}

static void tail_flips_fail(void **state FOLD_UNUSED)
{
    struct fold_seg_entry e[COUNT];
    struct fold_seg_footer f;
    struct fold_seg_footer out;
    struct fold_seg_ident id;
    uint8_t tail[COUNT * FOLD_SEG_ENTRY_BYTES + FOLD_SEG_FOOTER_BYTES];
    uint8_t *foot = tail + COUNT * FOLD_SEG_ENTRY_BYTES;
    uint64_t size = fold_seg_sealed_bytes(END, COUNT);
    make_tail(e, &f, tail);
    for (unsigned bit = 0; bit < FOLD_SEG_FOOTER_BYTES * 8; bit++) {
        foot[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(fold_seg_footer_decode(foot, 42, size, &id, &out), -FOLD_E_BAD_SEGMENT);
        foot[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    for (unsigned bit = 0; bit < COUNT * FOLD_SEG_ENTRY_BYTES * 8; bit++) {
        tail[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(fold_seg_table_decode(tail, &f, e), -FOLD_E_BAD_SEGMENT);
        tail[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

static void table_order_is_checked(void **state FOLD_UNUSED)
{
    struct fold_seg_entry e[COUNT];
    struct fold_seg_footer f;
    uint8_t tail[COUNT * FOLD_SEG_ENTRY_BYTES + FOLD_SEG_FOOTER_BYTES];
    const uint32_t wrong[] = {4096, 4097, 4000, END, 0, UINT32_MAX};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(wrong); i++) {
        make_tail(e, &f, tail);
        e[1].off = wrong[i];
        fold_seg_tail_encode(&ident, &f, e, tail);
        assert_int_equal(fold_seg_table_decode(tail, &f, e), -FOLD_E_BAD_SEGMENT);
    }
}

static void summary_round_trip_and_flips(void **state FOLD_UNUSED)
{
    uint8_t buf[FOLD_SEG_SUMMARY_BYTES];
    struct fold_seg_summary in = {.ident = ident,
                                  .file_bytes = (uint32_t)fold_seg_sealed_bytes(END, COUNT),
                                  .data_end = END,
                                  .whole_end = END,
                                  .count = COUNT,
                                  .raw_bytes = 3003,
                                  .stored_bytes = 4912};
    struct fold_seg_summary out;
    fold_seg_summary_encode(&in, buf);
    assert_int_equal(fold_seg_summary_decode(buf, sizeof buf, &out), 0);
    same_ident(&out.ident, &ident);
    assert_int_equal(out.data_end, END);
    assert_int_equal(out.file_bytes, in.file_bytes);
    assert_int_equal(out.raw_bytes, 3003);
    assert_int_equal(fold_seg_summary_decode(buf, sizeof buf - 1, &out), -FOLD_E_BAD_SEGMENT);
    for (unsigned bit = 0; bit < sizeof buf * 8; bit++) {
        buf[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(fold_seg_summary_decode(buf, sizeof buf, &out), -FOLD_E_BAD_SEGMENT);
        buf[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(header_survives_one_damaged_copy),
        cmocka_unit_test(tail_round_trip),
        cmocka_unit_test(tail_flips_fail),
        cmocka_unit_test(table_order_is_checked),
        cmocka_unit_test(summary_round_trip_and_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
