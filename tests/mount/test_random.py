# SPDX-License-Identifier: MIT
"""The randomised testers: difftest against the host's filesystem, fileops against memory, hammer against itself.

FOLD_SEED and FOLD_OPS choose other sequences; FOLDFS_TEST_LONG=1 runs many.
"""

import os
import random
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold, program
from lib.volume import LONG, draw_knobs

SEED = int(os.environ.get("FOLD_SEED", "0")) or (int(time.time()) if LONG else 20)
OPS = int(os.environ.get("FOLD_OPS", "20000" if LONG else "6000"))
ROUNDS = 20 if LONG else 3


class Random(MountCase):
    rounds = ROUNDS

    def drive(self, *args, action=None):
        """Runs a tester whose hook is served by us; its output is shown where it fails."""
        words = [str(a) for a in args]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        hooks = self.vol.serve_hooks(process, action)
        said = process.stdout.read().decode(errors="replace")
        process.stdout.close()
        self.assertEqual(process.returncode, 0, "%s\n%s" % (" ".join(words), said[-6000:]))
        return hooks

    def difftest(self, *more, seed, name):
        reference = os.path.join(self.vol.base, "reference-" + name)
        os.mkdir(reference)
        os.mkdir(self.path(name))
        hooks = self.drive(program("difftest"), self.path(name), reference, "--seed", seed, "--ops", OPS,
                           "--hook", self.vol.hook(), "--hook-every", 1000, *more)
        self.assertEqual(hooks, OPS // 1000)

    def test_against_the_host(self):
        for i in range(self.rounds):
            self.difftest(seed=SEED + i, name="d%d" % i)

    def test_against_the_host_as_root(self):
        self.difftest("--root-only", seed=SEED + 1000, name="root")

    def test_one_file(self):
        for i in range(self.rounds):
            self.drive(program("fileops"), self.path("file%d" % i), "--seed", SEED + i, "--ops", OPS, "--direct",
                       "--hook", self.vol.hook(), "--hook-every", 1500)

    def test_one_file_no_mmap(self):
        self.drive(program("fileops"), self.path("file"), "--seed", SEED + 500, "--ops", OPS, "--no-mmap",
                   "--max", 8 << 20, "--hook", self.vol.hook())

    def test_append(self):
        self.run_ok(program("hammer"), "append", self.mnt, 2000 if LONG else 400)

    def test_coherence(self):
        self.run_ok(program("hammer"), "coherence", self.mnt, 50000 if LONG else 3000)

    def test_readdir(self):
        self.run_ok(program("hammer"), "readdir", self.mnt, 2000 if LONG else 150)


@need_fold
class SmallLimits(Random):
    """The same two testers on volumes of all kinds, with limits drawn at random: little data crosses each of them."""

    rounds = 20 if LONG else 1
    test_append = test_coherence = test_readdir = test_one_file_no_mmap = test_against_the_host_as_root = None

    def setUp(self):
        rng = random.Random("%d %s" % (SEED, self.id()))
        self.knobs = draw_knobs(rng)
        self.mkfs_args = ("--chunker", rng.choice(("cdc", "cdc", "fixed")), "--chunk-size",
                          rng.choice(("4K", "16K", "128K", "1M")), "--compress", rng.choice(("lz4", "zstd", "none")))
        super().setUp()

    def drive(self, *args, action=None):
        try:
            return super().drive(*args, action=action)
        except AssertionError as error:
            raise AssertionError("mkfs %s, knobs %s\n%s" % (" ".join(self.mkfs_args), self.knobs, error)) from None


if __name__ == "__main__":
    unittest.main()
