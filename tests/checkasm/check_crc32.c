/* SPDX-License-Identifier: MIT */
/*
 * CRC-32: plain C against a bit-by-bit oracle and known vectors, everything else against plain C.
 */
#include "asm/crc32.h"
#include "tests/checkasm/check_crc.h"

#if FOLD_HAVE_ZLIB
#include <zlib.h>
#endif

static const struct crc_law law = {
    .poly = FOLD_CRC32_POLY,
    .check = 0xcbf43926u, /* of "123456789" */
    .reference = fold_crc32_c,
    .combine = fold_crc32_combine,
};

static void run(struct check *c, const struct fold_kernels *k)
{
    crc_check(c, k->crc32, &law);
#if FOLD_HAVE_ZLIB
    for (int i = 0; i < 50; i++) {
        size_t len = check_random(c) % 5000;
        const uint8_t *p = check_high(c, 0, len);
        uint64_t args[] = {0, CHECK_ARG(p), len};
        uint64_t got;
        if (check_call(c, (check_fn)k->crc32, args, 3, &got) &&
            (uint32_t)got != (uint32_t)crc32(0, p, (uInt)len))
            check_fail(c, CHECK_WRONG, "zlib has another value for %zu bytes", len);
    }
#endif
}

static void bench(struct check *c, const struct fold_kernels *k)
{
    crc_bench(c, "crc32", k->crc32);
}

const struct check_family check_crc32 = {"crc32", run, bench};
