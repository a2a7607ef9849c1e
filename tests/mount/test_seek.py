# SPDX-License-Identifier: MIT
"""SEEK_DATA and SEEK_HOLE in files that many processes write through mappings meanwhile."""

import errno
import mmap
import os
import random
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold

PAGE = 4096
PAGES = 256


@need_fold
class Seekers(MountCase):
    """Each process has a file of its own; with many of them, all wait for the kernel to write back at once."""

    mount_opts = "uring=off"

    def look(self, fd, dirty):
        """Every answer may call a hole data, but no dirty page a hole. True if both are exact."""
        first = min(dirty)
        found = os.lseek(fd, 0, os.SEEK_DATA)
        assert found in (0, first * PAGE), (found, first)
        gap = next(i for i in range(first, PAGES + 1) if i not in dirty)
        hole = os.lseek(fd, first * PAGE, os.SEEK_HOLE)
        assert hole in (gap * PAGE, PAGES * PAGE), (hole, gap)
        return found == first * PAGE and hole == gap * PAGE

    def seeker(self, number, rounds):
        """Dirties pages and looks for them; returns how many answers were exact."""
        rng = random.Random(number)
        fd = os.open(self.path("s%d" % number), os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, PAGES * PAGE)
        view = mmap.mmap(fd, PAGES * PAGE)
        exact = 0
        for _ in range(rounds):
            os.ftruncate(fd, 0)
            os.ftruncate(fd, PAGES * PAGE)
            dirty = set(rng.sample(range(PAGES // 2, PAGES - 1), 8))
            for page in dirty:
                view[page * PAGE + 7] = 1
            exact += self.look(fd, dirty)
        view.close()
        os.close(fd)
        return exact

    def run_seekers(self, count, rounds, seconds=60):
        """Processes beside each other; all must be through in time."""
        left = set()
        for number in range(count):
            pid = os.fork()
            if pid == 0:
                try:
                    self.seeker(number, rounds)
                    os._exit(0)
                except BaseException as error:  # pylint: disable=broad-except
                    os.write(2, repr(error).encode() + b"\n")
                    os._exit(1)
            left.add(pid)
        failed, end = 0, time.monotonic() + seconds
        while left and time.monotonic() < end:
            pid, status = os.waitpid(-1, os.WNOHANG)
            left.discard(pid)
            failed += status != 0
            if pid == 0:
                time.sleep(0.01)
        if left:
            self.vol.kill9()  # nothing else ends those that wait; they may take their time
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        self.assertEqual((len(left), failed), (0, 0))

    def test_one(self):
        self.assertEqual(self.seeker(0, 50), 50)

    def test_many(self):
        self.run_seekers(240, 10)
        fd = os.open(self.path("s0"), os.O_RDONLY)
        self.assertGreaterEqual(os.lseek(fd, 0, os.SEEK_DATA), PAGES // 2 * PAGE)
        self.assertEqual(self.errno_of(os.lseek, fd, PAGES * PAGE, os.SEEK_HOLE), errno.ENXIO)
        os.close(fd)


if __name__ == "__main__":
    unittest.main()
