# SPDX-License-Identifier: MIT
"""Direct writers, buffered writers, readers and mappings of one file: what was acknowledged is seen by all.

Each shape of the program `coherent` once with the writer and once with the reader opening the file first, since how a
handle is opened decides whether it uses the kernel's page cache. Counts decide, not times: not one stale byte.
"""

import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold, program, sanitized

SHAPES = {"reopen": 20000, "aio": 600, "aiowrite": 6000, "uring": 6000, "mapped": 4000, "answer": 2000, "append": 10000,
          "punch": 400, "copy": 400}


class Coherence(MountCase):
    def shape(self, name):
        operations = SHAPES[name] // (10 if sanitized() else 1)
        for first in ("writer", "reader"):
            with self.subTest(first=first):
                done = subprocess.run([program("coherent"), name, first, self.path("file"), str(operations)],
                                      capture_output=True, text=True, timeout=300, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertNotIn(" 0 checks", done.stdout)

    def test_readers_that_open_anew(self):
        self.shape("reopen")

    def test_asynchronous_direct_writes(self):
        self.shape("aio")
        self.shape("aiowrite")

    def test_io_uring(self):
        if os.path.exists("/proc/sys/kernel/io_uring_disabled"):
            with open("/proc/sys/kernel/io_uring_disabled") as file:
                if file.read().strip() != "0":
                    self.skipTest("io_uring is disabled")
        self.shape("uring")

    def test_mapping_beside_a_direct_writer(self):
        self.shape("mapped")
        self.shape("answer")

    def test_mapping_beside_changes_of_ranges(self):
        self.shape("punch")
        self.shape("copy")

    def test_size_of_appended_data(self):
        self.shape("append")


@need_fold
class CoherenceWithAccessTimes(Coherence):
    """All handles are direct, and only mappings use the page cache."""
    mount_opts = "strictatime"


if __name__ == "__main__":
    unittest.main()
