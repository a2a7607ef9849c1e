/* SPDX-License-Identifier: MIT */
/*
 * The first bytes of a key are taken for a number. From the last key that could be read the search
 * goes forward in growing steps until something can be read again, then halves the last step. So a
 * good block between two bad ones may be passed over if it is small against its distance.
 */
#include "meta/base/err.h"
#include "meta/rescueparts.h"

#include <string.h>

#define DIGITS 20u /* a pair of numbers and a little more */

struct number {
    uint8_t digit[DIGITS];
};

bool fold_rescue_is_damage(int rc)
{
    return rc == -FOLD_E_BAD_CATALOG || rc == -FOLD_E_CATALOG_IO;
}

static struct number number_of(const struct fold_key *key)
{
    struct number n = {{0}};
    memcpy(n.digit, key->bytes, FOLD_MIN(key->len, (size_t)DIGITS));
    return n;
}

/* Adds 2 to the power of `bit`. False if that is beyond all keys. */
static bool add_power(struct number *n, unsigned bit)
{
    unsigned carry = 1u << (bit % 8);
    for (unsigned i = DIGITS - 1 - bit / 8; carry != 0; i--) {
        carry += n->digit[i];
        n->digit[i] = (uint8_t)carry;
        carry >>= 8;
        if (i == 0)
            break;
    }
    return carry == 0;
}

/* The one in the middle; false if there is none between them. */
static bool middle(const struct number *low, const struct number *high, struct number *mid)
{
    unsigned sum[DIGITS];
    unsigned carry = 0;
    for (unsigned i = DIGITS; i-- > 0;) {
        sum[i] = low->digit[i] + high->digit[i] + carry;
        carry = sum[i] >> 8;
        sum[i] &= 0xff;
    }
    for (unsigned i = 0; i < DIGITS; i++) {
        unsigned whole = carry << 8 | sum[i];
        mid->digit[i] = (uint8_t)(whole >> 1);
        carry = whole & 1;
    }
    return memcmp(mid, low, sizeof *mid) != 0;
}

/* With an iterator of its own: one that has met an error is not to be trusted with the next place.
 */
static int probe(struct fold_kv *kv, struct fold_kv_iter **it, const struct number *n,
                 struct fold_kv_entry *out)
{
    fold_kv_iter_close(*it);
    *it = NULL;
    int rc = fold_kv_iter_open(kv, n->digit, DIGITS, NULL, 0, true, it);
    if (rc < 0)
        return rc;
    fold_kv_iter_hush(*it);
    return fold_kv_iter_seek(*it, n->digit, DIGITS, out);
}

int fold_rescue_skip(struct fold_kv *kv, struct fold_kv_iter **it, const struct fold_key *last,
                     struct fold_key *before, struct fold_kv_entry *out)
{
    struct number low = number_of(last), high = low, mid;
    int rc = -FOLD_E_BAD_CATALOG;
    before->len = 0;
    for (unsigned bit = 0; bit < 8 * DIGITS && fold_rescue_is_damage(rc); bit++) {
        low = high;
        if (!add_power(&high, bit))
            return 0;
        rc = probe(kv, it, &high, out);
    }
    if (rc < 0)
        return fold_rescue_is_damage(rc) ? 0 : rc;
    while (middle(&low, &high, &mid)) {
        rc = probe(kv, it, &mid, out);
        if (rc < 0 && !fold_rescue_is_damage(rc))
            return rc;
        if (rc < 0)
            low = mid;
        else
            high = mid;
    }
    before->len = DIGITS;
    memcpy(before->bytes, high.digit, DIGITS);
    return probe(kv, it, &high, out);
}
