# SPDX-License-Identifier: MIT
"""Different contents with the same fingerprint, thousands of times: every file reads back as it was written. Runs the program
foldfs_collide, whose fingerprints take a thousand values only."""

import os
import random
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
PLAIN_FOLDFS = os.environ.get("FOLDFS", "")
if os.environ.get("FOLD_TEST_BIN"):
    os.environ["FOLDFS"] = os.path.join(os.environ["FOLD_TEST_BIN"], "foldfs_collide")
from lib.case import MountCase, need_fold


@need_fold
class Collisions(MountCase):
    mkfs_args = ("--chunk-size", "4K")

    def test_all_right(self):
        rng = random.Random(8)
        good = {}
        for i in range(60):
            data = rng.randbytes(rng.randrange(1, 600000))
            good["f%d" % i] = data
            self.write("f%d" % i, data)
            if i % 10 == 9:
                good["copy%d" % i] = good["f%d" % (i - 5)]
                self.write("copy%d" % i, good["copy%d" % i])
        for remounts in range(2):
            for name, data in good.items():
                self.assertEqual(self.read(name), data, name)
            self.vol.command("gc", "--full", self.mnt)
            for name in list(good)[remounts::7]:
                os.unlink(self.path(name))
                del good[name]
            self.vol.remount()
        for name, data in good.items():
            self.assertEqual(self.read(name), data, name)
        self.vol.command("scrub", self.mnt)
        self.vol.umount()
        # The index names one of several namesakes; nothing else may differ from an ordinary store.
        done = self.vol.command("fsck", "--data", self.vol.store, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[:2000])
        # The program under test does what this test says: to another one its fingerprints are wrong.
        if PLAIN_FOLDFS and os.path.basename(PLAIN_FOLDFS) == "foldfs":
            self.assertEqual(subprocess.run([PLAIN_FOLDFS, "scrub", self.vol.store], capture_output=True).returncode, 3)
        self.vol.mount()

    def test_same_length_in_one_write(self):
        """Fixed-size chunks of one length: only the bytes tell them apart."""
        vol = self.vol
        data = random.Random(9).randbytes(8 << 20)
        self.write("a", data)
        vol.command("sync", self.mnt)
        stats = vol.stats()
        self.assertGreater(stats["chunks"], 1024)
        self.assertEqual(self.read("a"), data)
        vol.kill9()
        vol.mount()
        self.assertEqual(self.read("a"), data)


if __name__ == "__main__":
    unittest.main()
