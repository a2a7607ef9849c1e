# SPDX-License-Identifier: MIT
"""The same content a second time costs next to nothing, whatever way and alignment it comes in."""

import os
import random
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold

MIB = 1 << 20


@need_fold
class Dedup(MountCase):
    size = 16 * MIB

    def setUp(self):
        super().setUp()
        self.data = random.Random(4).randbytes(self.size)
        self.write("first", self.data)
        self.base = self.stored()
        self.assertGreater(self.base, self.size)

    def stored(self):
        """Stored bytes once everything written so far has reached the store."""
        self.flush()
        return self.vol.stats()["stored_bytes"]

    def flush(self):
        for name in os.listdir(self.mnt):
            if os.path.isfile(self.path(name)):
                fd = os.open(self.path(name), os.O_RDONLY)
                os.fsync(fd)
                os.close(fd)

    def check(self, percent):
        """What was stored since the first file, in percent of it."""
        cost = self.stored() - self.base
        self.assertLess(cost, self.size * percent / 100, "%d bytes stored again" % cost)

    def test_same_again(self):
        self.write("second", self.data)
        self.check(0.5)

    def test_same_after_remount(self):
        self.vol.remount()
        self.write("second", self.data)
        self.check(0.5)

    def test_shifted(self):
        for shift in (1, 511, 4096, 12345):
            self.write("shifted%d" % shift, os.urandom(shift) + self.data)
        self.check(3)

    def test_prefix_and_middle(self):
        self.write("prefix", self.data[:self.size // 2])
        self.write("middle", self.data[3 * MIB + 77:12 * MIB + 1234])
        self.check(2)

    def test_odd_pieces(self):
        rng = random.Random(5)
        with open(self.path("pieces"), "wb", buffering=0) as out:
            at = 0
            while at < self.size:
                n = rng.randrange(1, 60000)
                out.write(self.data[at:at + n])
                at += n
        self.check(2)
        self.vol.remount()
        self.assertEqual(self.read("pieces"), self.data)

    def test_small_appends(self):
        part = self.data[:2 * MIB]
        for at in range(0, len(part), 1000):
            with open(self.path("appended"), "ab") as out:
                out.write(part[at:at + 1000])
        self.check(50)  # with the garbage of the shorter last chunks before
        self.assertEqual(self.read("appended"), part)

    def test_pieces_with_fsync(self):
        with open(self.path("synced"), "wb", buffering=0) as out:
            for at in range(0, self.size, 300007):
                out.write(self.data[at:at + 300007])
                os.fsync(out.fileno())
        self.check(8)
        self.assertEqual(self.read("synced"), self.data)

    def test_random_order(self):
        rng = random.Random(6)
        pieces = list(range(0, self.size, 65536))
        rng.shuffle(pieces)
        with open(self.path("shuffled"), "wb", buffering=0) as out:
            for at in pieces:
                out.seek(at)
                out.write(self.data[at:at + 65536])
        self.check(35)  # both ends of each piece are cut where the piece is, not where the content says
        self.assertEqual(self.read("shuffled"), self.data)

    def test_direct(self):
        self.run_ok("dd", "if=" + self.path("first"), "of=" + self.path("direct"), "bs=1M", "oflag=direct")
        self.run_ok("dd", "if=" + self.path("first"), "of=" + self.path("direct4k"), "bs=4k", "count=1024",
                    "oflag=direct")
        self.check(1)

    def test_mapped(self):
        import mmap
        with open(self.path("mapped"), "w+b") as file:
            file.truncate(self.size)
            with mmap.mmap(file.fileno(), self.size) as view:
                view[:] = self.data
                view.flush()
        self.check(4)
        self.assertEqual(self.read("mapped"), self.data)

    def test_copy_range(self):
        with open(self.path("first"), "rb") as source, open(self.path("ranges"), "wb") as copy:
            self.assertEqual(os.copy_file_range(source.fileno(), copy.fileno(), self.size), self.size)
        with open(self.path("first"), "rb") as source, open(self.path("odd"), "wb") as copy:
            at = 0
            while at < self.size:
                n = os.copy_file_range(source.fileno(), copy.fileno(), 777777, at, at)
                self.assertGreater(n, 0)
                at += n
        self.run_ok("cp", self.path("first"), self.path("cp"))
        self.check(0.2)
        for name in ("ranges", "odd", "cp"):
            self.assertEqual(self.read(name), self.data)

    def test_sparse_copy(self):
        with open(self.path("holes"), "wb") as out:
            out.write(self.data[:MIB])
            out.seek(8 * MIB)
            out.write(self.data[MIB:2 * MIB])
        self.run_ok("cp", "--sparse=always", self.path("holes"), self.path("holes2"))
        self.run_ok("cp", "--sparse=never", "--reflink=never", self.path("holes"), self.path("holes3"))
        self.check(1)

    def test_zeros_are_holes(self):
        self.write("zeros", b"\0" * self.size)
        self.check(0.1)
        self.assertEqual(os.stat(self.path("zeros")).st_size, self.size)
        self.assertLess(os.stat(self.path("zeros")).st_blocks, 64)
        self.write("mixed", self.data[:MIB] + b"\0" * (4 * MIB) + self.data[MIB:2 * MIB])
        self.flush()
        self.assertLess(os.stat(self.path("mixed")).st_blocks * 512, 2.3 * MIB)
        self.check(1.5)
        self.vol.remount()
        self.assertEqual(self.read("mixed"), self.data[:MIB] + b"\0" * (4 * MIB) + self.data[MIB:2 * MIB])

    def test_overwrite_keeps_the_rest(self):
        self.write("second", self.data)
        with open(self.path("second"), "r+b") as file:
            for at in range(100000, self.size, MIB):
                file.seek(at)
                file.write(b"changed")
        self.check(5)
        expect = bytearray(self.data)
        for at in range(100000, self.size, MIB):
            expect[at:at + 7] = b"changed"
        self.vol.remount()
        self.assertEqual(self.read("second"), bytes(expect))
        self.assertEqual(self.read("first"), self.data)


@need_fold
class FixedDedup(Dedup):
    """The checks that fixed chunks can meet, with 4 KiB ones."""

    mkfs_args = ("--chunker", "fixed", "--chunk-size", "4K")
    test_shifted = test_prefix_and_middle = None


@need_fold
class HashedDedup(MountCase):
    """SHA-256, zstd and no compression at all keep bytes and find duplicates."""

    def check(self, *args):
        from lib.volume import Volume
        data = random.Random(9).randbytes(3 * MIB) + b"text " * 200000
        with Volume(args) as vol:
            for name in "ab":
                with open(vol.path(name), "wb") as out:
                    out.write(data)
            vol.remount()
            with open(vol.path("b"), "rb") as file:
                self.assertEqual(file.read(), data)
            stats = vol.stats()
            self.assertLess(stats["unique_bytes"], len(data) * 1.01)
            self.assertGreater(stats["dedup_ratio"], 1.9)

    def test_variants(self):
        self.check("--hash", "sha256")
        self.check("--compress", "zstd")
        self.check("--compress", "none")
        self.check("--chunk-size", "4K")
        self.check("--chunk-size", "1M")


if __name__ == "__main__":
    unittest.main()
