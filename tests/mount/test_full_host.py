# SPDX-License-Identifier: MIT
"""A full host: writers get ENOSPC, what was stored stays right, deleting and collecting give space back, writing goes on."""

import errno
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold
from lib.volume import LONG, scratch_root

MIB = 1 << 20


class Host:
    """A small ext4 of its own on a loop device."""

    def __init__(self, size, *mkfs_args):
        self.base = tempfile.mkdtemp(prefix="foldfs-host-", dir=scratch_root())
        self.dir = os.path.join(self.base, "host")
        image = os.path.join(self.base, "image")
        os.mkdir(self.dir)
        with open(image, "wb") as out:
            out.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-F", *mkfs_args, image], check=True)
        subprocess.run(["mount", "-o", "loop", image, self.dir], check=True)

    def free(self):
        st = os.statvfs(self.dir)
        return st.f_bavail * st.f_frsize

    def close(self):
        subprocess.run(["umount", self.dir], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.base, ignore_errors=True)


def can_loop():
    """Whether this machine lets us have loop devices."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        return False
    try:
        Host(16 * MIB).close()
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@need_fold
@unittest.skipUnless(can_loop(), "needs root, loop devices and mkfs.ext4")
class FullHost(MountCase):
    SIZE = 160 * MIB

    def setUp(self):
        self.host = Host(self.SIZE, "-m", "0")
        self.addCleanup(self.host.close)
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = self.host.dir
        try:
            super().setUp()
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
        self.sums = {}
        self.random = random.Random(1)

    def put(self, name, data, sync=True):
        """Writes a file; 0 when it is safe, else the errno. What failed is taken away again."""
        path = self.path(name)
        try:
            with open(path, "wb") as out:
                out.write(data)
                out.flush()
                if sync:
                    os.fsync(out.fileno())
        except OSError as error:
            if os.path.exists(path):
                os.unlink(path)
            return error.errno
        self.sums[name] = hashlib.md5(data).digest()
        return 0

    def fill(self, tag, size=MIB, sync=True):
        """Files until the host is full; how many."""
        for i in range(100000):
            code = self.put("%s-%d" % (tag, i), self.random.randbytes(size), sync)
            if code:
                self.assertEqual(code, errno.ENOSPC)
                return i
        self.fail("never full")

    def check(self):
        self.assertEqual(sorted(os.listdir(self.mnt)), sorted(self.sums))
        for name, digest in self.sums.items():
            self.assertEqual(hashlib.md5(self.read(name)).digest(), digest, name)

    def delete(self, part):
        names = sorted(self.sums)
        self.random.shuffle(names)
        for name in names[:int(len(names) * part)]:
            os.unlink(self.path(name))
            del self.sums[name]

    def gc(self):
        self.vol.command("gc", "--full", self.mnt)

    def avail(self):
        st = os.statvfs(self.mnt)
        return st.f_bavail * st.f_frsize

    def _finish(self):
        # Failed appends are reported, and meant to be.
        self.vol.complaints = list
        super()._finish()

    def test_rounds(self):
        for n in range(12 if LONG else 4):
            wrote = self.fill("r%d" % n, size=self.random.choice((100000, MIB, 3 * MIB)), sync=n % 2 == 0)
            self.assertGreater(wrote, 0, "nothing could be written in round %d" % n)
            self.check()
            self.delete(0.5)
            self.gc()
            self.assertGreater(self.avail(), self.SIZE / 8)
            self.check()
            if n % 2:
                self.vol.kill9()
                self.vol.mount()
            else:
                self.vol.remount()
            self.check()
        self.delete(1)
        self.gc()
        self.assertGreater(self.avail(), self.SIZE / 2)
        self.assertEqual(self.put("again", self.random.randbytes(32 * MIB)), 0)

    def test_small_files(self):
        self.fill("s", size=9000, sync=False)
        self.check()
        self.delete(0.7)
        self.gc()
        self.check()
        self.vol.remount()
        self.check()
        self.assertGreater(self.fill("t", size=20000, sync=False), 100)

    def test_remount_when_full(self):
        self.fill("f")
        self.vol.remount()
        self.check()
        self.vol.kill9()
        self.vol.mount()
        self.check()
        self.delete(0.6)
        self.gc()
        self.assertGreater(self.avail(), self.SIZE / 8)

    def foreign(self):
        """Somebody else fills the host to the last byte, in steps."""
        path = os.path.join(self.host.dir, "foreign")
        with open(path, "wb", buffering=0) as out:
            while self.host.free() >= 4096:
                for size in (MIB, 4096):
                    try:
                        while True:
                            out.write(b"x" * size)
                    except OSError as error:
                        self.assertEqual(error.errno, errno.ENOSPC)
                os.fsync(out.fileno())  # ext4 gives back what it had set aside for its own records
        return path

    def foreign_at_once(self, left):
        """Somebody else takes all but `left` bytes in one call."""
        path = os.path.join(self.host.dir, "foreign")
        with open(path, "wb", buffering=0) as out:
            os.posix_fallocate(out.fileno(), 0, self.host.free() - left)
        return path

    def prepare_foreign(self):
        for i in range(90):
            self.assertEqual(self.put("f%d" % i, self.random.randbytes(MIB)), 0)
        self.vol.command("sync", self.mnt)

    def test_foreign_file(self):
        self.prepare_foreign()
        foreign = self.foreign()
        self.assertEqual(self.put("more", self.random.randbytes(32 * MIB)), errno.ENOSPC)
        self.assertEqual(self.avail(), 0)
        self.recover(foreign)

    def test_foreign_file_at_once(self):
        """The daemon still believes in the space it saw: data it has accepted must not eat the reserve."""
        for left in (64 << 10, 3 * MIB):
            self.prepare_foreign()
            foreign = self.foreign_at_once(left)
            self.assertEqual(self.put("more", self.random.randbytes(32 * MIB)), errno.ENOSPC)
            self.recover(foreign)
            self.delete(1)
            self.gc()

    def recover(self, foreign):
        """With the host still full: everything is right, deleting and collecting work."""
        self.check()
        self.delete(0.6)
        self.gc()
        self.assertGreater(self.host.free(), 8 * MIB)
        self.check()
        self.vol.remount()
        self.check()
        os.unlink(foreign)
        self.gc()
        self.assertEqual(self.put("more", self.random.randbytes(MIB)), 0)
        self.check()

    def ballast(self):
        return os.path.join(self.vol.store, "ballast")

    def until(self, what, seconds=120):
        """Waits for something that happens in the background."""
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, "it does not happen")
            time.sleep(0.5)

    def test_collects_by_itself(self):
        """A host with little left: what is deleted comes back without being asked for."""
        self.fill("f")
        self.vol.command("sync", self.mnt)
        free = self.host.free()
        self.delete(0.5)
        self.until(lambda: self.host.free() > free + self.SIZE / 8)
        self.check()

    def test_mount_on_a_full_host(self):
        """Somebody fills the host to the last byte while the volume is not mounted."""
        for i in range(90):
            self.assertEqual(self.put("f%d" % i, self.random.randbytes(MIB)), 0)
        for n in range(2):
            self.until(lambda: os.path.exists(self.ballast()))
            self.vol.umount()
            self.assertTrue(os.path.exists(self.ballast()))
            foreign = self.foreign()
            self.vol.mount()
            self.check()
            self.assertEqual(self.put("more", self.random.randbytes(32 * MIB)), errno.ENOSPC)
            self.delete(0.2)
            self.gc()
            self.check()
            if n == 1:
                self.vol.kill9()
            else:
                self.vol.umount()
            self.vol.mount()
            self.check()
            os.unlink(foreign)
        self.assertEqual(self.put("more", self.random.randbytes(MIB)), 0)
        self.check()

    def test_ballast_taken_away(self):
        """Its file is removed by hand: it is missed, and taken again as soon as there is room."""
        for i in range(90):
            self.assertEqual(self.put("f%d" % i, self.random.randbytes(MIB)), 0)
        self.until(lambda: os.path.exists(self.ballast()))
        os.unlink(self.ballast())
        self.until(lambda: os.path.exists(self.ballast()))
        os.unlink(self.ballast())
        foreign = self.foreign()
        self.assertEqual(self.put("more", self.random.randbytes(32 * MIB)), errno.ENOSPC)
        self.check()
        self.delete(0.3)
        self.check()
        os.unlink(foreign)
        self.gc()
        self.until(lambda: os.path.exists(self.ballast()))
        self.assertEqual(self.put("more", self.random.randbytes(MIB)), 0)
        self.check()


if __name__ == "__main__":
    unittest.main()
