/* SPDX-License-Identifier: MIT */
/*
 * Escaping looks at one UTF-8 sequence at a time; the shortest form only, no surrogates.
 */
#include "meta/base/say.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 1024

/* Length of the sequence at `p` and its code point; 0 if it is none. */
static size_t decode(const uint8_t *p, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len == 0 || p[0] > 0xf4)
        return 0;
    uint32_t c = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) /* the terminator is none either */
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *code = c;
    return len;
}

/* Control characters, line separators, and marks that change the direction of text. */
static bool harmless(uint32_t c)
{
    if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c)
        return false;
    return !((c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
             (c >= 0x2066 && c <= 0x2069));
}

/* What a byte sequence of `len` bytes is printed as; at most 16 bytes. */
static size_t put_one(const uint8_t *p, size_t len, bool plain, char one[17])
{
    if (plain && p[0] != '\\') {
        memcpy(one, p, len);
        return len;
    }
    if (plain) {
        memcpy(one, "\\\\", 2);
        return 2;
    }
    for (size_t i = 0; i < len; i++)
        (void)snprintf(one + 4 * i, 5, "\\%03o", p[i]);
    return 4 * len;
}

size_t fold_escape(const char *text, char *out, size_t size)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t want = 0, used = 0;
    bool room = size > 0;
    while (*p != '\0') {
        char one[17];
        uint32_t code = 0;
        size_t len = decode(p, &code);
        size_t n = put_one(p, len > 0 ? len : 1, len > 0 && harmless(code), one);
        room = room && used + n < size;
        if (room) {
            memcpy(out + used, one, n);
            used += n;
        }
        want += n;
        p += len > 0 ? len : 1;
    }
    if (size > 0)
        out[used] = '\0';
    return want;
}

/* `text` escaped, in `buf` if it fits, else allocated; NULL without memory. */
static char *escaped(const char *text, char *buf, size_t size)
{
    size_t want = fold_escape(text, buf, size);
    if (want < size)
        return buf;
    char *more = malloc(want + 1);
    if (more != NULL)
        (void)fold_escape(text, more, want + 1);
    return more;
}

void fold_vsay(FILE *out, const char *fmt, va_list ap)
{
    int saved = errno;
    char line[LINE_BYTES], buf[LINE_BYTES];
    FOLD_AUTO(free) char *longer = NULL;
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    if (n >= (int)sizeof line && vasprintf(&longer, fmt, again) < 0)
        longer = NULL; /* what fits is better than nothing */
    va_end(again);
    char *text = escaped(longer != NULL ? longer : line, buf, sizeof buf);
    fprintf(out, "%s\n", text != NULL ? text : buf);
    if (text != buf)
        free(text);
    errno = saved;
}

void fold_say(FILE *out, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fold_vsay(out, fmt, ap);
    va_end(ap);
}
