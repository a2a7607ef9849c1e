# SPDX-License-Identifier: MIT
"""Requests that take long leave others their threads, and end when nobody wants the answer any more."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
import unittest
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold

MIB = 1 << 20
GIB = 1 << 30
CRC = "user.foldfs.crc32"


class LongCase(MountCase):
    mount_opts = "uring=off,workers=4"

    def clone(self, name, size):
        """A file of `size` bytes that is 32 MiB of noise again and again."""
        fd = os.open(self.path(name), os.O_RDWR | os.O_CREAT, 0o644)
        os.write(fd, random.Random(name).randbytes(32 * MIB))
        have = 32 * MIB
        while have < size:
            have += os.copy_file_range(fd, fd, min(have, size - have), 0, have)
        os.close(fd)
        return self.path(name)


@need_fold
class Beside(LongCase):
    def ask(self, path, uid, key=CRC):
        """A process of another user that wants an attribute and is left alone."""
        return subprocess.Popen([sys.executable, "-c", "import os,sys; os.setuid(int(sys.argv[1])); "
                                 "os.getxattr(sys.argv[2], sys.argv[3])", str(uid), path, key],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def slowest(self, seconds):
        """The slowest of many rounds of what needs a worker, in seconds."""
        worst, end, i = 0, time.monotonic() + seconds, 0
        while time.monotonic() < end:
            begin = time.monotonic()
            fd = os.open(self.path("beside"), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.write(fd, random.Random(i).randbytes(300000))
            os.posix_fallocate(fd, 0, MIB)
            os.lseek(fd, 0, os.SEEK_HOLE)
            os.fsync(fd)
            os.close(fd)
            worst = max(worst, time.monotonic() - begin)
            i += 1
        return worst

    def test_others_get_by(self):
        path = self.clone("big", 64 * GIB)
        os.chmod(self.mnt, 0o755)
        askers = [self.ask(path, 1000 + i % 3) for i in range(24)]
        try:
            time.sleep(1)
            self.assertLess(self.slowest(4), 2.5)
            self.assertTrue(any(a.poll() is None for a in askers), "there was nothing to wait for")
        finally:
            begin = time.monotonic()
            for asker in askers:
                asker.send_signal(signal.SIGKILL)
            for asker in askers:
                asker.wait(timeout=60)
        self.assertLess(time.monotonic() - begin, 5)

    def test_a_short_one_of_the_same_user_is_not_behind(self):
        path = self.clone("big", 64 * GIB)
        self.write("small", b"123456789")
        asker = self.ask(path, 0)
        try:
            time.sleep(1)
            begin = time.monotonic()
            self.assertEqual(os.getxattr(self.path("small"), CRC), b"cbf43926")
            self.assertEqual(int(os.getxattr(self.path("small"), "user.foldfs.logical")), 9)
            self.assertLess(time.monotonic() - begin, 2)
            self.assertIsNone(asker.poll())
        finally:
            asker.kill()
            asker.wait(timeout=20)

    def test_interrupted(self):
        """A signal ends the request with EINTR, long before the work is done."""
        path = self.clone("big", 64 * GIB)

        def work():
            signal.signal(signal.SIGALRM, self.interrupt)
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            begin = time.monotonic()
            try:
                os.getxattr(path, CRC)
            except InterruptedError:
                pass
            assert time.monotonic() - begin < 5, time.monotonic() - begin

        self.in_child(work)

    @staticmethod
    def interrupt(signum, frame):
        raise InterruptedError(errno.EINTR, "alarm")


@need_fold
class Slices(LongCase):
    def test_slices_come_to_the_same_result(self):
        size = GIB + 12345
        path = self.clone("big", size)
        whole = 0
        with open(path, "rb") as file:
            for piece in iter(lambda: file.read(4 * MIB), b""):
                whole = zlib.crc32(piece, whole)
        self.assertEqual(os.getxattr(path, CRC).decode(), "%08x" % whole)
        self.assertEqual(int(os.getxattr(path, "user.foldfs.logical")), size)
        with open(path, "r+b") as file:
            os.truncate(path, 9 * GIB)
            self.assertEqual(os.lseek(file.fileno(), 0, os.SEEK_HOLE), (size + 4095) // 4096 * 4096)
            self.assertEqual(self.errno_of(os.lseek, file.fileno(), 4 * GIB, os.SEEK_DATA), errno.ENXIO)
            os.pwrite(file.fileno(), b"x", 8 * GIB)
            self.assertEqual(os.lseek(file.fileno(), 4 * GIB, os.SEEK_DATA), 8 * GIB)
            self.assertEqual(os.lseek(file.fileno(), 8 * GIB, os.SEEK_HOLE), 8 * GIB + 4096)


class Crumbs(Slices):
    knobs = "long_first_ms=0,long_slice_ms=0,seek_stride=4194304,usage_step_pages=1,range_step_bytes=1048576"


if __name__ == "__main__":
    unittest.main()
