# SPDX-License-Identifier: MIT
"""Bit rot: bits flipped all over a store's files. No wrong byte is ever returned, scrub and fsck name the damage, writing the
same content again heals it, and a segment file that is cut short under a mount gives EIO.

FOLD_SEED repeats a run."""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold
from lib.volume import FOLDFS, LONG, VolumeError

KIB = 1 << 10
MIB = 1 << 20


def files_of(store, *folders):
    """Paths of the non-empty files below these folders of the store."""
    out = []
    for folder in folders:
        for top, _, names in os.walk(os.path.join(store, folder)):
            out += [os.path.join(top, n) for n in names if os.path.getsize(os.path.join(top, n)) > 0]
    return sorted(out)


def flip(path, at, mask=0x10):
    """Flips bits of one byte."""
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))


class RotCase(MountCase):
    fsck_after = False  # damage may be left

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("FOLD_SEED", random.randrange(1 << 30)))
        self.rng = random.Random(self.seed)
        self.good = {}

    def fill(self):
        """Files of random bytes, of text, of both; small and large."""
        for i in range(40):
            rng = random.Random(i)
            size = rng.choice((3000, 20000, 150000, 900000))
            data = rng.randbytes(size) if i % 3 else b"".join(b"line %d of file %d\n" % (n, i) for n in range(size // 20))
            self.write("f%02d" % i, data)
            self.good["f%02d" % i] = data
        self.vol.umount()

    def read_all(self):
        """Reads every file piece by piece: each is right or EIO. Returns the files with EIO."""
        bad = set()
        for name, data in self.good.items():
            try:
                fd = os.open(self.path(name), os.O_RDONLY)
            except OSError as error:
                self.assertIn(error.errno, (errno.EIO, errno.ENOENT), "seed %d" % self.seed)
                bad.add(name)
                continue
            try:
                off = 0
                while off < len(data):
                    want = data[off:off + 64 * KIB]
                    try:
                        got = os.pread(fd, len(want), off)
                    except OSError as error:
                        self.assertEqual(error.errno, errno.EIO, "seed %d" % self.seed)
                        bad.add(name)
                        off += 4 * KIB
                        continue
                    # A read may end early before what cannot be read, but never be empty or other than it should.
                    if not got or got != want[:len(got)]:
                        self.fail("wrong bytes in %s at %d, %d of %d, seed %d" %
                                  (name, off, len(got), len(want), self.seed))
                    off += len(got)
            finally:
                os.close(fd)
        return bad


@need_fold
class Chunks(RotCase):
    def test_named_and_healed(self):
        """Rot in segments: files read right or EIO; scrub, fsck and log name chunk and files; rewriting heals."""
        self.fill()
        for path in files_of(self.vol.store, "segments"):
            size = os.path.getsize(path)
            for _ in range(12):
                flip(path, self.rng.randrange(4096, size - 64 * KIB if size > 256 * KIB else size))
        fsck = json.loads(self.vol.command("fsck", "--data", "--json", self.vol.store, check=False).stdout)
        named = {p["message"].split(":")[0].lstrip("/") for p in fsck["problems"] if p["code"] == "file.damaged"}
        self.vol.mount()
        bad = self.read_all()
        self.assertTrue(bad, "seed %d: the flips hit nothing" % self.seed)
        done = self.vol.command("scrub", "--json", self.mnt, check=False)
        self.assertEqual(done.returncode, 3, done.stderr)
        scrub = json.loads(done.stdout)
        scrubbed = {os.path.basename(f) for d in scrub["damaged"] for f in d["files"]}
        self.assertEqual(scrubbed, bad, "seed %d" % self.seed)
        self.assertEqual(named, bad, "seed %d" % self.seed)
        log = self.vol.log()
        for d in scrub["damaged"]:
            if d["files"]:
                self.assertRegex(log, r"segment %s offset %d fingerprint [0-9a-f]{32} in inode \d+: " %
                                 (d["segment"], d["offset"]), "seed %d" % self.seed)

        # The same content arrives again, under other names: everything is whole again.
        for name in bad:
            self.write("again-" + name, self.good[name])
        self.vol.command("sync", self.mnt)
        self.vol.remount()
        self.assertEqual(self.read_all(), set(), "seed %d" % self.seed)
        self.assertIn("healed from the same content", self.vol.log())
        scrub = json.loads(self.vol.command("scrub", "--json", self.mnt, check=False).stdout)
        self.assertEqual([d for d in scrub["damaged"] if d["files"]], [], "seed %d" % self.seed)
        self.vol.umount()
        self.vol.command("fsck", "--data", self.vol.store)
        self.vol.mount()

    def test_interrupted_scrub(self):
        """A scrub that is interrupted behind the damage it found: the next one names it, also after a remount."""
        for i in range(6):
            self.write("s%d" % i, random.Random(i).randbytes(6 * MIB))
            self.vol.remount()  # a segment of its own
        self.vol.umount()
        first = files_of(self.vol.store, "segments")[0]
        for k in range(3):
            flip(first, 2 * MIB + k)
        self.vol.mount()
        position = os.path.join(self.vol.store, "scrub")

        def interrupted():
            scrub = subprocess.Popen([FOLDFS, "scrub", "--rate", "8M", self.mnt], stdout=subprocess.PIPE, text=True)
            end = time.monotonic() + 60
            while time.monotonic() < end:
                try:
                    with open(position, "rb") as file:
                        if int.from_bytes(file.read(12)[8:], "little") > 2:
                            break
                except FileNotFoundError:
                    pass
                time.sleep(0.05)
            scrub.send_signal(signal.SIGINT)
            scrub.communicate(timeout=60)
            self.assertTrue(os.path.exists(position), "it ended before it was interrupted")

        interrupted()
        done = self.vol.command("scrub", "--json", self.mnt, check=False)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertGreater(report["resumed_at"], 2)
        self.assertEqual([[os.path.basename(f) for f in d["files"]] for d in report["damaged"]], [["s0"]])
        interrupted()
        self.vol.remount()
        self.assertEqual(self.vol.command("scrub", self.mnt, check=False).returncode, 3)

    def test_truncated_segment(self):
        """The file of a segment loses its end while it is mapped and read."""
        self.fill()
        self.vol.mount()
        name = max(self.good, key=lambda n: len(self.good[n]))
        self.assertEqual(self.read(name), self.good[name])
        path = max(files_of(self.vol.store, "segments"), key=os.path.getsize)
        os.truncate(path, os.path.getsize(path) // 3)
        with open("/proc/sys/vm/drop_caches", "w") as drop:
            drop.write("1\n")
        bad = self.read_all()
        self.assertTrue(bad)
        self.assertTrue(self.vol.alive())
        done = self.vol.command("scrub", self.mnt, check=False)
        self.assertEqual(done.returncode, 3, done.stderr)


@need_fold
class CutOff(RotCase):
    """Chunks are believed for a while after they were verified; what the segment has lost since is no death."""

    mkfs_args = ("--chunk-size", "1M")
    mount_opts = "uring=off"

    def test_end_of_a_verified_chunk(self):
        for i in range(6):
            self.good["f%d" % i] = random.Random(i).randbytes(3 * MIB)
            self.write("f%d" % i, self.good["f%d" % i])
        self.vol.remount()
        self.assertEqual(self.read_all(), set())  # verified now
        for path in files_of(self.vol.store, "segments"):
            if os.path.getsize(path) > 4 * MIB:
                # Inside a chunk: its header stays.
                os.truncate(path, os.path.getsize(path) // 2 + 4096 * 7)
        for name in self.good:
            fd = os.open(self.path(name), os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
        self.assertTrue(self.read_all())
        self.assertTrue(self.vol.alive())
        # The same through every way that copies from a segment.
        for name in self.good:
            got = self.errno_of(os.getxattr, self.path(name), "user.foldfs.crc32")
            self.assertIn(got, (0, errno.EIO))
        self.vol.command("gc", "--full", self.mnt, check=False)
        self.vol.command("scrub", self.mnt, check=False)
        for name in self.good:
            self.write("again-" + name, self.good[name])
        self.assertTrue(self.vol.alive())
        self.vol.command("sync", self.mnt)
        self.assertEqual(self.read_all(), set())


@need_fold
class Everywhere(RotCase):
    """One bit in any file of the store. The mount may refuse, reads may fail; nothing wrong is returned."""

    def one(self, backup, path, at):
        shutil.rmtree(self.vol.store)
        shutil.copytree(backup, self.vol.store)
        flip(path, at, 1 << self.rng.randrange(8))
        what = "seed %d: %s byte %d" % (self.seed, os.path.relpath(path, self.vol.store), at)
        done = self.vol.command("fsck", "--data", self.vol.store, check=False)
        self.assertIn(done.returncode, (0, 4, 8), what + done.stderr)
        try:
            self.vol.mount()
        except VolumeError:
            # Refused is fine, silence is not.
            self.assertNotEqual(done.returncode, 0, what + ": fsck found nothing, but the mount is refused")
            return "refused"
        self.assertTrue(self.vol.alive(), what)
        try:
            bad = self.read_all()
            missing = set(self.good) - set(os.listdir(self.mnt))
        except OSError as error:
            self.assertEqual(error.errno, errno.EIO, what)
            bad, missing = {"."}, set()
        if bad or missing:
            self.assertNotEqual(done.returncode, 0, what + ": fsck found nothing, but files cannot be read")
        try:
            self.vol.umount()
        except VolumeError:
            self.vol.kill9()
        return "damaged" if bad or missing else "unharmed"

    def test_flips(self):
        self.fill()
        backup = os.path.join(self.vol.base, "backup")
        shutil.copytree(self.vol.store, backup)
        count = {}
        start = time.monotonic()
        folders = ("segments", "catalog", "journal", "index", ".")
        for round_no in range(400 if LONG else 25):
            if not LONG and time.monotonic() - start > 60:
                break
            folder = folders[round_no % len(folders)]
            if folder == ".":
                paths = [os.path.join(self.vol.store, n) for n in ("volume", "volume.bak", "filter")
                         if os.path.exists(os.path.join(backup, n))]
            else:
                paths = files_of(backup, folder)
                paths = [p.replace(backup, self.vol.store, 1) for p in paths if "LOG" not in os.path.basename(p)]
            if not paths:
                continue
            path = self.rng.choice(paths)
            at = self.rng.randrange(os.path.getsize(path.replace(self.vol.store, backup, 1)))
            verdict = self.one(backup, path, at)
            count[verdict] = count.get(verdict, 0) + 1
        sys.stderr.write("flips: %s (seed %d)\n" % (count, self.seed))
        shutil.rmtree(self.vol.store)
        shutil.copytree(backup, self.vol.store)
        self.vol.mount()
        self.assertEqual(self.read_all(), set())


if __name__ == "__main__":
    unittest.main()
