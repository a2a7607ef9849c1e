# SPDX-License-Identifier: MIT
"""Files read from end to end give back what was written, whatever they consist of and however they are read."""

import mmap
import os
import random
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase

MIB = 1 << 20


class Streams(MountCase):
    size = 24 * MIB + 12345

    def setUp(self):
        super().setUp()
        self.rng = random.Random(11)
        self.data = self.content()
        with open(self.path("file"), "wb", buffering=0) as out:
            for at in range(0, self.size, MIB):
                out.write(self.data[at:at + MIB])
            for _ in range(200):  # chunks that are used in part only
                at = self.rng.randrange(self.size - 40000)
                piece = self.words(self.rng.randrange(1, 40000))
                self.data[at:at + len(piece)] = piece
                os.pwrite(out.fileno(), piece, at)
        self.cool()

    def words(self, size):
        """Bytes that LZ4 makes smaller."""
        return bytes(self.rng.choices(b"abcd", k=64)) * (size // 64) + bytes(size % 64)

    def content(self):
        """Pieces that compress, pieces that do not, and zeros."""
        data = bytearray()
        while len(data) < self.size:
            size = self.rng.randrange(1, 700000)
            data += self.rng.choice((self.words, self.words, self.rng.randbytes, bytes))(size)
        return data[:self.size]

    def cool(self):
        """Nothing in any cache, the daemon's included."""
        self.vol.remount()

    def stream(self, block, begin=0):
        """All that lies behind `begin`, block by block."""
        got = bytearray()
        with open(self.path("file"), "rb", buffering=0) as file:
            file.seek(begin)
            while part := file.read(block):
                got += part
        return got

    def check(self, got, begin=0):
        """Without printing megabytes."""
        self.assertEqual(len(got), self.size - begin)
        self.assertTrue(got == self.data[begin:], "content differs")

    def test_block_sizes(self):
        for block in (MIB, 4 * MIB, 128 << 10, 4096, 99991):
            with self.subTest(block):
                self.check(self.stream(block))
                self.cool()

    def test_from_the_middle(self):
        for begin in (5 * MIB + 1, 17 * MIB - 777, self.size - 1):
            with self.subTest(begin):
                self.check(self.stream(MIB, begin), begin)
                self.cool()

    def test_direct(self):
        block = mmap.mmap(-1, MIB)
        fd = os.open(self.path("file"), os.O_RDONLY | os.O_DIRECT)
        for _ in range(2):  # again: now what the daemon has kept
            got = bytearray()
            while (part := os.preadv(fd, [block], len(got))) > 0:
                got += block[:part]
            self.check(got)
        os.close(fd)

    def test_many_readers_of_one_handle(self):
        fd = os.open(self.path("file"), os.O_RDONLY)
        wrong = []

        def reader(first):
            for at in range(first * 256 * 1024, self.size, 4 * 256 * 1024):
                if os.pread(fd, 256 * 1024, at) != self.data[at:at + 256 * 1024]:
                    wrong.append(at)

        threads = [threading.Thread(target=reader, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os.close(fd)
        self.assertEqual(wrong, [])

    def test_streams_among_scattered_reads(self):
        wrong = []

        def scattered():
            rng = random.Random(3)
            with open(self.path("file"), "rb", buffering=0) as file:
                for _ in range(1500):
                    at = rng.randrange(self.size)
                    if os.pread(file.fileno(), 5000, at) != self.data[at:at + 5000]:
                        wrong.append(at)

        thread = threading.Thread(target=scattered)
        thread.start()
        self.check(self.stream(MIB))
        thread.join()
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()
