/* SPDX-License-Identifier: MIT */
/*
 * The check both CRCs share.
 */
#ifndef FOLD_TESTS_CHECKASM_CHECK_CRC_H
#define FOLD_TESTS_CHECKASM_CHECK_CRC_H

#include "tests/checkasm/harness.h"

typedef uint32_t crc_fn(uint32_t crc, const void *data, size_t len);

struct crc_law {
    uint32_t poly;  /* reflected */
    uint32_t check; /* CRC of "123456789" */
    crc_fn *reference;
    uint32_t (*combine)(uint32_t crc1, uint32_t crc2, uint64_t len2);
};

void crc_check(struct check *c, crc_fn *crc, const struct crc_law *law);
void crc_bench(struct check *c, const char *name, crc_fn *crc);

#endif
