/* SPDX-License-Identifier: MIT */
/* Record headers: what was written comes back, in its place only; no flipped bit passes; lengths
 * stay inside. */
#include "blob_rig.h"

#include "meta/record.h"

static const struct fold_seg_ident ident16 = {7, 16, UINT64_C(0x0123456789abcdef), 1u << 20};
static const struct fold_seg_ident ident32 = {7, 32, UINT64_C(0x0123456789abcdef), 1u << 20};

static struct fold_rec sample(unsigned width)
{
    return (struct fold_rec){.codec = FOLD_CODEC_LZ4,
                             .raw_len = 5000,
                             .stored_len = 3001,
                             .synced = 4096,
                             .payload_crc = 0xdeadbeef,
                             .fp = rig_fp(1, width)};
}

static void round_trip(void **state FOLD_UNUSED)
{
    const struct fold_seg_ident *ids[] = {&ident16, &ident32};
    for (unsigned i = 0; i < 2; i++) {
        uint8_t head[FOLD_REC_MAX_HEADER];
        struct fold_rec in = sample(ids[i]->fp_width);
        struct fold_rec out;
        fold_rec_encode(ids[i], 8192, &in, head);
        assert_true(fold_rec_magic(head));
        assert_int_equal(fold_rec_decode(ids[i], 8192, 1u << 20, head, &out), 0);
        assert_int_equal(out.codec, in.codec);
        assert_int_equal(out.raw_len, in.raw_len);
        assert_int_equal(out.stored_len, in.stored_len);
        assert_int_equal(out.synced, in.synced);
        assert_int_equal(out.payload_crc, in.payload_crc);
        assert_true(fold_fp_equal(&out.fp, &in.fp));
    }
}

static void only_in_its_place(void **state FOLD_UNUSED)
{
    uint8_t head[FOLD_REC_MAX_HEADER];
    struct fold_rec in = sample(16);
    struct fold_rec out;
    struct fold_seg_ident other = ident16;
    fold_rec_encode(&ident16, 8192, &in, head);
    assert_int_equal(fold_rec_decode(&ident16, 8208, 1u << 20, head, &out), -FOLD_E_BAD_RECORD);
    other.salt++;
    assert_int_equal(fold_rec_decode(&other, 8192, 1u << 20, head, &out), -FOLD_E_BAD_RECORD);
    other = ident16;
    other.seg++;
    assert_int_equal(fold_rec_decode(&other, 8192, 1u << 20, head, &out), -FOLD_E_BAD_RECORD);
    uint32_t end = 8192 + fold_rec_bytes(16, in.stored_len);
    assert_int_equal(fold_rec_decode(&ident16, 8192, end, head, &out), 0);
    assert_int_equal(fold_rec_decode(&ident16, 8192, end - 16, head, &out), -FOLD_E_BAD_RECORD);
    assert_int_equal(fold_rec_decode(&ident16, 8192, 8192, head, &out), -FOLD_E_BAD_RECORD);
    assert_int_equal(fold_rec_decode(&ident16, 8192, 0, head, &out), -FOLD_E_BAD_RECORD);
}

static void flipped_bits_fail(void **state FOLD_UNUSED)
{
    const struct fold_seg_ident *ids[] = {&ident16, &ident32};
    for (unsigned i = 0; i < 2; i++) {
        uint8_t head[FOLD_REC_MAX_HEADER];
        struct fold_rec in = sample(ids[i]->fp_width);
        struct fold_rec out;
        fold_rec_encode(ids[i], 4096, &in, head);
        for (unsigned bit = 0; bit < 8 * fold_rec_header_bytes(ids[i]->fp_width); bit++) {
            head[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            assert_int_equal(fold_rec_decode(ids[i], 4096, 1u << 20, head, &out),
                             -FOLD_E_BAD_RECORD);
            head[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
    }
}

static void bad_values_fail(void **state FOLD_UNUSED)
{
    struct fold_rec bad[5];
    uint8_t head[FOLD_REC_MAX_HEADER];
    struct fold_rec out;
    for (unsigned i = 0; i < 5; i++)
        bad[i] = sample(16);
    bad[0].raw_len = 0;
    bad[1].raw_len = FOLD_CHUNK_MAX_BYTES + 1;
    bad[2].stored_len = bad[2].raw_len + 1;
    bad[3].codec = 9;
    bad[4].codec = FOLD_CODEC_NONE; /* lengths differ */
    for (unsigned i = 0; i < 5; i++) {
        fold_rec_encode(&ident16, 4096, &bad[i], head);
        assert_int_equal(fold_rec_decode(&ident16, 4096, UINT32_MAX, head, &out),
                         -FOLD_E_BAD_RECORD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(only_in_its_place),
        cmocka_unit_test(flipped_bits_fail),
        cmocka_unit_test(bad_values_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
