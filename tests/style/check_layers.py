# SPDX-License-Identifier: MIT
"""The order of the house: who may include whom."""

import os
import re

import tree

# A folder may include itself and these.
ALLOWED = {
    "fs": {"chunker", "hashing", "meta", "asm"},
    "chunker": {"asm"},
    "hashing": {"meta", "asm"},
    "meta": {"asm"},
    "asm": set(),
}
INCLUDE = re.compile(r'^\s*[#%]\s*include\s+(["<])([^">]+)[">]')


def check_own(path, number, target):
    """A quoted include: exists from the top, and points to the right."""
    home = path.split("/")[0]
    if not os.path.exists(os.path.join(tree.TOP, target)):
        # Assembly has its own search path; a bare name is a header made by the build.
        if not path.endswith((".asm", ".inc")) and "/" in target:
            tree.complain(path, number, f'include "{target}" is not a path from the top of the tree')
        return
    folder = target.split("/")[0]
    if folder in ("tests", "bench") and home not in ("tests", "bench"):
        tree.complain(path, number, f"{home} must not see {folder}")
    if home in ALLOWED and folder in ALLOWED and folder != home and folder not in ALLOWED[home]:
        tree.complain(path, number, f"{home} must not include {folder}")
    if target.startswith("fs/cli/") and home == "fs" and not path.startswith("fs/cli/") and path != "fs/main.c":
        tree.complain(path, number, "only fs/cli and main include the command line")


def check_system(path, number, target):
    """Libraries that have one home."""
    home = path.split("/")[0]
    if target.startswith("rocksdb/") and path != "meta/kvparts.h" and home not in ("tests", "bench"):
        tree.complain(path, number, "only meta/kvparts.h includes RocksDB")
    if re.match(r"fuse(3/|[._])", target) and home not in ("fs", "tests", "bench"):
        tree.complain(path, number, "only fs includes libfuse")
    if target.startswith("jansson") and home not in ("fs", "tests", "bench"):
        tree.complain(path, number, "only fs speaks JSON")


def main():
    """Checks every include line."""
    seen = 0
    for path in tree.files(".c", ".h", ".def", ".inc", ".asm"):
        for number, line in enumerate(tree.read(path).splitlines(), 1):
            match = INCLUDE.match(line)
            if match is None:
                continue
            seen += 1
            if match.group(1) == '"':
                check_own(path, number, match.group(2))
            else:
                check_system(path, number, match.group(2))
    if seen < 50:
        tree.complain("tests/style/check_layers.py", 0, f"only {seen} include lines found")
    tree.finish()


main()
