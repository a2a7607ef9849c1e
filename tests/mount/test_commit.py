# SPDX-License-Identifier: MIT
"""What nobody syncs is stored within the commit interval, whatever its writer does."""

import hashlib
import json
import os
import random
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold


def ask(vol, verb, **args):
    """The result of a control request. Made without a child process, whose exec would close its copy of open files."""
    run = os.open(os.path.join(vol.store, "run"), os.O_PATH)
    with socket.socket(socket.AF_UNIX) as control:
        control.connect("/proc/self/fd/%d/control" % run)
        os.close(run)
        control.sendall(json.dumps({"verb": verb, "args": args}).encode() + b"\n")
        with control.makefile() as lines:
            while True:
                answer = json.loads(lines.readline())
                if "ok" in answer:
                    return answer["result"]


@need_fold
class Commit(MountCase):
    mount_opts = "commit=1"

    def test_rewritten_all_the_time(self):
        """A file that is cut off and written again several times a second, and never closed, is stored all the same."""
        fd = os.open(self.path("status"), os.O_RDWR | os.O_CREAT)
        end = time.monotonic() + 30
        turn = 0
        while ask(self.vol, "stats")["ingest"]["bytes_in"] == 0:
            self.assertLess(time.monotonic(), end, "nothing was stored in half a minute")
            turn += 1
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"turn %d" % turn, 0)
            time.sleep(0.05)
        self.vol.kill9()
        self.assertRaises(OSError, os.close, fd)
        self.vol.mount()
        self.assertRegex(self.read("status"), rb"^turn \d+$")


@need_fold
class Unasked(MountCase):
    mount_opts = "commit=300"

    def attempt(self, pieces):
        """What a kill leaves of a file of whose rewriting half was done when all was collected; the seconds since."""
        self.write("file", b"old" * 100000)
        ask(self.vol, "sync")
        with open(self.path("file"), "r+b") as out:  # so that it waits to be cut again
            for i in range(pieces):
                out.seek(30000 * i)
                out.write(b"dlo" * 7)
                out.flush()
        ask(self.vol, "sync")
        self.old = self.read("file")
        fd = os.open(self.path("file"), os.O_WRONLY | os.O_TRUNC)
        began = time.monotonic()
        os.write(fd, b"half")
        ask(self.vol, "gc", full=True)
        took = time.monotonic() - began
        self.vol.kill9()
        self.assertRaises(OSError, os.close, fd)
        self.vol.mount()
        return self.read("file"), took

    def test_half_a_rewrite(self):
        """Who only collects does not make half of a rewritten file durable."""
        for pieces in 0, 9:
            for _ in range(20):
                content, took = self.attempt(pieces)
                if content == self.old:
                    break
                self.assertGreater(took, 0.9)  # else the file counted as being rewritten
            else:
                self.skipTest("a machine too busy to be quick enough")


@need_fold
class Rewrite(MountCase):
    """A file with content is cut off at open and written anew: all of it changes in one commit."""
    mount_opts = "commit=300"
    SIZE = 24 << 20

    def rewrite(self, seed, piece):
        data = random.Random(seed).randbytes(self.SIZE)
        fd = os.open(self.path("file"), os.O_WRONLY | os.O_TRUNC)
        for at in range(0, len(data), piece):
            os.write(fd, data[at:at + piece])
        return fd, data

    def test_killed_before_and_after_close(self):
        old = random.Random(0).randbytes(self.SIZE + 12345)
        self.write("file", old)
        ask(self.vol, "sync")
        for turn, piece in enumerate((1 << 20, 4096, 100000), 1):
            fd, _ = self.rewrite(2 * turn, piece)
            time.sleep(0.3)  # what is stored as it comes would be stored now
            self.vol.kill9()
            self.assertRaises(OSError, os.close, fd)
            self.vol.mount()
            self.assertEqual(self.sha(self.path("file")), hashlib.sha256(old).hexdigest(), "pieces of %d" % piece)
            fd, old = self.rewrite(2 * turn + 1, piece)
            os.close(fd)
            self.vol.kill9()
            self.vol.mount()
            self.assertEqual(self.sha(self.path("file")), hashlib.sha256(old).hexdigest(), "pieces of %d" % piece)

    def test_longer_than_one_commit(self):
        """More than is kept back: the new content is stored as it comes."""
        self.write("file", b"old" * 1000000)
        ask(self.vol, "sync")
        self.SIZE = 90 << 20
        fd, data = self.rewrite(1, 1 << 20)
        os.close(fd)
        self.vol.kill9()
        self.vol.mount()
        self.assertEqual(self.read("file"), data)


if __name__ == "__main__":
    unittest.main()
