# SPDX-License-Identifier: MIT
"""Time stamps: what is set stays, and reads move the access time as the mount options say."""

import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold


class Times(MountCase):
    def test_set(self):
        path = self.write("f", b"x")
        os.utime(path, ns=(1234567890123456789, 987654321987654321))
        st = os.stat(path)
        self.assertEqual((st.st_atime_ns, st.st_mtime_ns), (1234567890123456789, 987654321987654321))
        os.utime(path, ns=(-5 * 10**9 + 1, 2**33 * 10**9 + 7))
        self.vol.remount()
        st = os.stat(path)
        self.assertEqual((st.st_atime_ns, st.st_mtime_ns), (-5 * 10**9 + 1, 2**33 * 10**9 + 7))
        before = time.time_ns()
        os.utime(path)
        st = os.stat(path)
        self.assertLess(abs(st.st_mtime_ns - before), 2 * 10**9)
        self.assertEqual(st.st_mtime_ns, st.st_atime_ns)

    def moved(self, path, action):
        """Whether `action` moves the access time."""
        before = os.stat(path).st_atime_ns
        time.sleep(0.02)
        action()
        return os.stat(path).st_atime_ns != before

    def test_access_time(self):
        """The first read after a change moves it, however much of the file the kernel has in its cache."""
        path = self.path("f")

        def read(flags=0):
            fd = os.open(path, os.O_RDONLY | flags)
            self.assertTrue(os.read(fd, 100))
            os.close(fd)

        def change():
            fd = os.open(path, os.O_RDWR | os.O_CREAT)
            os.write(fd, b"x" * 10000)
            os.pread(fd, 100, 0)
            os.close(fd)

        change()
        for action in (change, lambda: os.chmod(path, 0o600), lambda: os.utime(path, (1, 2)),
                       lambda: os.link(path, self.path("g"))):
            time.sleep(0.02)
            action()
            self.assertFalse(self.moved(path, lambda: read(os.O_NOATIME)))
            self.assertTrue(self.moved(path, read))
        self.assertFalse(self.moved(path, read))
        directory = self.path("d")
        os.mkdir(directory)
        fd = os.open(directory, os.O_RDONLY | os.O_NOATIME)
        self.assertFalse(self.moved(directory, lambda: os.listdir(fd)))
        os.close(fd)
        self.assertTrue(self.moved(directory, lambda: os.listdir(directory)))

    @need_fold
    def test_every_access_time(self):
        self.vol.remount("strictatime")
        path = self.write("f", b"x" * 10000)
        fd = os.open(path, os.O_RDWR)
        for _ in range(3):
            self.assertTrue(self.moved(path, lambda: os.pread(fd, 100, 0)))
        os.close(fd)
        self.vol.remount("noatime")
        self.assertFalse(self.moved(path, lambda: self.read("f")))


if __name__ == "__main__":
    unittest.main()
