/* SPDX-License-Identifier: MIT */
/*
 * The check both CRCs share: known vectors, a bit-by-bit oracle, continuation, combination.
 */
#include "tests/checkasm/check_crc.h"

#include <string.h>

static uint32_t bitwise(uint32_t poly, uint32_t crc, const uint8_t *p, size_t len)
{
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int b = 0; b < 8; b++)
            crc = crc >> 1 ^ (poly & (0u - (crc & 1)));
    }
    return ~crc;
}

/* The kernel through the harness; 0 after a failure, which is counted already. */
static uint32_t call(struct check *c, crc_fn *crc, uint32_t start, const void *p, size_t len)
{
    uint64_t args[] = {check_arg32(c, start), CHECK_ARG(p), len};
    uint64_t got;
    return check_call(c, (check_fn)crc, args, 3, &got) ? (uint32_t)got : 0;
}

static void one(struct check *c, crc_fn *crc, const struct crc_law *law, const uint8_t *p,
                size_t len)
{
    uint32_t start = check_random(c) % 4 == 0 ? 0 : (uint32_t)check_random(c);
    uint64_t args[] = {check_arg32(c, start), CHECK_ARG(p), len};
    uint64_t got;
    uint32_t want = law->reference(start, p, len);
    if (check_call(c, (check_fn)crc, args, 3, &got) && (uint32_t)got != want)
        check_fail(c, CHECK_WRONG, "data %% 64 = %zu len %zu start %08x: %08x instead of %08x",
                   (size_t)p % 64, len, start, (uint32_t)got, want);
}

static void known(struct check *c, crc_fn *crc, const struct crc_law *law)
{
    uint8_t *p = check_high(c, 0, CHECK_LEN_MAX);
    if (call(c, crc, 0, "123456789", 9) != law->check ||
        law->reference(0, "123456789", 9) != law->check)
        check_fail(c, CHECK_WRONG, "the check value of the standard");
    check_fill(c, p, CHECK_LEN_MAX);
    for (size_t len = 0; len <= CHECK_LEN_MAX; len++)
        if (law->reference(0x1234567, p, len) != bitwise(law->poly, 0x1234567, p, len))
            check_fail(c, CHECK_WRONG, "plain C against bit by bit, len %zu", len);
}

static void pieces(struct check *c, crc_fn *crc, const struct crc_law *law)
{
    uint8_t *p = check_low(c, 0, 5);
    check_fill(c, p, 10000);
    uint32_t whole = call(c, crc, 0, p, 10000);
    for (int i = 0; i < 50; i++) {
        size_t cut = check_random(c) % 10001;
        uint32_t first = call(c, crc, 0, p, cut);
        uint32_t second = call(c, crc, 0, p + cut, 10000 - cut);
        if (call(c, crc, first, p + cut, 10000 - cut) != whole)
            check_fail(c, CHECK_WRONG, "continued at %zu", cut);
        if (law->combine(first, second, 10000 - cut) != whole)
            check_fail(c, CHECK_WRONG, "combined at %zu", cut);
    }
}

void crc_check(struct check *c, crc_fn *crc, const struct crc_law *law)
{
    known(c, crc, law);
    for (size_t len = 0; len <= CHECK_LEN_MAX; len++) {
        check_fill(c, check_low(c, 0, 0), len + CHECK_ALIGN);
        for (size_t m = 0; m < CHECK_ALIGN; m++)
            one(c, crc, law, check_low(c, 0, m), len);
        check_fill(c, check_high(c, 0, len), len);
        one(c, crc, law, check_high(c, 0, len), len);
    }
    for (int i = 0; i < 100; i++) {
        size_t len = check_random(c) % 70000;
        check_fill(c, check_high(c, 0, len), len);
        one(c, crc, law, check_high(c, 0, len), len);
    }
    check_fill(c, check_low(c, 0, 0), CHECK_AREA_BYTES);
    one(c, crc, law, check_low(c, 0, 0), CHECK_AREA_BYTES);
    pieces(c, crc, law);
}

void crc_bench(struct check *c, const char *name, crc_fn *crc)
{
    static const size_t sizes[] = {16, 64, 256, 4096, 16384, 65536, 1048576};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t args[] = {0, CHECK_ARG(check_low(c, 0, 0)), sizes[i]};
        (void)check_bench(c, name, (check_fn)crc, args, 3, sizes[i]);
    }
}
