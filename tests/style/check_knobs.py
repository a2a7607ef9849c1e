# SPDX-License-Identifier: MIT
"""Knobs: every numeric constant is one, or stands in constants.txt with what it is; docs/TESTING.md lists all knobs."""

import re

import tree

LIST = "tests/style/constants.txt"
TABLE = "docs/TESTING.md"
KNOBS = "meta/base/knob.def"
FOLDERS = ("fs/", "hashing/", "meta/")
NUMERIC = re.compile(r"^#define ([A-Z_0-9]+) +\(*[0-9]", re.M)
CLASSES = {
    "format": "a part of what is on disk or of how it is laid out",
    "protocol": "the kernel's or another library's",
    "code": "a bit, a mask or a code that means something",
    "unit": "a unit, or a size that is the same everywhere",
    "array": "the room of an array, which a knob below it may bound",
    "client": "how a command waits, reads and draws",
    "limit": "a bound or a proportion that is not to be shrunk: nothing is lost, refused or cut in pieces where it is reached",
}


def read_list():
    """The constants that are no knobs: (path, name) to line number."""
    known = {}
    for number, line in enumerate(tree.read(LIST).splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 3 or words[2] not in CLASSES:
            tree.complain(LIST, number, "a line is a path, a name and a class: " + ", ".join(CLASSES))
            continue
        known[(words[0], words[1])] = number
    return known


def check_constants(known):
    """New ones are complained about, and so are lines of the list that nothing belongs to."""
    found = set()
    for path in tree.files(".c", ".h"):
        if not path.startswith(FOLDERS):
            continue
        text = tree.read(path)
        for match in NUMERIC.finditer(text):
            found.add((path, match.group(1)))
            if (path, match.group(1)) not in known:
                line = text.count("\n", 0, match.start()) + 1
                tree.complain(path, line, f"{match.group(1)} is neither a knob ({KNOBS}) nor listed in {LIST}")
    for key in sorted(set(known) - found):
        tree.complain(LIST, known[key], f"{key[0]} has no {key[1]}")


def check_table():
    """The table of the documentation and knob.def have the same names, in any order."""
    knobs = set(re.findall(r"^FOLD_KNOB\((\w+),", tree.read(KNOBS), re.M))
    section = tree.read(TABLE).split("| knob |", 1)
    rows = set()
    for line in section[1].splitlines()[2:] if len(section) == 2 else []:
        if not line.startswith("| `"):
            break
        rows.add(line.split("`")[1])
    for name in sorted(knobs - rows):
        tree.complain(TABLE, 0, f"the knob {name} is not in the table")
    for name in sorted(rows - knobs):
        tree.complain(TABLE, 0, f"the table has {name}, which is no knob")
    if len(knobs) < 20:
        tree.complain(KNOBS, 0, f"only {len(knobs)} knobs found")
    used = set()
    for path in tree.files(".c", ".h"):
        if path.startswith(FOLDERS):
            used |= set(re.findall(r"fold_knobs\.(\w+)", tree.read(path)))
    for name in sorted(knobs - used):
        tree.complain(KNOBS, 0, f"nobody uses the knob {name}")


def main():
    """Checks constants, list and table."""
    check_constants(read_list())
    check_table()
    tree.finish()


main()
