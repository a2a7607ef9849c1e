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

    @need_fold
    def test_birth(self):
        """The time of birth is told, and nothing but birth sets it."""
        def birth(path):
            text = self.run_ok("stat", "-c", "%.W", path).strip()
            self.assertNotEqual(text, "-")
            return float(text)

        before = time.time()
        path = self.write("f", b"x")
        os.mkdir(self.path("d"))
        os.symlink("nowhere", self.path("l"))
        after = time.time()
        births = {name: birth(self.path(name)) for name in ("f", "d", "l")}
        for when in births.values():
            self.assertTrue(before - 0.1 <= when <= after + 0.1, (before, when, after))
        time.sleep(0.02)
        os.utime(path, ns=(1, 1))
        os.chmod(path, 0o600)
        os.rename(path, self.path("g"))
        with open(self.path("g"), "ab") as file:
            file.write(b"more")
        self.assertEqual(birth(self.path("g")), births["f"])
        self.assertEqual(os.stat(self.path("g")).st_size, 5)
        self.vol.remount()
        self.assertEqual(birth(self.path("g")), births["f"])
        self.assertEqual(birth(self.path("l")), births["l"])
        self.assertEqual(self.run_ok("stat", "-c", "%s %a %b %h %F", self.path("g")).strip(),
                         "5 600 1 1 regular file")

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

    @need_fold
    def test_directories_left_alone(self):
        """nodiratime: files as ever, directories never; it does not depend on the other options."""
        path, directory = self.write("f", b"x" * 10000), self.path("d")
        os.mkdir(directory)
        for atime in ("relatime", "strictatime"):
            self.vol.remount("nodiratime," + atime)
            os.utime(path)
            os.utime(directory)
            self.assertFalse(self.moved(directory, lambda: os.listdir(directory)))
            self.assertTrue(self.moved(path, lambda: self.read("f")))
        self.vol.remount("nodiratime,diratime,strictatime")
        self.assertTrue(self.moved(directory, lambda: os.listdir(directory)))


if __name__ == "__main__":
    unittest.main()
