# SPDX-License-Identifier: MIT
"""Several clients of one file at the same time, each with its own way of access: write-only, read and write, mapped,
asynchronous and direct; and a log that is appended to and followed. Everybody reads what was written last, and what was
synced survives a kill of the daemon.

FOLD_CLIENT_ROUNDS sets the rounds (4; 60 with FOLDFS_TEST_LONG=1), FOLD_SEED the seed.
"""

import os
import random
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold, program
from lib.volume import LONG

ROUNDS = int(os.environ.get("FOLD_CLIENT_ROUNDS", "60" if LONG else "4"))
SEED = int(os.environ.get("FOLD_SEED", "0")) or (int(time.time()) % 1000000 if LONG else 1)


class Clients(MountCase):
    """With the limits as they are."""

    def clients(self, verb, *args, check=True):
        """Runs the program on the file; returns its exit code."""
        done = subprocess.run([program("clients"), verb, self.path("file"), self.progress, *map(str, args)],
                              capture_output=True, text=True, timeout=300)
        if check:
            self.assertEqual(done.returncode, 0, "seed %d:\n%s" % (SEED, done.stderr))
        return done.returncode

    def setUp(self):
        super().setUp()
        self.progress = os.path.join(self.vol.base, "progress")

    def test_together(self):
        """Nothing stale and nothing lost while all live."""
        for number in range(ROUNDS):
            self.clients("run", SEED * 1000 + number, 4000)
            self.clients("check")
            if number % 2 == 1:
                os.unlink(self.path("file.log"))
                os.unlink(self.path("file"))
                os.unlink(self.progress)
            else:
                os.unlink(self.path("file.log"))

    @need_fold
    def test_killed(self):
        """What they synced is there after the daemon was killed."""
        rng = random.Random(SEED)
        for number in range(ROUNDS):
            process = subprocess.Popen([program("clients"), "run", self.path("file"), self.progress,
                                        str(SEED * 1000 + number), "1000000"], stderr=subprocess.PIPE)
            time.sleep(0.2 + rng.random() * 1.5)
            self.assertIsNone(process.poll(), "the clients ended by themselves")
            process.kill()  # stores through the mapping would end it with SIGBUS
            process.wait()
            process.stderr.close()
            self.vol.kill9()
            self.vol.mount()
            self.clients("check")
            for name in ("file", "file.log"):
                os.unlink(self.path(name))
            os.unlink(self.progress)


@need_fold
class TinyLimits(Clients):
    """Every limit of a flush is crossed all the time."""

    knobs = "window_slices=3,window_bytes=3000,stream_bytes=5000,slice_block=4,freeze_flushes=1,arena_min=64"


if __name__ == "__main__":
    unittest.main()
