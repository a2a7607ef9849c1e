/* SPDX-License-Identifier: MIT */
/*
 * What is printed of names: nothing that a terminal obeys, all of what it shows.
 */
#include "meta/base/say.h"

#include "meta/base/log.h"

#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void is(const char *text, const char *want)
{
    char got[256];
    assert_int_equal(fold_escape(text, got, sizeof got), strlen(want));
    assert_string_equal(got, want);
}

static void what_is_shown_stays(void **state)
{
    (void)state;
    is("", "");
    is("plain name, (1).txt", "plain name, (1).txt");
    is("\xc3\xbcml\xc3\xa4ut \xe2\x82\xac \xf0\x9f\x98\x80",
       "\xc3\xbcml\xc3\xa4ut \xe2\x82\xac \xf0\x9f\x98\x80");
    is("\xc2\xa0\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80",
       "\xc2\xa0\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80");
}

static void what_is_obeyed_does_not(void **state)
{
    (void)state;
    is("\x1b[2J\x1b]0;title\x07", "\\033[2J\\033]0;title\\007");
    is("two\nlines\r\t\x7f\x01", "two\\012lines\\015\\011\\177\\001");
    is("\xc2\x9b"
       "31m",
       "\\302\\23331m"); /* CSI as one character */
    is("\x9b"
       "31m",
       "\\23331m"); /* and as one byte */
    is("a\xe2\x80\xae"
       "b",
       "a\\342\\200\\256b"); /* right-to-left override */
    is("\xe2\x80\xa8\xe2\x81\xa6\xd8\x9c", "\\342\\200\\250\\342\\201\\246\\330\\234");
    is("back\\slash \\033", "back\\\\slash \\\\033");
}

static void what_is_no_utf8_is_shown_bytewise(void **state)
{
    (void)state;
    is("\xff\xfe", "\\377\\376");
    is("cut \xe2\x82", "cut \\342\\202");
    is("\xc0\xaf\xe0\x80\xaf", "\\300\\257\\340\\200\\257"); /* not the shortest form */
    is("\xed\xa0\x80", "\\355\\240\\200");                   /* a surrogate */
    is("\xf4\x90\x80\x80\xf5", "\\364\\220\\200\\200\\365");
}

/* Every byte string of every length: only harmless bytes come out, and never half a character. */
static void nothing_else_comes_out(void **state)
{
    (void)state;
    uint32_t x = 1;
    for (int i = 0; i < 200000; i++) {
        char text[24], got[128];
        size_t len = (x >> 8) % sizeof text;
        for (size_t k = 0; k < len; k++) {
            x = x * 1664525u + 1013904223u;
            text[k] = (char)(x >> 24 | 1);
        }
        text[len] = '\0';
        size_t want = fold_escape(text, got, sizeof got);
        assert_int_equal(strlen(got), want);
        for (size_t k = 0; k < want; k++)
            assert_true((uint8_t)got[k] >= 0x20 && got[k] != 0x7f);
        char small[16], again[128];
        size_t size = 1 + (x >> 4) % sizeof small;
        assert_int_equal(fold_escape(text, small, size), want);
        assert_true(strlen(small) < size);
        assert_memory_equal(small, got, strlen(small));
        /* What was cut is whole UTF-8: only its backslashes are escaped once more. */
        size_t twice = strlen(small);
        for (const char *p = small; *p != '\0'; p++)
            twice += *p == '\\';
        assert_int_equal(fold_escape(small, again, sizeof again), twice);
        x = x * 1664525u + 1013904223u;
    }
}

static void lines_are_escaped_as_a_whole(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    char name[3000];
    memset(name, '\n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    FILE *out = open_memstream(&text, &len);
    fold_say(out, "in %s: %d", "a\nb", 5);
    fold_say(out, "%s", name);
    fclose(out);
    assert_non_null(strstr(text, "in a\\012b: 5\n\\012\\012"));
    assert_int_equal(len, strlen("in a\\012b: 5\n") + 4 * (sizeof name - 1) + 1);
    free(text);
}

static void so_is_the_log(void **state)
{
    (void)state;
    char got[256] = "";
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    assert_non_null(file);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    fold_error("file '%s'", "\x1b]0;x\x07\nfoldfs: error: all is lost");
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_true(pread(fileno(file), got, sizeof got - 1, 0) > 0);
    assert_string_equal(got,
                        "foldfs: error: file '\\033]0;x\\007\\012foldfs: error: all is lost'\n");
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_shown_stays),
        cmocka_unit_test(what_is_obeyed_does_not),
        cmocka_unit_test(what_is_no_utf8_is_shown_bytewise),
        cmocka_unit_test(nothing_else_comes_out),
        cmocka_unit_test(lines_are_escaped_as_a_whole),
        cmocka_unit_test(so_is_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
