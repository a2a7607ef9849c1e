/* SPDX-License-Identifier: MIT */
/*
 * Text for people. Names of files, paths and whatever else a user or a volume chose may hold bytes
 * that make a terminal do things, or a log show a line that nobody wrote. So every line that can
 * hold one is written by fold_say, or by the log, which escape the same way.
 */
#ifndef FOLD_META_BASE_SAY_H
#define FOLD_META_BASE_SAY_H

#include "meta/base/attr.h"

#include <stdarg.h>
#include <stdio.h>

/*
 * Copies `text` to `out` such that it is printed on one line and does nothing else: control
 * characters, what is no UTF-8, and characters that change the order of others become \ooo, one for
 * each byte; a backslash is doubled. Cut off at a whole character if it does not fit into `size`
 * bytes with its terminator. Returns the length it wants, without terminator, as snprintf.
 */
size_t fold_escape(const char *text, char *out, size_t size);

/* Prints one line, escaped as a whole; the newline is added. Keeps errno. */
void fold_say(FILE *out, const char *fmt, ...) FOLD_PRINTF(2, 3);
void fold_vsay(FILE *out, const char *fmt, va_list ap) FOLD_PRINTF(2, 0);

#endif
