/* SPDX-License-Identifier: MIT */
#include "tests/fs/content_rig.h"

#include "fs/direct.h"
#include "fs/reply.h"

#define PAGE FOLD_DIRECT_PAGE

static int put(struct rig *r, struct fold_write w)
{
    uint64_t dirty;
    return fold_data_write(r->session, r->inode, &w, &dirty);
}

/* The kernel reads into its page cache. */
static void page_in(struct rig *r, uint64_t off, size_t len)
{
    struct fold_read read = {.fills = true};
    assert_int_equal(fold_read_collect(r->session, r->inode, off, len, &read), 0);
    fold_read_fini(r->session, &read);
}

static void expect(struct rig *r, uint64_t off, const char *bytes)
{
    char got[64] = {0};
    struct fold_read read = {0};
    assert_int_equal(fold_read_collect(r->session, r->inode, off, strlen(bytes), &read), 0);
    assert_int_equal(fold_read_copy(&read, got), 0);
    fold_read_fini(r->session, &read);
    assert_string_equal(got, bytes);
}

static uint64_t shown_size(struct rig *r)
{
    struct stat st;
    fold_reply_stat(r->session, r->inode, &st);
    return (uint64_t)st.st_size;
}

static const uint8_t *letters(char c)
{
    static uint8_t buf[3 * PAGE];
    memset(buf, c, sizeof buf);
    return buf;
}

/* A page older than a direct write changes everything but what the direct write wrote. */
static void older_pages(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    struct fold_direct guard = {.off = PAGE - 4, .end = 2 * PAGE + 4};
    const uint32_t len = PAGE + 8;
    assert_int_equal(put(&r, (struct fold_write){.data = letters('a'), .len = 3 * PAGE}), 0);
    struct fold_write direct = {.off = guard.off, .data = letters('d'), .len = len, .direct = true};
    assert_int_equal(put(&r, direct), 0); /* nothing is cached */
    page_in(&r, 0, 3 * PAGE);
    assert_int_equal(put(&r, direct), FOLD_WRITE_GUARD);
    direct.guard = &guard;
    assert_int_equal(put(&r, direct), 0);
    struct fold_write page = {.data = letters('m'), .len = PAGE, .mapped = true};
    for (page.off = 0; page.off < 3 * PAGE; page.off += PAGE) {
        page.data = letters('m');
        assert_int_equal(put(&r, page), 0);
    }
    expect(&r, PAGE - 8, "mmmmdddd");
    expect(&r, PAGE, "dddd");
    expect(&r, 2 * PAGE - 4, "dddddddd");
    expect(&r, 2 * PAGE + 4, "mmmm");
    /* Buffered writes are not left out. */
    assert_int_equal(put(&r, (struct fold_write){.off = PAGE, .data = letters('b'), .len = 4}), 0);
    expect(&r, PAGE - 4, "ddddbbbbdddd");
    fold_direct_leave(r.inode, &guard);
    page.off = PAGE;
    page.data = letters('n');
    assert_int_equal(put(&r, page), 0);
    expect(&r, PAGE - 4, "ddddnnnn");
    rig_teardown(&r);
}

/* A page read after the direct write is new: stores to it are kept. */
static void newer_pages(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    struct fold_direct one = {.off = 100, .end = 100 + PAGE}, two = {.off = PAGE, .end = 2 * PAGE};
    struct fold_write w = {.data = letters('a'), .len = 3 * PAGE};
    assert_int_equal(put(&r, w), 0);
    w = (struct fold_write){100, letters('1'), PAGE, .direct = true, .guard = &one};
    assert_int_equal(put(&r, w), 0);
    page_in(&r, 0, PAGE);
    page_in(&r, PAGE, PAGE - 1); /* not all of the page */
    w = (struct fold_write){0, letters('m'), PAGE, .mapped = true};
    assert_int_equal(put(&r, w), 0);
    expect(&r, 98, "mmmm");
    w.off = PAGE;
    w.data = letters('m');
    assert_int_equal(put(&r, w), 0);
    expect(&r, PAGE, "1111");
    expect(&r, PAGE + 98, "11mm");
    /* New to one, but older than the next. */
    page_in(&r, PAGE, PAGE);
    w = (struct fold_write){PAGE, letters('2'), PAGE, .direct = true, .guard = &two};
    assert_int_equal(put(&r, w), 0);
    w = (struct fold_write){PAGE, letters('m'), PAGE, .mapped = true};
    assert_int_equal(put(&r, w), 0);
    expect(&r, PAGE, "2222");
    fold_direct_leave(r.inode, &one);
    assert_int_equal(put(&r, w), 0);
    expect(&r, PAGE, "2222");
    fold_direct_leave(r.inode, &two);
    assert_int_equal(put(&r, w), 0);
    expect(&r, PAGE, "mmmm");
    rig_teardown(&r);
}

/* The longest write, at an odd place: its last page as well. */
static void longest(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    struct fold_direct guard = {.off = PAGE - 1, .end = PAGE - 1 + FOLD_DIRECT_MOST};
    uint8_t *bytes = calloc(1, FOLD_DIRECT_MOST);
    assert_non_null(bytes);
    memset(bytes, 'd', FOLD_DIRECT_MOST);
    struct fold_write w = {guard.off, bytes, FOLD_DIRECT_MOST, .direct = true, .guard = &guard};
    assert_int_equal(put(&r, w), 0);
    page_in(&r, FOLD_DIRECT_MOST, PAGE);
    w = (struct fold_write){FOLD_DIRECT_MOST, letters('m'), PAGE, .mapped = true};
    assert_int_equal(put(&r, w), 0);
    expect(&r, FOLD_DIRECT_MOST - 2, "ddmm");
    fold_direct_leave(r.inode, &guard);
    free(bytes);
    rig_teardown(&r);
}

/* A grown size is shown when the write ends, or when somebody sets the size. */
static void sizes(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    struct fold_direct one = {.off = 100, .end = 200}, two = {.off = 150, .end = 300};
    assert_int_equal(put(&r, (struct fold_write){.data = letters('a'), .len = 100}), 0);
    struct fold_write w = {100, letters('1'), 100, .direct = true, .guard = &one};
    assert_int_equal(put(&r, w), 0);
    assert_int_equal(shown_size(&r), 100);
    assert_int_equal(fold_reply_timeout(r.inode), 0);
    expect(&r, 98, "aa11"); /* the bytes are there */
    w = (struct fold_write){150, letters('2'), 150, .direct = true, .guard = &two};
    assert_int_equal(put(&r, w), 0);
    assert_int_equal(shown_size(&r), 100);
    fold_direct_leave(r.inode, &one);
    assert_int_equal(shown_size(&r), 200);
    assert_int_equal(fold_data_truncate(r.session, r.inode, 1000, false, NULL), 0);
    assert_int_equal(shown_size(&r), 1000);
    fold_direct_leave(r.inode, &two);
    assert_int_equal(shown_size(&r), 1000);
    rig_teardown(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(older_pages),
        cmocka_unit_test(newer_pages),
        cmocka_unit_test(longest),
        cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
