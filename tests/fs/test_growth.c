/* SPDX-License-Identifier: MIT */
/* Which requests need space, and how much; short and odd ones are no danger. */
#include "fs/growth.h"
#include "fs/space.h"

#include <linux/falloc.h>
#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static uint64_t growth(uint32_t opcode, const void *arg, size_t len)
{
    static uint8_t request[4096];
    struct fuse_in_header h = {.opcode = opcode, .len = (uint32_t)(sizeof h + len)};
    memcpy(request, &h, sizeof h);
    if (len > 0)
        memcpy(request + sizeof h, arg, len);
    return fold_growth_of(request, sizeof h + len);
}

static void data_needs_what_it_is_long(void **state)
{
    (void)state;
    struct fuse_write_in w = {.size = 123456};
    struct fuse_fallocate_in a = {.length = 1u << 30},
                             p = {.length = 1u << 30, .mode = FALLOC_FL_PUNCH_HOLE};
    assert_int_equal(growth(FUSE_WRITE, &w, sizeof w), 123456);
    assert_int_equal(growth(FUSE_FALLOCATE, &a, sizeof a), 1u << 30);
    assert_int_equal(growth(FUSE_FALLOCATE, &p, sizeof p), 0);
    assert_int_equal(growth(FUSE_WRITE, NULL, 0), 0);
    assert_int_equal(growth(FUSE_FALLOCATE, &a, 4), 0);
}

static void names_need_their_share_of_the_catalog(void **state)
{
    (void)state;
    static const uint32_t names[] = {FUSE_CREATE,  FUSE_MKNOD, FUSE_MKDIR,
                                     FUSE_SYMLINK, FUSE_LINK,  51 /* FUSE_TMPFILE */};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(names); i++)
        assert_int_equal(growth(names[i], "name", 5), FOLD_SPACE_NAME_BYTES);
    assert_true(growth(FUSE_SETXATTR, "name", 5) > FOLD_SPACE_NAME_BYTES);
    static const uint32_t others[] = {FUSE_LOOKUP, FUSE_READ,   FUSE_UNLINK, FUSE_RMDIR,
                                      FUSE_FSYNC,  FUSE_RENAME, FUSE_SETATTR};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(others); i++)
        assert_int_equal(growth(others[i], "name", 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_needs_what_it_is_long),
        cmocka_unit_test(names_need_their_share_of_the_catalog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
