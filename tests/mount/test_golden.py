# SPDX-License-Identifier: MIT
"""Stores of the past, kept in tests/golden: they open, show what they held, can be changed and collected, and stay sound."""

import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import golden
from lib.volume import PLAIN, Volume

# Of what is made anew or changed with what happens around it, not by itself.
FREE = ("ctime", "mtime", "nlink", "order")


@unittest.skipIf(PLAIN, "needs foldfs")
class Golden(unittest.TestCase):
    maxDiff = 4000

    def sound(self, vol):
        """fsck finds nothing wrong, and every chunk there."""
        done = vol.command("fsck", "--data", vol.store, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def same(self, vol, want, without=()):
        """The tree is what the manifest says."""
        got = golden.describe(vol.mnt)
        self.assertEqual(sorted(got), sorted(want))
        for path, what in want.items():
            left, right = ({k: v for k, v in d.items() if k not in without} for d in (got[path], what))
            self.assertEqual(left, right, path)

    def change(self, vol, want):
        """Old content comes again, files are changed, grow and go; what is left over is the new manifest."""
        want = dict(want)
        with open(vol.mnt + "/kept-1", "rb") as file:
            kept = file.read()
        stored = vol.stats()["stored_bytes"]
        with open(vol.mnt + "/again", "wb") as out:
            out.write(kept)
        vol.command("sync", vol.mnt)
        self.assertLess(vol.stats()["stored_bytes"] - stored, 16384, "what is stored is not found again")
        with open(vol.mnt + "/overwritten", "r+b") as out:
            out.seek(5000)
            out.write(b"written by a later program" * 100)
        os.unlink(vol.mnt + "/kept-2")
        del want["kept-2"]
        shutil.rmtree(vol.mnt + "/deep/deeper")
        for path in [p for p in want if p.startswith("deep/deeper")]:
            del want[path]
        for name in sorted(os.listdir(vol.mnt + "/names"))[::2]:
            os.unlink(os.path.join(vol.mnt, "names", name))
            del want["names/" + name]
        for i in range(50):
            with open(vol.mnt + "/names/new%d" % i, "w") as out:
                out.write("new")
        now = golden.describe(vol.mnt)
        for path in ["again", "overwritten"] + ["names/new%d" % i for i in range(50)]:
            want[path] = now[path]
        self.assertEqual(now["again"]["sha256"], want["kept-1"]["sha256"])
        return want

    def check(self, name):
        want = golden.manifest(name)
        with Volume(mount=False, made=False) as vol:
            golden.unpack(name, vol.store)
            self.sound(vol)
            vol.mount("ro")
            self.same(vol, want)
            vol.umount()
            vol.mount("noatime")
            self.same(vol, want)
            want = self.change(vol, want)
            vol.command("gc", "--full", vol.mnt)
            self.same(vol, want, FREE)
            vol.umount()
            self.sound(vol)
            vol.mount()
            self.same(vol, want, FREE)
            vol.umount()
            self.assertEqual(vol.complaints(), [])

    def test_stores(self):
        self.assertGreaterEqual(len(golden.names()), 14)
        for name in golden.names():
            with self.subTest(name):
                self.check(name)


if __name__ == "__main__":
    unittest.main()
