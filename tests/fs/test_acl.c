/* SPDX-License-Identifier: MIT */
/*
 * Access control lists: which byte strings are lists, and what chmod, creation and equivalence make
 * of every combination of permissions.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/acl.h"

#include <errno.h>
#include <linux/posix_acl.h>
#include <sys/stat.h>

#define NOBODY UINT32_MAX

struct builder {
    uint8_t bytes[512];
    size_t len;
};

static void put(struct builder *b, uint32_t v, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        b->bytes[b->len++] = (uint8_t)(v >> (8 * i));
}

static struct builder begin(uint32_t version)
{
    struct builder b = {.len = 0};
    put(&b, version, 4);
    return b;
}

static void entry(struct builder *b, uint16_t tag, uint16_t perm, uint32_t id)
{
    put(b, tag, 2);
    put(b, perm, 2);
    put(b, id, 4);
}

static struct builder minimal(uint16_t owner, uint16_t group, uint16_t other)
{
    struct builder b = begin(2);
    entry(&b, ACL_USER_OBJ, owner, NOBODY);
    entry(&b, ACL_GROUP_OBJ, group, NOBODY);
    entry(&b, ACL_OTHER, other, NOBODY);
    return b;
}

static struct builder extended(uint16_t owner, uint16_t group, uint16_t mask, uint16_t other)
{
    struct builder b = begin(2);
    entry(&b, ACL_USER_OBJ, owner, NOBODY);
    entry(&b, ACL_USER, 7, 1000);
    entry(&b, ACL_USER, 0, 1001);
    entry(&b, ACL_GROUP_OBJ, group, NOBODY);
    entry(&b, ACL_GROUP, 5, 50);
    entry(&b, ACL_MASK, mask, NOBODY);
    entry(&b, ACL_OTHER, other, NOBODY);
    return b;
}

static struct fold_acl parse(const struct builder *b)
{
    struct fold_acl acl = {0};
    assert_int_equal(fold_acl_parse(b->bytes, b->len, &acl), 0);
    return acl;
}

static void refuse(const struct builder *b, int code)
{
    struct fold_acl acl = {.count = 77};
    assert_int_equal(fold_acl_parse(b->bytes, b->len, &acl), code);
    assert_int_equal(acl.count, 77);
}

static uint16_t perm_of(const struct fold_acl *acl, uint16_t tag)
{
    for (uint32_t i = 0; i < acl->count; i++)
        if (acl->entries[i].tag == tag)
            return acl->entries[i].perm;
    fail_msg("no entry with tag %u", tag);
    return 0;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct builder lists[] = {begin(2), minimal(7, 5, 0), extended(6, 4, 2, 1)};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(lists); i++) {
        struct fold_acl acl = parse(&lists[i]);
        void *data = NULL;
        size_t len = 0;
        assert_int_equal(acl.count, (lists[i].len - 4) / 8);
        assert_int_equal(fold_acl_encode(&acl, &data, &len), 0);
        assert_int_equal(len, lists[i].len);
        assert_memory_equal(data, lists[i].bytes, len);
        free(data);
        fold_acl_fini(&acl);
    }
}

static void test_refuses(void **state)
{
    (void)state;
    struct builder b = begin(1);
    refuse(&b, -EOPNOTSUPP);
    b = minimal(7, 7, 7);
    for (b.len--; b.len > 4; b.len--)
        refuse(&b, -EINVAL);
    for (b.len = 0; b.len < 4; b.len++)
        refuse(&b, -EINVAL);
    b = minimal(8, 0, 0);
    refuse(&b, -EINVAL);

    b = begin(2); /* named user without mask */
    entry(&b, ACL_USER_OBJ, 7, NOBODY);
    entry(&b, ACL_USER, 7, 1);
    entry(&b, ACL_GROUP_OBJ, 7, NOBODY);
    entry(&b, ACL_OTHER, 7, NOBODY);
    refuse(&b, -EINVAL);

    b = begin(2); /* named user after the group */
    entry(&b, ACL_USER_OBJ, 7, NOBODY);
    entry(&b, ACL_GROUP_OBJ, 7, NOBODY);
    entry(&b, ACL_USER, 7, 1);
    entry(&b, ACL_MASK, 7, NOBODY);
    entry(&b, ACL_OTHER, 7, NOBODY);
    refuse(&b, -EINVAL);

    b = extended(7, 7, 7, 7); /* something after the end */
    entry(&b, ACL_OTHER, 7, NOBODY);
    refuse(&b, -EINVAL);

    b = begin(2); /* a named user who is nobody */
    entry(&b, ACL_USER_OBJ, 7, NOBODY);
    entry(&b, ACL_USER, 7, NOBODY);
    entry(&b, ACL_GROUP_OBJ, 7, NOBODY);
    entry(&b, ACL_MASK, 7, NOBODY);
    entry(&b, ACL_OTHER, 7, NOBODY);
    refuse(&b, -EINVAL);

    b = begin(2); /* unknown tag */
    entry(&b, 0x40, 7, NOBODY);
    refuse(&b, -EINVAL);
}

