/* SPDX-License-Identifier: MIT */
/*
 * XXH3-128 at each level against the library's streaming interface, which shares only its innermost
 * loop with the one-shot entry, and against fixed values.
 */
#include "asm/xxh3.h"
#include "tests/checkasm/harness.h"

#include <string.h>
#include <xxhash.h>

static void one(struct check *c, const struct fold_kernels *k, const uint8_t *data, size_t len)
{
    uint8_t *secret = check_high(c, 1, FOLD_XXH3_SECRET);
    uint64_t *out = (uint64_t *)(void *)check_low(c, 2, 64);
    uint64_t args[] = {CHECK_ARG(data), len, CHECK_ARG(secret), CHECK_ARG(out)};
    uint64_t ignored;
    check_canary_set(c, (uint8_t *)out, 16);
    if (check_call(c, (check_fn)k->fingerprint, args, 4, &ignored)) {
        XXH3_state_t *state = XXH3_createState();
        (void)XXH3_128bits_reset_withSecret(state, secret, FOLD_XXH3_SECRET);
        (void)XXH3_128bits_update(state, data, len);
        XXH128_hash_t want = XXH3_128bits_digest(state);
        (void)XXH3_freeState(state);
        if (out[0] != want.low64 || out[1] != want.high64)
            check_fail(c, CHECK_WRONG, "data %% 64 = %zu len %zu", (size_t)data % 64, len);
    }
    check_canary_verify(c, (uint8_t *)out, 16, "fingerprint");
}

/* Values that any version of the algorithm must give: the secret is 0, 1, 2, ..., the data i * 7.
 */
static void fixed(struct check *c, const struct fold_kernels *k)
{
    static const struct {
        size_t len;
        uint64_t low, high;
    } known[] = {
        {0, 0xf9aee4cf4cd0aecf, 0xf9aee4cf4cd0aecf},
        {1, 0xe0b51d1aa8ed8c0b, 0xc7e0efc0c84f7541},
        {9, 0x6e0e65b26bd16b58, 0xdf728e7b919ce8da},
        {17, 0x776bd27be7ee3606, 0x31ad586665218213},
        {130, 0x44438fea46500ad1, 0x94ad90a28d1f8807},
        {241, 0x9ca64b14c3b6cfb5, 0xcdbdc98188d7ec55},
        {1024, 0x7a83ee0de7a022ba, 0xc637e1c7b64f11e7},
        {4099, 0xe73a3b9a7d42043e, 0x4bc6f1133fb6a3e4},
        {16384, 0x320eaf5100fa9dfe, 0xe1cbe1ec711bdc14},
        {65536, 0xc6c38e7f7953dd8f, 0x416546e9559c470d},
    };
    uint8_t *secret = check_high(c, 1, FOLD_XXH3_SECRET);
    uint8_t *data = check_low(c, 0, 0);
    for (size_t i = 0; i < FOLD_XXH3_SECRET; i++)
        secret[i] = (uint8_t)i;
    for (size_t i = 0; i < 65536; i++)
        data[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint64_t out[2];
        k->fingerprint(data, known[i].len, secret, out);
        if (out[0] != known[i].low || out[1] != known[i].high)
            check_fail(c, CHECK_WRONG, "known value of length %zu", known[i].len);
    }
}

static void run(struct check *c, const struct fold_kernels *k)
{
    fixed(c, k);
    check_fill(c, check_high(c, 1, FOLD_XXH3_SECRET), FOLD_XXH3_SECRET);
    for (size_t len = 0; len <= CHECK_LEN_MAX; len++) {
        for (size_t m = 0; m < CHECK_ALIGN; m++) {
            uint8_t *data = check_low(c, 0, m);
            check_fill(c, data, len);
            one(c, k, data, len);
        }
        uint8_t *data = check_high(c, 0, len);
        check_fill(c, data, len);
        one(c, k, data, len);
    }
    for (int i = 0; i < 100; i++) {
        size_t len = check_random(c) % 70000;
        uint8_t *data = check_high(c, 0, len);
        check_fill(c, data, len);
        one(c, k, data, len);
    }
}

static void bench(struct check *c, const struct fold_kernels *k)
{
    static const size_t sizes[] = {64, 512, 4096, 16384, 65536, 1048576};
    uint64_t out[2];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t args[] = {CHECK_ARG(check_low(c, 0, 0)), sizes[i],
                           CHECK_ARG(check_high(c, 1, FOLD_XXH3_SECRET)), CHECK_ARG(out)};
        (void)check_bench(c, "fingerprint", (check_fn)k->fingerprint, args, 4, sizes[i]);
    }
}

const struct check_family check_xxh3 = {"xxh3", run, bench};
