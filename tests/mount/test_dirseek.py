# SPDX-License-Identifier: MIT
"""Listing directories: programs of 32 and 64 bits, with and without large files, list them whole and find every place again,
also while entries come and go."""

import os
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dirseek.c")
KINDS = {"64": (), "32": ("-m32",), "32-large": ("-m32", "-D_FILE_OFFSET_BITS=64")}
COUNT = 3000


def can_build_32():
    """True if there is a compiler for programs of 32 bits (gcc-multilib)."""
    done = subprocess.run(["gcc", "-m32", "-x", "c", "-o", "/dev/null", "-"], input=b"#include <stdio.h>\nint main(void){return 0;}",
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


class DirSeek(MountCase):
    """Offsets that are as likely to collide as they are."""

    def program(self, kind):
        out = os.path.join(self.vol.base, "dirseek-" + kind)
        self.run_ok("gcc", "-O2", *KINDS[kind], "-o", out, SOURCE)
        return out

    def fill(self):
        os.mkdir(self.path("dir"))
        names = {"entry-%d" % i for i in range(COUNT)}
        for name in names:
            os.close(os.open(self.path("dir", name), os.O_CREAT | os.O_WRONLY))
        return names

    def check(self, kind):
        program = self.program(kind)
        names = self.fill()
        for _ in range(2):
            listed = self.run_ok(program, self.path("dir")).split()
            self.assertEqual(len(listed), COUNT + 2)
            self.assertEqual(set(listed), names | {".", ".."})
            self.vol.remount()
        stop = threading.Event()

        def guests():
            i = 0
            while not stop.is_set():
                name = self.path("dir", "guest%d" % i)
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
                os.rename(name, name + "-moved")
                os.unlink(name + "-moved")
                i += 1
        thread = threading.Thread(target=guests)
        thread.start()
        try:
            # Places of guests may be taken by others; those who stay are listed once each.
            done = subprocess.run([program, self.path("dir")], capture_output=True, text=True, timeout=300, check=False)
        finally:
            stop.set()
            thread.join()
        listed = [n for n in done.stdout.split() if n.startswith("entry")]
        self.assertEqual(len(listed), COUNT)
        self.assertEqual(set(listed), names)

    def test_64(self):
        self.check("64")

    @unittest.skipUnless(can_build_32(), "no compiler for 32 bits")
    def test_32(self):
        self.check("32")

    @unittest.skipUnless(can_build_32(), "no compiler for 32 bits")
    def test_32_with_large_files(self):
        self.check("32-large")


@need_fold
class Crowded(DirSeek):
    """Dozens of names share a bucket."""

    knobs = "name_hash_bits=6"


@need_fold
class Overfull(MountCase):
    """Most names lie behind full buckets; their offsets need 64 bits."""

    knobs = "name_hash_bits=4,bucket_slots=5"
    program, fill, check, test_64 = DirSeek.program, DirSeek.fill, DirSeek.check, DirSeek.test_64


if __name__ == "__main__":
    unittest.main()
