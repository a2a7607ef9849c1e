# SPDX-License-Identifier: MIT
"""Power cuts of a real filesystem: the store lies on an ext4 in a loop device, and the image is copied while that ext4
still holds what nobody has synced. The copy is what a machine finds when its power comes back: ext4 replays its own
journal, foldfs is mounted on what is left, and everything acknowledged must be there. Unlike crash_powercut.py this
knows nothing of which calls foldfs makes.

FOLD_LOOP_CUTS sets the cuts of each test (6; 100 with FOLDFS_TEST_LONG=1), FOLD_SEED the seed.

ctest-labels: crash mount
"""

import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from lib.volume import FOLDFS, LONG, PLAIN, Volume, scratch_root

BIN = os.environ.get("FOLD_CRASH_BIN", HERE)
CUTS = int(os.environ.get("FOLD_LOOP_CUTS", "100" if LONG else "6"))
SEED = int(os.environ.get("FOLD_SEED", "0")) or (int(time.time()) % 1000000 if LONG else 1)
IMAGE_BYTES = 1 << 30
WORKERS = 2


def run(*args, timeout=120):
    """Runs a program that must succeed; returns what it printed."""
    done = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout)
    if done.returncode != 0:
        raise AssertionError("%s: exit %d\n%s%s" % (" ".join(map(str, args)), done.returncode, done.stdout, done.stderr))
    return done.stdout


class Host:
    """An ext4 in a file, mounted; it writes back by itself as late as it can."""

    def __init__(self, image, point):
        self.image, self.point = image, point
        os.makedirs(point, exist_ok=True)
        self.loop = run("losetup", "--find", "--show", image).strip()
        try:
            run("mount", "-o", "commit=300", self.loop, point)
        except BaseException:
            run("losetup", "--detach", self.loop)
            raise

    def requests(self):
        """How many reads and writes the device has completed, and how many are under way."""
        with open("/sys/block/%s/stat" % os.path.basename(self.loop)) as file:
            words = file.read().split()
        return words[0], words[4], words[8]

    def copy(self, to):
        """A copy of the image as it is; False if something was written meanwhile."""
        before = self.requests()
        run("cp", "--sparse=always", self.image, to)
        return before[2] == "0" and self.requests() == before

    def close(self):
        subprocess.run(["umount", "-l", self.point], stderr=subprocess.DEVNULL)
        subprocess.run(["losetup", "--detach", self.loop], stderr=subprocess.DEVNULL)


@unittest.skipIf(PLAIN, "needs foldfs")
class LoopCut(unittest.TestCase):
    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="foldfs-loopcut-", dir=scratch_root())
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        image = os.path.join(self.base, "image")
        with open(image, "wb") as out:
            out.truncate(IMAGE_BYTES)
        try:
            run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
            self.host = Host(image, os.path.join(self.base, "host"))
        except AssertionError as error:
            self.skipTest("no loop device here: %s" % error)
        self.addCleanup(self.host.close)

    def start(self, vol, number, seed, pause_us):
        """The workers: (directory, seed, progress file, process) each."""
        workers = []
        for i in range(WORKERS):
            name = "round%d-%d" % (number, i)
            top, progress = os.path.join(vol.mnt, name), os.path.join(self.base, name)
            os.mkdir(top)
            with open(progress, "wb") as out:
                out.write(bytes(16))
            process = subprocess.Popen(
                [os.path.join(BIN, "crashwork"), "run", top, str(seed + i), "100000", progress, "/dev/null", str(i),
                 str(pause_us)], stderr=subprocess.DEVNULL, cwd="/")
            workers.append((name, seed + i, progress, process))
        return workers

    def cut(self, vol, workers, image):
        """Stops everybody, copies the image, lets them go on; the counts of each worker, or None."""
        pids = [w[3].pid for w in workers] + [vol.daemon.pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(0.02)  # what the device has begun ends; whether it did is checked
            counts = []
            for _, _, progress, _ in workers:
                with open(progress, "rb") as file:
                    counts.append(struct.unpack("QQ", file.read(16)))
            return counts if self.host.copy(image) else None
        finally:
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)

    def verify(self, image, workers, counts, how):
        """What is there after the power came back."""
        host = Host(image, os.path.join(self.base, "after"))
        point = os.path.join(self.base, "after-mnt")
        os.makedirs(point, exist_ok=True)
        try:
            store = os.path.join(host.point, "store")
            run(FOLDFS, "fsck", store)
            run(FOLDFS, "mount", store, point)
            try:
                for (name, seed, _, _), (begun, acked) in zip(workers, counts):
                    if begun == 0 and not os.path.isdir(os.path.join(point, name)):
                        continue
                    os.makedirs(os.path.join(point, name), exist_ok=True)  # nothing of it was synced
                    run(os.path.join(BIN, "crashwork"), "check", os.path.join(point, name), seed, begun, acked, 0, how)
            finally:
                run(FOLDFS, "umount", point)
            run(FOLDFS, "fsck", "--data", store)
        finally:
            host.close()
            os.unlink(image)

    def cuts(self, pause_us, how, mkfs_args, mount_opts):
        rng = random.Random("%d %s" % (SEED, self.id()))
        run(FOLDFS, "mkfs", *mkfs_args, os.path.join(self.host.point, "store"))
        vol = Volume(mount=False)
        self.addCleanup(vol.close)
        shutil.rmtree(vol.store, ignore_errors=True)
        vol.store = os.path.join(self.host.point, "store")
        vol.mount(mount_opts)
        done = tried = acked = 0
        while done < CUTS:
            workers = self.start(vol, tried, SEED * 1000003 + tried * WORKERS, pause_us)
            for _ in range(3):
                tried += 1
                time.sleep(rng.choice((0.05, 0.2, 0.5)) * rng.random() * 2)
                image = os.path.join(self.base, "copy")
                counts = self.cut(vol, workers, image)
                if counts is None:
                    self.assertLess(tried, 20 * CUTS + 20, "the device is never at rest")
                    continue
                try:
                    self.verify(image, workers, counts, how)
                except AssertionError as error:
                    self.fail("cut %d, seed %d: %s\n%s" % (tried, SEED, error, vol.log_tail(12)))
                done += 1
                acked += sum(a for _, a in counts)
            for worker in workers:
                worker[3].kill()
                worker[3].wait()
                shutil.rmtree(os.path.join(vol.mnt, worker[0]))
        vol.umount()
        print("power cuts below ext4: %d, %d operations acknowledged, 0 lost (seed %d)" % (done, acked, SEED))

    def test_busy(self):
        self.cuts(0, "power", (), "commit=300")

    def test_background_commits(self):
        self.cuts(3000, "paced", (), "commit=1")

    def test_small_chunks(self):
        self.cuts(0, "power", ("--chunk-size", "4K", "--compress", "zstd"), "commit=300")

    def test_large_fixed_chunks(self):
        self.cuts(0, "power", ("--chunker", "fixed", "--chunk-size", "1M", "--hash", "sha256"), "commit=300")


if __name__ == "__main__":
    unittest.main()
