/* SPDX-License-Identifier: MIT */
/*
 * The JSON form of statistics: every promised key, ratios of empty and full volumes, values beyond
 * 32 bits.
 */
#include "fs/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v))
        fail_msg("%s is missing or no number", key);
    return json_number_value(v);
}

static void an_empty_volume(void **state)
{
    struct fold_stats s;
    (void)state;
    memset(&s, 0, sizeof s);
    s.kernel_level = "scalar";
    json_t *o = fold_stats_to_json(&s);
    assert_non_null(o);
    assert_true(number(o, "dedup_ratio") == 1.0);
    assert_true(number(o, "compress_ratio") == 1.0);
    assert_true(number(o, "total_ratio") == 1.0);
    assert_true(number(o, "mean_chunk_bytes") == 0);
    assert_null(json_object_get(o, "transport"));
    assert_string_equal(json_string_value(json_object_get(o, "uuid")),
                        "00000000-0000-0000-0000-000000000000");
    json_decref(o);
}

static void every_key_is_there(void **state)
{
    static const char *const keys[] = {
        "files",          "directories",   "logical_bytes",   "unique_bytes", "stored_bytes",
        "segment_bytes",  "catalog_bytes", "garbage_bytes",   "chunks",       "dedup_ratio",
        "compress_ratio", "total_ratio",   "mean_chunk_bytes"};
    static const char *const ingest[] = {
        "bytes_in",       "zero_bytes",    "duplicate_bytes",
        "verified_bytes", "filter_probes", "filter_negatives",
        "locality_hits",  "index_lookups", "filter_false_positives"};
    (void)state;
    struct fold_stats s = {
        .uuid = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4d, 0xef, 0x80, 1, 2, 3, 4, 5, 6, 0xff},
        .files = 3,
        .logical_bytes = 6ull << 40,
        .unique_bytes = 2ull << 40,
        .stored_bytes = 1ull << 40,
        .chunks = 1u << 26,
        .mounted = true,
        .transport = "device",
        .kernel_level = "avx2"};
    s.ingest.duplicate_bytes = 4ull << 40;
    fold_kernels_counts(s.kernel);
    json_t *o = fold_stats_to_json(&s);
    assert_non_null(o);
    for (size_t i = 0; i < FOLD_ARRAY_LEN(keys); i++)
        (void)number(o, keys[i]);
    const json_t *in = json_object_get(o, "ingest");
    for (size_t i = 0; i < FOLD_ARRAY_LEN(ingest); i++)
        (void)number(in, ingest[i]);
    assert_true(number(in, "duplicate_bytes") == (double)(4ull << 40));
    assert_string_equal(json_string_value(json_object_get(o, "uuid")),
                        "01234567-89ab-4def-8001-0203040506ff");
    assert_string_equal(json_string_value(json_object_get(o, "kernel_level")), "avx2");
    assert_string_equal(json_string_value(json_object_get(o, "transport")), "device");
    assert_true(number(o, "dedup_ratio") == 3.0);
    assert_true(number(o, "compress_ratio") == 2.0);
    assert_true(number(o, "total_ratio") == 6.0);
    assert_true(number(o, "mean_chunk_bytes") == 32768);
    assert_true(json_is_true(json_object_get(o, "mounted")));
    const json_t *kernels = json_object_get(o, "kernels");
    assert_int_equal(json_object_size(kernels), FOLD_KERNELS);
    assert_true(json_is_integer(json_object_get(json_object_get(kernels, "cdc"), "calls")));
    assert_true(json_is_string(json_object_get(json_object_get(kernels, "cdc"), "level")));
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_volume),
        cmocka_unit_test(every_key_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
