# SPDX-License-Identifier: MIT
"""What the style checks share: the files of the tree, and a list of complaints that becomes the exit code."""

import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED = {".git", "build", "foldfs-store", "foldfs-mnt", "__pycache__"}

complaints = []


def complain(path, line, text):
    """Notes one finding, to be printed as PATH:LINE: TEXT."""
    complaints.append(f"{path}:{line}: {text}")


def finish():
    """Prints what was found and ends the program."""
    for text in complaints:
        print(text)
    print(f"{len(complaints)} complaints")
    sys.exit(1 if complaints else 0)


def files(*suffixes):
    """The tree's own files with one of the suffixes (all without any), relative to its top."""
    found = []
    for folder, names, entries in os.walk(TOP):
        names[:] = sorted(n for n in names if n not in SKIPPED)
        for entry in sorted(entries):
            path = os.path.relpath(os.path.join(folder, entry), TOP)
            if (not suffixes or entry.endswith(suffixes)) and not ignored(path):
                found.append(path)
    return found


def ignored(path):
    """True for what git would not keep."""
    return path in IGNORED


def _ignored_files():
    """Files that git knows to be outside of the project; none where git is not at hand."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--others", "--ignored", "--exclude-standard"]
    try:
        out = subprocess.run(command, cwd=TOP, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return set()
    return {name.decode(errors="surrogateescape") for name in out.split(b"\0") if name}


IGNORED = _ignored_files()


def read(path):
    """The text of a file of the tree."""
    with open(os.path.join(TOP, path), encoding="utf-8", errors="replace") as stream:
        return stream.read()
