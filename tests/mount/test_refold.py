# SPDX-License-Identifier: MIT
"""Refolding: whatever the order in which content was written, in the end it shares its chunks with a straight copy."""

import os
import random
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold

MIB = 1 << 20


@need_fold
class Refold(MountCase):
    def settle(self):
        self.vol.command("gc", "--full", self.mnt)

    def cost_of_copy(self, name, data):
        """Stored bytes that a straight copy of `data` adds."""
        before = self.vol.stats()["unique_bytes"]
        with open(self.path(name), "wb", buffering=0) as out:
            out.write(data)
        self.vol.command("sync", self.mnt)
        return self.vol.stats()["unique_bytes"] - before

    def check_shared(self, data):
        self.settle()
        self.assertEqual(self.read("f"), data)
        self.assertLess(self.cost_of_copy("straight", data), len(data) // 50)
        self.assertEqual(self.read("f"), data)

    def test_random_order(self):
        data = random.Random(1).randbytes(24 * MIB)
        offsets = list(range(0, len(data), 4096))
        random.Random(2).shuffle(offsets)
        with open(self.path("f"), "wb", buffering=0) as out:
            for off in offsets:
                os.pwrite(out.fileno(), data[off:off + 4096], off)
        self.check_shared(data)

    def overwrite(self, data, pieces):
        """Puts pieces over the file and over `data`; (offset, bytes, whether it is synced then) each."""
        with open(self.path("f"), "r+b", buffering=0) as out:
            for off, piece, synced in pieces:
                data[off:off + len(piece)] = piece
                os.pwrite(out.fileno(), piece, off)
                if synced:
                    os.fsync(out.fileno())

    def test_synced_overwrites(self):
        data = bytearray(random.Random(3).randbytes(8 * MIB))
        self.write("f", data)
        r = random.Random(4)
        self.overwrite(data, ((r.randrange(len(data) - 9000), r.randbytes(r.randrange(1, 9000)), r.random() < 0.3)
                              for _ in range(200)))
        self.check_shared(bytes(data))

    def number(self, name, what):
        return int(os.getxattr(self.path(name), "user.foldfs." + what))

    def test_extents_come_together(self):
        """A file in thousands of pieces reads like a straight copy again: as many chunks, as many jumps."""
        data = bytearray(random.Random(11).randbytes(16 * MIB))
        self.write("f", data)
        r = random.Random(12)
        self.overwrite(data, ((r.randrange(len(data) // 4096) * 4096, r.randbytes(4096), i % 100 == 99)
                              for i in range(1500)))
        self.vol.command("sync", self.mnt)
        chunks, jumps = self.number("f", "chunks"), self.number("f", "fragments")
        self.settle()
        self.assertEqual(self.read("f"), bytes(data))
        self.write("straight", bytes(data))
        self.vol.command("sync", self.mnt)
        self.assertGreater(chunks, 1.5 * self.number("straight", "chunks"))
        self.assertLess(self.number("f", "chunks"), 1.02 * self.number("straight", "chunks") + 2)
        self.assertGreater(jumps, 1000)
        self.assertLess(self.number("f", "fragments"), jumps / 5)

    def test_odd_pieces_with_fsync(self):
        data = random.Random(5).randbytes(6 * MIB)
        r = random.Random(6)
        at = 0
        with open(self.path("f"), "wb", buffering=0) as out:
            while at < len(data):
                n = r.randrange(1, 70000)
                out.write(data[at:at + n])
                at += n
                if r.random() < 0.4:
                    os.fsync(out.fileno())
        # Appends need no refolding at all.
        self.vol.command("sync", self.mnt)
        self.assertLess(self.cost_of_copy("straight", data), len(data) // 50)
        self.check_shared(data)

    def test_in_place_rewrite_shares_at_once(self):
        first, second = random.Random(7).randbytes(12 * MIB), random.Random(8).randbytes(12 * MIB)
        self.write("f", first)
        with open(self.path("f"), "r+b", buffering=0) as out:
            for at in range(0, len(second), 100000):
                out.write(second[at:at + 100000])
        self.vol.command("sync", self.mnt)
        self.assertLess(self.cost_of_copy("straight", second), len(second) // 50)

    def test_by_itself(self):
        data = bytearray(random.Random(9).randbytes(4 * MIB))
        self.write("f", data)
        self.overwrite(data, ((off, b"x" * 4096, False) for off in range(5000, len(data), 40000)))
        self.vol.command("sync", self.mnt)
        end = time.monotonic() + 60
        seen = -1
        while time.monotonic() < end:  # until it began and went no further
            time.sleep(3)
            now = self.vol.stats()["ingest"]["refolded_bytes"]
            if now > 0 and now == seen:
                break
            seen = now
        self.assertLess(self.cost_of_copy("straight", bytes(data)), len(data) // 50)
        self.assertEqual(self.read("f"), bytes(data))


@need_fold
class Sparse(MountCase):
    """The work of refolding follows the data there is, not the size of the file."""

    def pieces(self, size, count, seed):
        """Rewrites `count` places of a sparse file, each twice; returns what they hold."""
        r = random.Random(seed)
        have = {}
        with open(self.path("f"), "wb", buffering=0) as out:
            os.ftruncate(out.fileno(), size)
            for _ in range(count):
                off = r.randrange(0, size - 40000)
                have[off] = bytearray(r.randbytes(30000))
                os.pwrite(out.fileno(), have[off], off)
            os.fsync(out.fileno())
            for off, data in have.items():
                data[9000:9100] = r.randbytes(100)
                os.pwrite(out.fileno(), data[9000:9100], off + 9000)
        return have

    def check(self, size, count, seed):
        have = self.pieces(size, count, seed)
        self.vol.command("gc", "--full", self.mnt, timeout=60)
        self.vol.command("du", self.path("f"), timeout=60)
        with open(self.path("f"), "rb", buffering=0) as file:
            for off, data in have.items():
                self.assertEqual(os.pread(file.fileno(), len(data), off), data)
            first = min(have)
            self.assertLessEqual(os.lseek(file.fileno(), 0, os.SEEK_DATA), first)
        self.vol.umount()
        self.vol.mount()
        with open(self.path("f"), "r+b", buffering=0) as file:  # opening notes all of it
            for off, data in have.items():
                self.assertEqual(os.pread(file.fileno(), len(data), off), data)
            os.pwrite(file.fileno(), b"x", min(have))
        self.vol.command("gc", "--full", self.mnt, timeout=60)

    def test_256_gib(self):
        self.check(256 << 30, 100, 11)

    def test_2_to_62(self):
        self.check(1 << 62, 20, 12)

    def test_holes_are_shared_too(self):
        """A file of data and holes, written in pieces and rewritten, has the chunks of one written straight."""
        r = random.Random(13)
        data = bytearray()
        for _ in range(60):
            data += r.randbytes(r.randrange(1, 200000))
            data += bytes(r.randrange(0, 300000) if r.random() < 0.7 else r.randrange(0, 9000))
        data += b"end"
        with open(self.path("f"), "wb", buffering=0) as out:
            os.ftruncate(out.fileno(), len(data))
            places = list(range(0, len(data), 5000))
            r.shuffle(places)
            for n, off in enumerate(places):
                piece = bytes(data[off:off + 5000])
                if piece.strip(b"\0"):
                    os.pwrite(out.fileno(), piece, off)
                if n % 100 == 0:
                    os.fsync(out.fileno())
        self.vol.command("gc", "--full", self.mnt)
        self.assertEqual(self.read("f"), data)
        before = self.vol.stats()["unique_bytes"]
        self.write("straight", data)
        self.vol.command("sync", self.mnt)
        self.assertLess(self.vol.stats()["unique_bytes"] - before, len(data) // 50)
        self.assertEqual(self.read("f"), data)


if __name__ == "__main__":
    unittest.main()
