# SPDX-License-Identifier: MIT
"""One directory with very many entries: no step may become slow as it grows."""

import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase
from lib.volume import LONG

COUNT = 1000000 if LONG else 100000


class BigDirectory(MountCase):
    def timed(self, work, start, end):
        began = time.monotonic()
        for i in range(start, end):
            work(i)
        return (time.monotonic() - began) / (end - start)

    def test_many_entries(self):
        os.mkdir(self.path("big"))
        top = self.path("big") + "/entry-%07d"

        def create(i):
            os.close(os.open(top % i, os.O_CREAT | os.O_WRONLY | os.O_EXCL))

        step = COUNT // 10
        first = self.timed(create, 0, step)
        self.timed(create, step, COUNT - step)
        last = self.timed(create, COUNT - step, COUNT)
        self.assertLess(last, 4 * first + 0.0002, "creating became slow: %g s, first %g s" % (last, first))
        self.vol.remount()
        began = time.monotonic()
        names = os.listdir(self.path("big"))
        listing = time.monotonic() - began
        self.assertEqual(len(names), COUNT)
        self.assertEqual(len(set(names)), COUNT)
        self.assertLess(listing, 10 + COUNT / 50000)
        with os.scandir(self.path("big")) as entries:
            self.assertEqual(sum(entry.stat(follow_symlinks=False).st_size for entry in entries), 0)
        self.timed(lambda i: os.stat(top % i), 0, step)
        first = self.timed(lambda i: os.unlink(top % i), 0, step)
        self.timed(lambda i: os.unlink(top % i), step, COUNT - step)
        last = self.timed(lambda i: os.unlink(top % i), COUNT - step, COUNT)
        self.assertLess(last, 4 * first + 0.0002, "removing became slow: %g s, first %g s" % (last, first))
        os.rmdir(self.path("big"))

    def test_deep(self):
        path = self.mnt
        for i in range(400):
            path += "/d%d" % i
            os.mkdir(path)
        with open(path + "/leaf", "w") as out:
            out.write("deep")
        self.vol.remount()
        with open(path + "/leaf") as file:
            self.assertEqual(file.read(), "deep")
        self.run_ok("rm", "-r", self.path("d0"))


if __name__ == "__main__":
    unittest.main()
