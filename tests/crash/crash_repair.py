# SPDX-License-Identifier: MIT
"""Repairs that are killed: fsck --repair and --rebuild-index die at random moments, again and again; the next one finishes.

The damage is real: the manifest of the catalog flipped or cut, a table file of it gone, the index thrown away, segments
without their headers. FOLD_KILL_ROUNDS sets the kills for each kind of damage (8; 60 with FOLDFS_TEST_LONG=1), FOLD_SEED
the seed. mkfs is killed as well.

ctest-labels: crash mount
"""

import glob
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from lib.case import need_fold
from lib.volume import FOLDFS, LONG, Volume

ROUNDS = int(os.environ.get("FOLD_KILL_ROUNDS", "60" if LONG else "8"))
SEED = int(os.environ.get("FOLD_SEED", "0")) or (int(time.time()) % 1000000 if LONG else 1)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def flip(path, at):
    """Turns the bits of one byte over."""
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0xff]))


@need_fold
class Repair(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A store of some thousand files and chunks, to be copied for each test."""
        cls.made = Volume(("--chunk-size", "4K"))
        rng = random.Random(SEED)
        cls.files = {}
        for i in range(1500):
            folder = "d%d" % (i % 40)
            os.makedirs(cls.made.path(folder), exist_ok=True)
            data = rng.randbytes(rng.randrange(40000))
            with open(cls.made.path(folder, "f%d" % i), "wb") as out:
                out.write(data)
            cls.files["%s/f%d" % (folder, i)] = hashlib.sha256(data).hexdigest()
            if i == 750:  # several segments, and several table files unless the database merges them
                cls.made.remount()
        cls.made.umount()

    @classmethod
    def tearDownClass(cls):
        cls.made.close()

    def setUp(self):
        self.vol = Volume(mount=False)
        self.addCleanup(self.vol.close)
        self.rng = random.Random(SEED)

    def fresh(self):
        shutil.rmtree(self.vol.store)
        shutil.copytree(self.made.store, self.vol.store)

    def inside(self, *parts):
        """The one file of the store that matches."""
        found = sorted(glob.glob(os.path.join(self.vol.store, *parts)))
        self.assertTrue(found, parts)
        return found[0]

    def fsck(self, *args):
        done = self.vol.command("fsck", "--json", *args, self.vol.store, check=False)
        self.assertIn(done.returncode, (0, 1, 4), done.stderr)
        return done.returncode, json.loads(done.stdout)

    def kill_repairs(self, *args):
        """Begins the repair many times; each dies sooner or later."""
        begin = time.monotonic()
        copy = self.vol.store + ".whole"
        shutil.copytree(self.vol.store, copy)
        self.vol.command("fsck", *args, copy, check=False)
        whole = time.monotonic() - begin
        shutil.rmtree(copy)
        killed = 0
        for _ in range(ROUNDS):
            process = subprocess.Popen([FOLDFS, "fsck", *args, self.vol.store], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, cwd="/")
            try:
                process.wait(timeout=whole * self.rng.random())
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
        return killed

    def finish(self, *args):
        """The repair that is left alone leaves nothing to repair."""
        code, report = self.fsck(*args)
        self.assertLessEqual(code, 1, report["problems"][:10])
        code, report = self.fsck("--data")
        self.assertEqual(code, 0, report["problems"][:10])

    def expect_all(self):
        self.vol.mount()
        for name, sha in self.files.items():
            self.assertEqual(digest(self.vol.path(name)), sha, name)
        self.vol.umount()

    def expect_some(self, least):
        """What is there has the right bytes, wherever its name is now."""
        known, seen = set(self.files.values()), 0
        self.vol.mount()
        for folder, _, names in os.walk(self.vol.mnt):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.getsize(path):
                    self.assertIn(digest(path), known, path)
                    seen += 1
        self.vol.umount()
        self.assertGreaterEqual(seen, least)

    def test_index(self):
        self.fresh()
        killed = self.kill_repairs("--rebuild-index")
        self.finish("--rebuild-index")
        self.expect_all()
        self.fresh()
        self.kill_repairs("--rebuild-index")  # mounting finishes it as well
        self.expect_all()
        self.assertEqual(self.fsck()[0], 0)
        self.assertGreater(killed, 0)

    def test_manifest(self):
        for harm in (lambda path: flip(path, os.path.getsize(path) // 2), lambda path: os.truncate(path, 20),
                     lambda path: os.truncate(path, 0), lambda path: flip(path, 9), os.unlink):
            self.fresh()
            harm(self.inside("catalog", "MANIFEST-*"))
            self.assertEqual(self.fsck()[0], 4)
            self.kill_repairs("--repair")
            self.finish("--repair")
            self.expect_all()

    def test_table(self):
        """Part of the catalog is gone; what is left hangs together afterwards."""
        tables = sorted(glob.glob(os.path.join(self.made.store, "catalog", "*.sst")))
        self.assertGreater(len(tables), 0)
        for table in tables:
            self.fresh()
            os.unlink(self.inside("catalog", os.path.basename(table)))
            self.assertEqual(self.fsck()[0], 4)
            self.kill_repairs("--repair")
            self.finish("--repair")
            self.expect_some(0)

    def test_headers(self):
        self.fresh()
        for path in glob.glob(os.path.join(self.vol.store, "segments", "*.seg")):
            flip(path, 12)
        self.kill_repairs("--repair", "--rebuild-index")
        self.finish("--repair")
        self.expect_all()

    def test_mkfs(self):
        """A killed mkfs is repeated, not cleaned up after by hand."""
        store = os.path.join(self.vol.base, "new")
        repeated = 0
        for _ in range(ROUNDS * 4):
            process = subprocess.Popen([FOLDFS, "mkfs", store], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, cwd="/")
            time.sleep(self.rng.random() * 0.06)
            process.kill()
            process.wait()
            left = set(os.listdir(store)) if os.path.exists(store) else set()
            done = self.vol.command("mkfs", store, check=False)
            if left & {"volume", "volume.bak"}:
                self.assertEqual(done.returncode, 3, done.stderr)
            else:
                self.assertEqual(done.returncode, 0, done.stderr)
                repeated += bool(left)
            self.assertEqual(self.vol.command("fsck", store, check=False).returncode, 0)
            shutil.rmtree(store)
        print("mkfs: %d killed half-way and repeated" % repeated)


if __name__ == "__main__":
    unittest.main()
