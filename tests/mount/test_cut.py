# SPDX-License-Identifier: MIT
"""Long files cut off in the middle: at once, without a look at what goes; what they occupy is counted later, and right."""

import os
import random
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold

MIB = 1 << 20
GB = 1 << 30


@need_fold
class Cut(MountCase):
    SIZE = 6 * GB

    def make(self, name, size, every=1):
        """A file of the same mebibyte again and again, with holes if not at every place."""
        data = random.Random(1).randbytes(MIB)
        with open(self.path(name), "w+b", buffering=0) as out:
            out.write(data)
            have = MIB * every
            while have < 64 * MIB * every:
                os.copy_file_range(out.fileno(), out.fileno(), MIB, 0, have)
                have += MIB * every
            period = have
            os.ftruncate(out.fileno(), period)
            while have < size:
                have += os.copy_file_range(out.fileno(), out.fileno(), min(period, size - have), 0, have)
            os.ftruncate(out.fileno(), size)
        return data

    def occupied(self, name):
        return os.stat(self.path(name)).st_blocks * 512

    def count(self):
        """Has everything counted that waits for it."""
        self.vol.command("gc", "--full", self.mnt)

    def fsck(self):
        self.vol.umount()
        said = self.vol.command("fsck", self.vol.store, check=False)
        self.assertEqual(said.returncode, 0, said.stdout + said.stderr)
        self.vol.mount()

    def part(self, name, off, length):
        with open(self.path(name), "rb", buffering=0) as file:
            return os.pread(file.fileno(), length, off)

    def test_dense(self):
        data = self.make("f", self.SIZE)
        self.vol.command("sync", self.mnt)
        middle = self.SIZE // 2 + 12345
        os.truncate(self.path("f"), middle)
        self.vol.command("sync", self.mnt)
        self.assertEqual(self.occupied("f"), (middle + 511) // 512 * 512)  # the bound is the number, without holes
        self.fsck()
        self.count()
        self.assertEqual(self.occupied("f"), (middle + 511) // 512 * 512)
        self.assertEqual(self.part("f", middle - 12345, MIB), data[:12345])
        self.fsck()

    def test_sparse(self):
        """Half of it are holes: only counting tells. A crash before that loses nothing."""
        self.make("f", self.SIZE, every=2)
        self.vol.command("sync", self.mnt)
        whole, logical = self.occupied("f"), self.vol.stats()["logical_bytes"]
        middle = self.SIZE // 2
        os.truncate(self.path("f"), middle)
        self.vol.command("sync", self.mnt)
        self.assertGreaterEqual(self.occupied("f"), whole // 2)
        self.assertLessEqual(self.occupied("f"), middle)
        self.vol.kill9()
        self.vol.mount()
        self.fsck()
        self.assertEqual(self.part("f", MIB, 16), bytes(16))  # opening it asks for the count again
        self.count()
        self.assertEqual(self.occupied("f"), whole // 2)
        self.assertEqual(self.vol.stats()["logical_bytes"], logical - whole // 2)
        self.fsck()

    def test_again_and_again(self):
        """Cuts, extensions and writes behind a cut before anything is counted."""
        data = self.make("f", self.SIZE)
        self.vol.command("sync", self.mnt)
        with open(self.path("f"), "r+b", buffering=0) as file:
            fd = file.fileno()
            os.ftruncate(fd, 5 * GB)
            os.ftruncate(fd, self.SIZE)
            os.fsync(fd)
            self.assertEqual(os.pread(fd, 100, 5 * GB), bytes(100))
            self.assertEqual(os.pread(fd, 100, 5 * GB - MIB), data[:100])
            os.ftruncate(fd, 3 * GB)
            os.pwrite(fd, b"new", 4 * GB)
            os.fsync(fd)
            os.ftruncate(fd, self.SIZE)
            os.ftruncate(fd, 2 * GB)
            os.pwrite(fd, b"newer", 2 * GB + 5 * MIB)
            os.fsync(fd)
        for _ in range(2):
            self.assertEqual(self.part("f", 2 * GB, 5 * MIB + 10), bytes(5 * MIB) + b"newer")
            self.assertEqual(self.part("f", 2 * GB - MIB, MIB), data)
            self.fsck()
            self.part("f", 0, 1)
            self.count()
        self.assertEqual(self.occupied("f"), 2 * GB + 512)
        self.fsck()

    def test_unlinked_uncounted(self):
        """The totals come out even when a file goes before it was counted."""
        before = self.vol.stats()["logical_bytes"]
        self.make("f", self.SIZE, every=2)
        os.truncate(self.path("f"), self.SIZE // 2)
        self.vol.command("sync", self.mnt)
        os.unlink(self.path("f"))
        self.vol.command("sync", self.mnt)
        self.assertEqual(self.vol.stats()["logical_bytes"], before)
        self.fsck()


if __name__ == "__main__":
    unittest.main()
