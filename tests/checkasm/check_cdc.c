/* SPDX-License-Identifier: MIT */
/*
 * The candidate scan against the form evaluated position by position.
 */
#include "asm/cdc.h"
#include "tests/checkasm/harness.h"

#include <string.h>

struct scan {
    const uint8_t *data;
    size_t from;
    size_t to;
    int32_t form;
};

static size_t oracle(const struct scan *s)
{
    for (size_t i = s->from; i < s->to; i++)
        if (fold_cdc_form(s->data, i) > s->form)
            return i;
    return s->to;
}

static void one(struct check *c, const struct fold_kernels *k, const struct scan *s)
{
    uint64_t args[] = {CHECK_ARG(s->data), s->from, s->to, check_arg32(c, (uint32_t)s->form)};
    uint64_t got;
    size_t want = oracle(s);
    if (check_call(c, (check_fn)k->cdc_scan, args, 4, &got) && got != want)
        check_fail(c, CHECK_WRONG, "data %% 64 = %zu from %zu to %zu form %d: %zu instead of %zu",
                   (size_t)s->data % 64, s->from, s->to, s->form, (size_t)got, want);
}

/* Thresholds from "none" to "nearly all", so that hits fall everywhere in a block. */
static int32_t some_form(struct check *c)
{
    static const int32_t forms[] = {32767, 32766, 32751, 32703, 32639, 31743, 16000, 0};
    return forms[check_random(c) % 8];
}

static void fill(struct check *c, uint8_t *p, size_t len)
{
    uint64_t kind = check_random(c) % 4;
    check_fill(c, p, len);
    if (kind == 0) /* few different bytes: many equal forms */
        for (size_t i = 0; i < len; i++)
            p[i] &= 0x41;
    if (kind == 1) /* mostly zero */
        for (size_t i = 0; i < len; i++)
            p[i] = p[i] < 5 ? p[i] : 0;
}

static void run(struct check *c, const struct fold_kernels *k)
{
    for (size_t len = 0; len <= CHECK_LEN_MAX; len++) {
        size_t before = FOLD_CDC_BEFORE + check_random(c) % 64;
        size_t bytes = before + len - (len > 0);
        fill(c, check_low(c, 0, 0), bytes + CHECK_ALIGN);
        for (size_t m = 0; m < CHECK_ALIGN; m++)
            one(c, k, &(struct scan){check_low(c, 0, m), before, before + len, some_form(c)});
        uint8_t *high = check_high(c, 0, bytes);
        fill(c, high, bytes);
        for (int i = 0; i < 4; i++)
            one(c, k, &(struct scan){high, before, before + len, some_form(c)});
    }
    for (int i = 0; i < 100; i++) {
        size_t bytes = 2 * FOLD_CDC_BEFORE + check_random(c) % 50000;
        size_t from = FOLD_CDC_BEFORE + check_random(c) % FOLD_CDC_BEFORE;
        uint8_t *high = check_high(c, 0, bytes);
        fill(c, high, bytes);
        one(c, k, &(struct scan){high, from, bytes + 1, 32767 - (int32_t)(check_random(c) % 8)});
    }
    memset(check_low(c, 0, 0), 0, 100000);
    one(c, k, &(struct scan){check_low(c, 0, 1), 600, 90000, 0}); /* zeros never cut */
}

static void bench(struct check *c, const struct fold_kernels *k)
{
    static const size_t sizes[] = {512, 4096, 16384, 1048576};
    check_fill(c, check_low(c, 0, 0), CHECK_AREA_BYTES);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t args[] = {CHECK_ARG(check_low(c, 0, 0)), 512, 512 + sizes[i], 32767};
        (void)check_bench(c, "cdc_scan", (check_fn)k->cdc_scan, args, 4, sizes[i]);
    }
}

const struct check_family check_cdc = {"cdc", run, bench};
