/* SPDX-License-Identifier: MIT */
/*
 * CRC-32C: plain C against a bit-by-bit oracle and known vectors, everything else against plain C.
 */
#include "asm/crc32c.h"
#include "tests/checkasm/check_crc.h"

static const struct crc_law law = {
    .poly = FOLD_CRC32C_POLY,
    .check = 0xe3069283u, /* of "123456789" */
    .reference = fold_crc32c_c,
    .combine = fold_crc32c_combine,
};

static void run(struct check *c, const struct fold_kernels *k)
{
    crc_check(c, k->crc32c, &law);
}

static void bench(struct check *c, const struct fold_kernels *k)
{
    crc_bench(c, "crc32c", k->crc32c);
}

const struct check_family check_crc32c = {"crc32c", run, bench};
