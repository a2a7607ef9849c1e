/* SPDX-License-Identifier: MIT */
/* Codecs: what is compressed comes back, what does not pay is refused, garbage is an error and not
 * a crash. */
#include "blob_rig.h"

#include "meta/codec.h"

#define LEN 20000u

static void round_trip(void **state FOLD_UNUSED)
{
    static const enum fold_codec codecs[] = {FOLD_CODEC_LZ4, FOLD_CODEC_ZSTD};
    static const size_t lens[] = {64, 100, 1000, 4096, 16384, LEN};
    static uint8_t raw[LEN];
    static uint8_t packed[LEN];
    static uint8_t back[LEN];
    for (size_t c = 0; c < 2; c++) {
        for (size_t i = 0; i < FOLD_ARRAY_LEN(lens); i++) {
            rig_fill(2, raw, lens[i]);
            size_t n = fold_codec_compress(codecs[c], 0, raw, lens[i], packed);
            assert_true(n > 0 && n <= lens[i] - lens[i] / 16);
            memset(back, 0xaa, sizeof back);
            assert_int_equal(fold_codec_decompress(codecs[c], packed, n, back, lens[i]), 0);
            assert_memory_equal(back, raw, lens[i]);
            assert_int_equal(fold_codec_decompress(codecs[c], packed, n, back, lens[i] - 1),
                             -FOLD_E_BAD_RECORD);
            assert_int_equal(fold_codec_decompress(codecs[c], packed, n, back, lens[i] + 1),
                             -FOLD_E_BAD_RECORD);
            assert_int_equal(fold_codec_decompress(codecs[c], packed, n - 1, back, lens[i]),
                             -FOLD_E_BAD_RECORD);
        }
    }
}

static void refuses_what_does_not_pay(void **state FOLD_UNUSED)
{
    static uint8_t raw[LEN];
    static uint8_t packed[LEN];
    rig_fill(1, raw, LEN);
    assert_int_equal(fold_codec_compress(FOLD_CODEC_LZ4, 0, raw, LEN, packed), 0);
    assert_int_equal(fold_codec_compress(FOLD_CODEC_ZSTD, 0, raw, LEN, packed), 0);
    assert_int_equal(fold_codec_compress(FOLD_CODEC_LZ4, 0, raw, 1, packed), 0);
    rig_fill(2, raw, LEN);
    assert_int_equal(fold_codec_compress(FOLD_CODEC_NONE, 0, raw, LEN, packed), 0);
}

/* A run that turns compressible is found out within a few chunks, and then none is passed over. */
static void run_is_found_out(void **state FOLD_UNUSED)
{
    static uint8_t noise[LEN];
    static uint8_t text[LEN];
    static uint8_t packed[LEN];
    struct fold_codec_run run = {0};
    rig_fill(1, noise, LEN);
    rig_fill(2, text, LEN);
    for (unsigned before = 0; before < 40; before++) {
        for (unsigned i = 0; i < before; i++)
            assert_int_equal(fold_codec_compress_next(&run, FOLD_CODEC_LZ4, 0, noise, LEN, packed),
                             0);
        unsigned missed = 0;
        while (fold_codec_compress_next(&run, FOLD_CODEC_LZ4, 0, text, LEN, packed) == 0)
            missed++;
        assert_in_range(missed, 0, before <= 4 ? 0 : 3);
        for (unsigned i = 0; i < 8; i++)
            assert_true(fold_codec_compress_next(&run, FOLD_CODEC_LZ4, 0, text, LEN, packed) > 0);
    }
}

static void garbage_is_an_error(void **state FOLD_UNUSED)
{
    static uint8_t noise[LEN];
    static uint8_t back[LEN];
    for (uint64_t seed = 1; seed < 400; seed += 2) {
        size_t len = 1 + rig_mix(seed) % 300;
        rig_fill(seed, noise, len);
        (void)!fold_codec_decompress(FOLD_CODEC_LZ4, noise, len, back, 1 + rig_mix(seed) % LEN);
        assert_int_equal(fold_codec_decompress(FOLD_CODEC_ZSTD, noise, len, back, LEN),
                         -FOLD_E_BAD_RECORD);
    }
    assert_int_equal(fold_codec_decompress((enum fold_codec)7, noise, 10, back, 10),
                     -FOLD_E_BAD_RECORD);
    assert_int_equal(fold_codec_decompress(FOLD_CODEC_NONE, noise, 10, back, 11),
                     -FOLD_E_BAD_RECORD);
}

static void scratch_slots_are_apart(void **state FOLD_UNUSED)
{
    uint8_t *a = fold_codec_scratch(FOLD_SCRATCH_PUT, 1000);
    uint8_t *b = fold_codec_scratch(FOLD_SCRATCH_VERIFY, 1000);
    assert_true(a != NULL && b != NULL && a != b);
    memset(a, 1, 1000);
    memset(b, 2, 1000);
    assert_int_equal(a[999], 1);
    assert_ptr_equal(fold_codec_scratch(FOLD_SCRATCH_PUT, 500), a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(refuses_what_does_not_pay),
        cmocka_unit_test(run_is_found_out),
        cmocka_unit_test(garbage_is_an_error),
        cmocka_unit_test(scratch_slots_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
