# SPDX-License-Identifier: MIT
"""A mounted filesystem runs the dispatched kernels, at the level chosen, for every level this machine has.

The daemon counts its calls per kernel; each test does a known piece of work and demands that the counters rise with
it and, where the work does not need a kernel, that they stay. What level a kernel should have is told apart from what
the daemon says: from the list of implementations in `foldfs kernels --json`, the best one not above the level forced.
"""

import json
import os
import random
import sys
import unittest
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import need_fold
from lib.volume import PLAIN, Volume

LEVELS = ("scalar", "sse42", "avx2", "avx512")
MIB = 1 << 20
CHUNK = 16384
NAMES = {"cdc", "fingerprint", "crc32c", "crc32", "probe", "zero", "compare", "compare_batch",
         "entropy"}


class Forced:
    """A volume whose commands all run at one level, and what its daemon counted since the last look."""

    def __init__(self, level, mkfs_args=("--compress", "lz4")):
        self.vol = Volume(mkfs_args, env={"FOLDFS_CPU": level})
        self.seen = self.kernels()

    def kernels(self):
        """The kernels of the daemon as its stats show them."""
        return self.vol.stats()["kernels"]

    def rise(self):
        """Calls per kernel since this was last asked."""
        now = self.kernels()
        grown = {name: now[name]["calls"] - self.seen[name]["calls"] for name in now}
        self.seen = now
        return grown

    def remount(self):
        """Drops all caches, and starts counting again."""
        self.vol.remount()
        self.seen = self.kernels()

    def write(self, name, data):
        """Writes a file and waits for it to be stored; returns what was called."""
        with open(self.vol.path(name), "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        return self.rise()

    def read(self, name):
        """Reads a file; returns the bytes and what was called."""
        with open(self.vol.path(name), "rb") as file:
            data = file.read()
        return data, self.rise()


def implementations():
    """{kernel: set of levels} of this build on this machine."""
    with Volume(mount=False) as vol:
        rows = json.loads(vol.command("kernels", "--json").stdout)
    found = {}
    for row in rows:
        found.setdefault(row["name"], set()).add(row["level"])
    return found


@need_fold
class Kernels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.known = {} if PLAIN else implementations()
        have = set().union(*cls.known.values()) if cls.known else set()
        cls.levels = [level for level in LEVELS if level in have]

    def each_level(self, work, **kwargs):
        """Runs `work` on a fresh volume at each level."""
        for level in self.levels:
            with self.subTest(level=level):
                forced = Forced(level, **kwargs)
                with forced.vol:
                    work(forced, level)

    def expected(self, kernel, level):
        """The best implementation of a kernel that is not above a level."""
        return max((l for l in self.known[kernel] if LEVELS.index(l) <= LEVELS.index(level)), key=LEVELS.index)

    def test_machine(self):
        """Plain C is always there; where there is assembly at all, the big kernels have a version at each level."""
        self.assertEqual(set(self.known), NAMES)
        for kernel, levels in self.known.items():
            self.assertIn("scalar", levels, kernel)
        if self.known["cdc"] != {"scalar"}:
            for kernel in ("cdc", "zero", "crc32c", "compare", "fingerprint"):
                self.assertGreaterEqual(len(self.known[kernel]), min(len(self.levels), 2), kernel)

    def test_levels(self):
        """The daemon's kernels are those of the level asked for, under their names."""
        def work(forced, level):
            stats = forced.vol.stats()
            self.assertEqual(stats["kernel_level"], level)
            self.assertEqual(set(stats["kernels"]), NAMES)
            for name, kernel in stats["kernels"].items():
                self.assertEqual(kernel["level"], self.expected(name, level), name)

        self.each_level(work)

    def test_write_new(self):
        """New data passes zero test, cutter, fingerprint, filter, entropy sampler and checksum, in proportion."""
        data = random.Random(1).randbytes(8 * MIB)

        def work(forced, _):
            small = forced.write("small", data[:2 * MIB])
            big = forced.write("big", data[2 * MIB:])
            for calls, size in ((small, 2 * MIB), (big, 6 * MIB)):
                chunks = size / CHUNK
                for name in ("cdc", "fingerprint", "crc32c"):
                    self.assertGreater(calls[name], 0.6 * chunks, name)
                # Along a run that does not compress only some chunks are sampled.
                self.assertGreater(calls["entropy"], 0.1 * chunks)
                # Probes are in batches; the zero test covers long ranges.
                self.assertGreater(calls["probe"], chunks / 256)
                self.assertGreater(calls["zero"], 0)
                self.assertLess(calls["fingerprint"], 4 * chunks)
            for name in ("cdc", "fingerprint", "entropy"):
                self.assertGreater(big[name], 2 * small[name], name)
            for name in ("compare", "compare_batch", "crc32"):
                self.assertEqual(small[name] + big[name], 0, name)

        self.each_level(work)

    def test_write_again(self):
        """Duplicates are found through the filter and compared byte by byte, many in one pass, and neither sampled
        nor stored."""
        data = random.Random(2).randbytes(4 * MIB)

        def work(forced, _):
            forced.write("first", data)
            calls = forced.write("second", data)
            chunks = len(data) / CHUNK
            for name in ("cdc", "fingerprint", "compare"):
                self.assertGreater(calls[name], 0.6 * chunks, name)
            self.assertGreater(calls["probe"], chunks / 256)
            self.assertGreater(calls["compare_batch"], chunks / 256)
            self.assertLess(calls["compare_batch"], 0.3 * chunks)
            self.assertLess(calls["entropy"], 0.05 * chunks)

        self.each_level(work)

    def test_twins(self):
        """Equal chunks that arrive together are compared with each other by the same kernel."""
        data = random.Random(3).randbytes(64 << 10) * 32

        def work(forced, _):
            calls = forced.write("twins", data)
            chunks = len(data) / CHUNK
            self.assertGreater(calls["compare"], 0.5 * chunks)
            self.assertLess(calls["entropy"], 0.5 * chunks)

        self.each_level(work)

    def test_write_zeros(self):
        """Zeros end at the zero test: nothing is cut, hashed or stored of them."""
        def work(forced, _):
            calls = forced.write("zeros", bytes(4 * MIB))
            self.assertGreater(calls["zero"], 0)
            for name in ("cdc", "fingerprint", "entropy", "compare"):
                self.assertLess(calls[name], 8, name)

        self.each_level(work)

    def test_read(self):
        """What is read from the store for the first time after a mount is checked by CRC-32C, and by nothing else."""
        rng = random.Random(4)
        data = rng.randbytes(3 * MIB) + b"".join(b"%d of many lines\n" % rng.randrange(1 << 40) for _ in range(40000))

        def work(forced, _):
            forced.write("file", data)
            forced.remount()
            got, calls = forced.read("file")
            self.assertEqual(got, data)
            self.assertGreater(calls["crc32c"], 0.6 * len(data) / CHUNK)
            for name in ("cdc", "fingerprint", "probe", "entropy"):
                self.assertEqual(calls[name], 0, name)

        self.each_level(work)

    def test_checksum(self):
        """The attribute user.foldfs.crc32 is zlib's checksum of the content, by the kernel for it."""
        rng = random.Random(7)
        data = rng.randbytes(2 * MIB) + b"%d of many lines\n" % 12345 * 50000

        def work(forced, _):
            forced.write("file", data)
            value = os.getxattr(forced.vol.path("file"), "user.foldfs.crc32").decode()
            self.assertEqual(value, "%08x" % zlib.crc32(data))
            calls = forced.rise()
            self.assertGreater(calls["crc32"], 0)
            for name in ("cdc", "fingerprint", "probe", "entropy", "compare"):
                self.assertEqual(calls[name], 0, name)

        self.each_level(work)

    def test_no_compression(self):
        """Without compression the sampler is not asked."""
        data = random.Random(5).randbytes(2 * MIB)

        def work(forced, _):
            calls = forced.write("file", data)
            self.assertEqual(calls["entropy"], 0)
            self.assertGreater(calls["fingerprint"], 0.6 * len(data) / CHUNK)

        self.each_level(work, mkfs_args=("--compress", "none"))

    def test_levels_agree(self):
        """What one level wrote, another reads, and finds again as duplicates."""
        data = random.Random(6).randbytes(2 * MIB)
        forced = Forced(self.levels[0])
        with forced.vol:
            forced.write("first", data)
            before = forced.vol.stats()["unique_bytes"]
            for level in self.levels[1:]:
                forced.vol.env["FOLDFS_CPU"] = level
                forced.remount()
                self.assertEqual(forced.vol.stats()["kernel_level"], level)
                self.assertEqual(forced.read("first")[0], data, level)
                forced.write(level, data)
                self.assertLess(forced.vol.stats()["unique_bytes"], before + len(data) // 50, level)


if __name__ == "__main__":
    unittest.main()
