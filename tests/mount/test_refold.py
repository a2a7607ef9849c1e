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


if __name__ == "__main__":
    unittest.main()
