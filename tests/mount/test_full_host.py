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
import threading
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
        os.chmod(self.base, 0o755)
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


class HostCase(MountCase):
    """A store on a host filesystem of its own, which is small."""
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

    def until(self, what, seconds=120):
        """Waits for something that happens in the background."""
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, "it does not happen")
            time.sleep(0.5)

    def _finish(self):
        # Failed appends are reported, and meant to be.
        self.vol.complaints = list
        super()._finish()


@need_fold
@unittest.skipUnless(can_loop(), "needs root, loop devices and mkfs.ext4")
class FullHost(HostCase):
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

    def test_copies_leave_the_reserve(self):
        """A user shares ranges of a file until no more is let in: what deletes need is still there."""
        self.put("src", self.random.randbytes(48 * MIB))
        os.chmod(self.mnt, 0o777)
        os.chmod(self.path("src"), 0o644)
        reserve = 16 * MIB

        def copy():
            src = os.open(self.path("src"), os.O_RDONLY)
            size = os.fstat(src).st_size
            end = time.monotonic() + 300
            for n in range(100000):
                dst = os.open(self.path("copy-%d" % n), os.O_WRONLY | os.O_CREAT, 0o600)
                for at in range(0, 64 * size, size):
                    assert time.monotonic() < end
                    try:
                        assert os.copy_file_range(src, dst, size, 0, at) == size
                    except OSError as error:
                        assert error.errno == errno.ENOSPC, error
                        return
                os.close(dst)

        self.in_child(copy, uid=12345, gid=12345)
        ballast = os.path.join(self.vol.store, "ballast")
        kept = os.stat(ballast).st_blocks * 512 if os.path.exists(ballast) else 0
        self.assertGreater(self.host.free() + kept, reserve / 2)
        self.vol.command("sync", self.mnt)
        for name in os.listdir(self.mnt):
            if name.startswith("copy"):
                os.unlink(self.path(name))
        self.check()
        self.until(lambda: self.gc() or self.avail() > self.SIZE / 3)
        self.assertEqual(self.put("more", self.random.randbytes(32 * MIB)), 0)

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


@need_fold
@unittest.skipUnless(can_loop(), "needs root, loop devices and mkfs.ext4")
class NearlyEmpty(HostCase):
    """A volume with little in it, on a host that garbage fills."""
    SIZE = 400 * MIB

    def test_writers_wait_for_the_collector(self):
        """Written, made durable and deleted again and again: never refused, and nobody else is kept waiting."""
        slowest = 0.0
        stop = threading.Event()

        def look():
            nonlocal slowest
            while not stop.is_set():
                start = time.monotonic()
                os.listdir(self.mnt)
                os.statvfs(self.mnt)
                slowest = max(slowest, time.monotonic() - start)
                time.sleep(0.01)

        lookers = [threading.Thread(target=look) for _ in range(3)]
        for t in lookers:
            t.start()
        try:
            for n in range(50):
                self.assertEqual(self.put("again", self.random.randbytes(25 * MIB)), 0, "round %d" % n)
                os.unlink(self.path("again"))
                del self.sums["again"]
        finally:
            stop.set()
            for t in lookers:
                t.join()
        self.assertLess(slowest, 5)
        self.check()

    def test_several_writers_wait(self):
        """Many at once, each with little: names and data."""
        errors = []

        def work(k):
            rng = random.Random(k)
            for n in range(40):
                path = self.path("w%d-%d" % (k, n))
                try:
                    with open(path, "wb") as out:
                        out.write(rng.randbytes(4 * MIB))
                        if n % 3 == 0:
                            os.fsync(out.fileno())
                    os.unlink(path)
                except OSError as error:
                    errors.append((k, n, error.errno))
                    return

        writers = [threading.Thread(target=work, args=(k,)) for k in range(6)]
        for t in writers:
            t.start()
        for t in writers:
            t.join()
        self.assertEqual(errors, [])

    def test_refused_at_once_without_garbage(self):
        """Where nothing can be freed nobody waits for it."""
        self.fill("f", size=4 * MIB)
        self.put("g", self.random.randbytes(4 * MIB))  # lets a last collection find out
        start = time.monotonic()
        for _ in range(5):
            self.assertEqual(self.put("h", self.random.randbytes(8 * MIB)), errno.ENOSPC)
        self.assertLess(time.monotonic() - start, 10)
        self.check()


if __name__ == "__main__":
    unittest.main()