/* Every single change of a tag in a good list: only lists in the right order pass. */
static void test_order(void **state)
{
    (void)state;
    static const uint8_t tags[] = {ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ,
                                   ACL_GROUP,    ACL_MASK, ACL_OTHER};
    unsigned good = 0;
    for (size_t at = 0; at < 7; at++) {
        for (size_t t = 0; t < FOLD_ARRAY_LEN(tags); t++) {
            struct builder b = extended(7, 7, 7, 7);
            b.bytes[4 + at * 8] = tags[t];
            b.bytes[4 + at * 8 + 4] = 9; /* an id, so that the entry may be a named one */
            b.bytes[4 + at * 8 + 7] = 0;
            struct fold_acl acl = {0};
            if (fold_acl_parse(b.bytes, b.len, &acl) == 0)
                good++;
            fold_acl_fini(&acl);
        }
    }
    /* Each of the seven entries passes with its own tag only. */
    assert_int_equal(good, 7);
}

static void test_to_mode(void **state)
{
    (void)state;
    for (uint16_t p = 0; p < 512; p++) {
        uint16_t o = p >> 6 & 7, g = p >> 3 & 7, x = p & 7;
        struct builder b = minimal(o, g, x);
        struct fold_acl acl = parse(&b);
        mode_t mode = S_IFREG | 06123;
        assert_true(fold_acl_to_mode(&acl, &mode));
        assert_int_equal(mode, (mode_t)(S_IFREG | 06000 | p));
        fold_acl_fini(&acl);

        b = extended(o, 7 - g, g, x);
        acl = parse(&b);
        mode = S_IFDIR | 01777;
        assert_false(fold_acl_to_mode(&acl, &mode));
        assert_int_equal(mode, (mode_t)(S_IFDIR | 01000 | p));
        fold_acl_fini(&acl);
    }
}

static void test_mask_alone_is_more_than_bits(void **state)
{
    (void)state;
    struct builder b = begin(2);
    entry(&b, ACL_USER_OBJ, 6, NOBODY);
    entry(&b, ACL_GROUP_OBJ, 6, NOBODY);
    entry(&b, ACL_MASK, 4, NOBODY);
    entry(&b, ACL_OTHER, 0, NOBODY);
    struct fold_acl acl = parse(&b);
    mode_t mode = S_IFREG;
    assert_false(fold_acl_to_mode(&acl, &mode));
    assert_int_equal(mode, (mode_t)(S_IFREG | 0640));
    fold_acl_fini(&acl);
}

static void test_chmod(void **state)
{
    (void)state;
    for (mode_t m = 0; m < 512; m++) {
        struct builder b = minimal(1, 2, 4);
        struct fold_acl acl = parse(&b);
        fold_acl_chmod(&acl, S_IFREG | 07000 | m);
        assert_int_equal(perm_of(&acl, ACL_USER_OBJ), m >> 6);
        assert_int_equal(perm_of(&acl, ACL_GROUP_OBJ), m >> 3 & 7);
        assert_int_equal(perm_of(&acl, ACL_OTHER), m & 7);
        fold_acl_fini(&acl);

        b = extended(1, 2, 3, 4);
        acl = parse(&b);
        fold_acl_chmod(&acl, m);
        assert_int_equal(perm_of(&acl, ACL_USER_OBJ), m >> 6);
        assert_int_equal(perm_of(&acl, ACL_USER), 7);
        assert_int_equal(perm_of(&acl, ACL_GROUP_OBJ), 2);
        assert_int_equal(perm_of(&acl, ACL_GROUP), 5);
        assert_int_equal(perm_of(&acl, ACL_MASK), m >> 3 & 7);
        assert_int_equal(perm_of(&acl, ACL_OTHER), m & 7);
        mode_t back = 0;
        (void)fold_acl_to_mode(&acl, &back);
        assert_int_equal(back, m);
        fold_acl_fini(&acl);
    }
}

/* Creation: list and requested mode narrow each other, class by class; named entries stay. */
static void test_inherit(void **state)
{
    (void)state;
    for (unsigned list = 0; list < 512; list++) {
        for (mode_t asked = 0; asked < 512; asked += 7) {
            uint16_t o = list >> 6 & 7, g = list >> 3 & 7, x = list & 7;
            struct builder b = minimal(o, g, x);
            struct fold_acl acl = parse(&b);
            mode_t mode = S_IFREG | 02000 | asked;
            assert_false(fold_acl_inherit(&acl, &mode));
            assert_int_equal(mode, S_IFREG | 02000 | (asked & list));
            fold_acl_fini(&acl);

            b = extended(o, 3, g, x);
            acl = parse(&b);
            mode = S_IFDIR | asked;
            assert_true(fold_acl_inherit(&acl, &mode));
            assert_int_equal(mode, S_IFDIR | (asked & list));
            assert_int_equal(perm_of(&acl, ACL_MASK), (asked & list) >> 3 & 7);
            assert_int_equal(perm_of(&acl, ACL_GROUP_OBJ), 3);
            assert_int_equal(perm_of(&acl, ACL_USER), 7);
            assert_int_equal(perm_of(&acl, ACL_USER_OBJ), (asked & list) >> 6 & 7);
            assert_int_equal(perm_of(&acl, ACL_OTHER), asked & list & 7);
            fold_acl_fini(&acl);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_to_mode),
        cmocka_unit_test(test_mask_alone_is_more_than_bits),
        cmocka_unit_test(test_chmod),
        cmocka_unit_test(test_inherit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
