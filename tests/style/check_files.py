# SPDX-License-Identifier: MIT
"""Files: licence tag, length, names, functions that fit a screen, words and calls that are not used here."""

import os
import re

import tree

SOURCES = (".c", ".h", ".def", ".asm", ".inc", ".py", ".sh", ".cmake", "CMakeLists.txt")
LAYERS = ("fs/", "chunker/", "hashing/", "meta/", "asm/")
FILE_WALL = 600
HEADER_WALL = 200
FUNCTION_WALL = 100
COLUMNS = 100
BANNED_NAMES = {"util", "utils", "common", "misc", "internal", "helpers"}
BANNED_WORDS = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
BANNED_CALLS = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|gets|alloca)\s*\(")

# These print words of the program only.
OWN_WORDS = {"cli.c", "daemon.c", "meter.c", "verb_kernels.c", "verb_stats.c", "verbs.c"}


def strip_comments(text):
    """Blanks comments and strings, keeping the line structure."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def check_head(path, lines):
    """SPDX in the first line (the second of a script), a comment after it."""
    first = 1 if lines and lines[0].startswith("#!") else 0
    if len(lines) <= first or "SPDX-License-Identifier: MIT" not in lines[first]:
        tree.complain(path, 1, "the SPDX tag is missing")
    elif path.endswith((".c", ".h")) and path.startswith(LAYERS):
        if len(lines) < 2 or not lines[1].startswith("/*"):
            tree.complain(path, 2, "no leading comment says what the file is for")


def check_length(path, lines):
    """The walls of file and header."""
    wall = HEADER_WALL if path.endswith(".h") else FILE_WALL
    if path.endswith((".c", ".h")) and len(lines) > wall:
        tree.complain(path, len(lines), f"{len(lines)} lines; the wall is {wall}")


def check_functions(path, code):
    """A function ends at the first line that is a lone closing brace."""
    start = None
    for number, line in enumerate(code, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            if number - start > FUNCTION_WALL:
                tree.complain(path, start, f"a function of {number - start} lines; the wall is {FUNCTION_WALL}")
            start = None


def check_words(path, lines):
    """No notes to self, no trailing blanks, no tabs, no endless lines."""
    for number, line in enumerate(lines, 1):
        if BANNED_WORDS.search(line):
            tree.complain(path, number, "a note to self")
        if line != line.rstrip():
            tree.complain(path, number, "blanks at the end of the line")
        if "\t" in line and path.endswith((".c", ".h", ".py", ".def")):
            tree.complain(path, number, "a tab")
        if len(line) > COLUMNS and path.endswith((".c", ".h")):
            tree.complain(path, number, f"{len(line)} columns")


def check_header(path, text):
    """The guard carries the path."""
    guard = "FOLD_" + re.sub(r"[^A-Z0-9]", "_", path.upper())
    if f"#ifndef {guard}\n" not in text or f"#define {guard}\n" not in text:
        tree.complain(path, 1, f"the include guard is not {guard}")


def check_c(path, text):
    """What holds for C only."""
    code = strip_comments(text).splitlines()
    check_functions(path, code)
    for number, line in enumerate(code, 1):
        match = BANNED_CALLS.search(line)
        if match:
            tree.complain(path, number, f"{match.group(1)} is not used here")
        if path.startswith(LAYERS) and re.match(r"\s*#\s*pragma\s+GCC\s+optimize", line):
            tree.complain(path, number, "flags belong to the build")


def check_printing(path, text):
    """Names of files and the like are printed by what escapes them."""
    if not path.startswith("fs/cli/") or os.path.basename(path) in OWN_WORDS:
        return
    for match in re.finditer(r"(?<![\w.])(v?f?printf|f?puts)\s*\(([^;]*);", text):
        if match.group(1).startswith("v") or re.search(r"%[-*.\d]*s", match.group(2)):
            tree.complain(path, text.count("\n", 0, match.start()) + 1, "text of others is printed by fold_say")


def check_names(paths):
    """Base names are unique across the layers, and say something."""
    owners = {}
    for path in paths:
        base = os.path.basename(path)
        if os.path.splitext(base)[0] in BANNED_NAMES:
            tree.complain(path, 1, "a name that says nothing")
        if path.startswith(LAYERS) and path.endswith((".c", ".h")):
            if base in owners:
                tree.complain(path, 1, f"the base name is taken by {owners[base]}")
            owners[base] = path


def main():
    """Checks every source file."""
    paths = tree.files(*SOURCES) + [p for p in tree.files() if p.startswith("scripts/") and "." not in p]
    for path in paths:
        text = tree.read(path)
        lines = text.splitlines()
        check_head(path, lines)
        check_length(path, lines)
        check_words(path, lines)
        if path.endswith((".c", ".h")):
            check_c(path, text)
            check_printing(path, text)
        if path.endswith(".h") and path.startswith(LAYERS):
            check_header(path, text)
    check_names(paths)
    if len(paths) < 50:
        tree.complain("tests/style/check_files.py", 0, f"only {len(paths)} files found")
    tree.finish()


main()
