# SPDX-License-Identifier: MIT
"""Files written in very many small pieces: what fsync and close acknowledged is there after a kill and after an
unmount, seeking ends, and the volume goes on. Each shape once with the limits as they are and once with tiny ones."""

import ctypes
import os
import random
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold

SEED = int(os.environ.get("FOLD_SEED", "7"))
TINY = "window_slices=3,window_bytes=1000,stream_bytes=5000,slice_block=4,arena_min=64,arena_max=256"


def places(order, count, size, rng):
    """The offsets of `count` pieces of `size` bytes that tile a file, in the order they are written."""
    at = list(range(count))
    if order == "down":
        at.reverse()
    elif order == "random":
        rng.shuffle(at)
    elif order == "strided":
        at = [i for first in range(7) for i in range(first, count, 7)]
    return [i * size for i in at]


class Shapes:
    """The tests; a class below says with which limits and which volume they run."""

    count = 20000

    def draw(self, name, order, size, fsync=True, gap=1):
        """Writes one file in pieces; returns what it must read as. With gap > 1 the pieces do not touch."""
        rng = random.Random("%d %s %s %d" % (SEED, name, order, size))
        content = bytearray(self.count * size * gap)
        fd = os.open(self.path(name), os.O_RDWR | os.O_CREAT)
        for off in places(order, self.count, size, rng):
            piece = rng.randbytes(size)
            content[off * gap:off * gap + size] = piece
            self.assertEqual(os.pwrite(fd, piece, off * gap), size)
        last = max(len(content.rstrip(b"\0")), 1)
        if fsync:
            os.fsync(fd)
        os.close(fd)
        return bytes(content), last

    def verify(self, drawn):
        """All files read as drawn."""
        for name, (content, _) in drawn.items():
            have = self.read(name)
            whole = content[:len(have)]
            self.assertGreaterEqual(len(have), len(content.rstrip(b"\0")), name)
            self.assertEqual(have == whole, True, "%s differs, seed %d" % (name, SEED))

    def everything(self, fsync):
        """One file of each shape."""
        drawn = {}
        for order in ("up", "down", "random", "strided"):
            for size in (1, 24):
                name = "%s-%d" % (order, size)
                drawn[name] = self.draw(name, order, size, fsync)
        drawn["apart"] = self.draw("apart", "random", 1, fsync, gap=5)
        return drawn

    def test_fsync_then_kill(self):
        drawn = self.everything(True)
        self.vol.kill9()
        self.vol.mount()
        self.verify(drawn)

    def test_close_then_kill(self):
        drawn = self.everything(False)
        self.vol.kill9()
        self.vol.mount()
        self.verify(drawn)

    def test_unmount(self):
        drawn = self.everything(False)
        self.verify(drawn)
        self.vol.command("sync", self.mnt)
        self.vol.umount()
        self.vol.mount()
        self.verify(drawn)

    def test_seek_and_ranges_end(self):
        """What freezes a file ends, with its pieces dirty."""
        rng = random.Random(SEED)
        fd = os.open(self.path("file"), os.O_RDWR | os.O_CREAT)
        for off in places("random", self.count, 1, rng):
            os.pwrite(fd, b"x", off)
        self.assertEqual(os.lseek(fd, 0, os.SEEK_HOLE), self.count)
        for off in places("random", self.count, 1, rng):
            os.pwrite(fd, b"y", off)
        libc = ctypes.CDLL(None, use_errno=True)
        self.assertEqual(libc.fallocate(fd, 3, ctypes.c_long(4096), ctypes.c_long(4096)), 0)
        for off in places("random", self.count, 1, rng):
            os.pwrite(fd, b"z", off)
        self.vol.command("gc", "--full", self.mnt)
        self.assertEqual(os.pread(fd, self.count + 1, 0), b"z" * self.count)
        os.close(fd)


@need_fold
class Default(Shapes, MountCase):
    """The limits as they are: the files have more pieces than a window takes."""


@need_fold
class LargeChunks(Shapes, MountCase):
    """A chunk is longer than all pieces of a window together."""

    count = 3000
    knobs = "window_slices=500"
    mkfs_args = ("--chunk-size", "1M")


@need_fold
class FixedChunks(Shapes, MountCase):
    count = 3000
    knobs = "window_slices=500"
    mkfs_args = ("--chunker", "fixed", "--chunk-size", "1M")


@need_fold
class TinyLimits(Shapes, MountCase):
    """Every limit is crossed many times."""

    count = 3000
    knobs = TINY


@need_fold
class TinyLimitsFixed(TinyLimits):
    mkfs_args = ("--chunker", "fixed", "--chunk-size", "4K")


if __name__ == "__main__":
    unittest.main()
