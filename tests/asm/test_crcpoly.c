/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic of CRCs: powers of x against repeated multiplication, combination over lengths no
 * buffer could have.
 */
#include "asm/crc32.h"
#include "asm/crc32c.h"
#include "asm/crcpoly.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint32_t polys[] = {FOLD_CRC32C_POLY, FOLD_CRC32_POLY};

static uint32_t times_x(uint32_t poly, uint32_t a)
{
    return a >> 1 ^ (poly & (0u - (a & 1)));
}

static void powers(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uint32_t want = 0x80000000u;
        for (uint64_t n = 0; n < 5000; n++) {
            assert_int_equal(fold_crcpoly_power(polys[i], n), want);
            want = times_x(polys[i], want);
        }
    }
}

static void products(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t a = 1; a < 4000; a += 371)
            for (uint64_t b = 1; b < 4000; b += 413)
                assert_int_equal(fold_crcpoly_mul(polys[i], fold_crcpoly_power(polys[i], a),
                                                  fold_crcpoly_power(polys[i], b)),
                                 fold_crcpoly_power(polys[i], a + b));
    }
}

/* CRC of n zero bytes by doubling, to compare with the direct way. */
static void combines_zeros(void **state)
{
    (void)state;
    size_t len = 100000;
    uint8_t *zeros = calloc(1, len);
    assert_non_null(zeros);
    uint32_t c = fold_crc32c_c(0, zeros, 1);
    uint32_t z = fold_crc32_c(0, zeros, 1);
    size_t n = 1;
    for (; 2 * n <= len; n *= 2) {
        c = fold_crc32c_combine(c, c, n);
        z = fold_crc32_combine(z, z, n);
        assert_int_equal(c, fold_crc32c_c(0, zeros, 2 * n));
        assert_int_equal(z, fold_crc32_c(0, zeros, 2 * n));
    }
    free(zeros);
}

/* Appending zeros without looking at them, to text and from nothing; lengths that no memory holds
 * agree with themselves in two steps. */
static void appends_zeros(void **state)
{
    (void)state;
    static uint8_t text[5000] = "some text and then nothing at all";
    for (size_t head = 0; head < 40; head += 13)
        for (size_t zeros = 0; zeros < sizeof text - 40; zeros += 1 + zeros / 3)
            assert_int_equal(fold_crc32_zeros(fold_crc32_c(0, text, head), zeros),
                             fold_crc32_c(fold_crc32_c(0, text, head), text + 40, zeros));
    uint64_t far = UINT64_C(1) << 62;
    assert_int_equal(fold_crc32_zeros(fold_crc32_zeros(7, far - 5), 6),
                     fold_crc32_zeros(7, far + 1));
}

/* (a b) c = a (b c), with pieces of many terabytes. */
static void combination_is_associative(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int i = 0; i < 1000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t a = (uint32_t)(seed >> 32);
        uint32_t b = (uint32_t)(seed >> 16);
        uint32_t c = (uint32_t)seed;
        uint64_t len_b = seed >> 20;
        uint64_t len_c = seed >> 22;
        uint32_t left = fold_crc32c_combine(fold_crc32c_combine(a, b, len_b), c, len_c);
        uint32_t right = fold_crc32c_combine(a, fold_crc32c_combine(b, c, len_c), len_b + len_c);
        assert_int_equal(left, right);
    }
}

/* Only CRC-32C has an instruction; nothing may mix the two up. */
static void the_two_differ(void **state)
{
    (void)state;
    assert_int_equal(fold_crc32c_c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(fold_crc32_c(0, "123456789", 9), 0xcbf43926u);
    assert_int_equal(fold_kernels()->crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(fold_kernels()->crc32(0, "123456789", 9), 0xcbf43926u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(powers),         cmocka_unit_test(products),
        cmocka_unit_test(combines_zeros), cmocka_unit_test(combination_is_associative),
        cmocka_unit_test(the_two_differ), cmocka_unit_test(appends_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
