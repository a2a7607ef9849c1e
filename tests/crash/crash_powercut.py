# SPDX-License-Identifier: MIT
"""Power cuts: states a store may be left in are built from a record of everything the daemon did to it, mounted, judged.

The workload runs against a daemon with recorder.so preloaded. For a sample of cut points and every way to lose what was
not synced (dropped, reordered, torn at 512 bytes and 4 KiB, names lost), rebuild makes the store, it is mounted,
and crashwork judges the files by what had been acknowledged at the cut. FOLD_CUTS sets the states (72; 3000 with
FOLDFS_TEST_LONG=1), FOLD_SEED the seed. A state that fails is named so that it can be made again.

ctest-labels: crash mount
"""

import os
import random
import re
import shutil
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from lib.case import need_fold
from lib.volume import LONG, Volume, VolumeError

BIN = os.environ.get("FOLD_CRASH_BIN", "")
CUTS = int(os.environ.get("FOLD_CUTS", "3000" if LONG else "72"))
SEED = int(os.environ.get("FOLD_SEED", "0")) or (int(time.time()) % 1000000 if LONG else 1)
KEEP = os.environ.get("FOLD_KEEP_STATE")
OPS = int(os.environ.get("FOLD_CUT_OPS", "1500" if LONG else "250"))
MODES = 6
WORKERS = 2


def program(name):
    return os.path.join(BIN, name) if BIN else os.path.join(HERE, name)


@need_fold
class PowerCut(unittest.TestCase):
    def setUp(self):
        self.vol = Volume(mount=False)
        self.addCleanup(self.vol.close)
        self.log = os.path.join(self.vol.base, "calls")
        self.base = os.path.join(self.vol.base, "before")

    def mount_recorded(self, mount_opts):
        plain = dict(self.vol.env)
        self.vol.env.update(FOLD_RECORD_ROOT=self.vol.store, FOLD_RECORD_LOG=self.log,
                            LD_PRELOAD=program("recorder.so"))
        self.vol.env["ASAN_OPTIONS"] = "verify_asan_link_order=0:" + self.vol.env.get("ASAN_OPTIONS", "")
        try:
            self.vol.mount(mount_opts)
        finally:
            self.vol.env = plain

    def work(self, numbers, ops, pause_us):
        """One workload per number, at the same time, in a directory of its own."""
        workers = []
        for i in numbers:
            top = self.vol.path("w%d" % i)
            os.mkdir(top)
            fd = os.open(top, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            workers.append(subprocess.Popen(
                [program("crashwork"), "run", top, str(SEED * 100 + i), str(ops),
                 os.path.join(self.vol.base, "progress%d" % i), self.log, str(i), str(pause_us)]))
        self.assertEqual([worker.wait() for worker in workers], [0] * len(workers))

    def record(self, ops, pause_us, mount_opts="", again=False):
        """Runs the workload with everything recorded; returns the number of records.

        With `again`: a clean unmount, a second mount and workload, a kill, and the recovery are recorded as well.
        """
        shutil.copytree(self.vol.store, self.base)
        self.mount_recorded(mount_opts)
        self.work(range(WORKERS), ops, pause_us)
        self.vol.umount()
        if again:
            self.mount_recorded(mount_opts)
            self.work(range(WORKERS, 2 * WORKERS), ops // 2, pause_us)
            self.vol.kill9()
            self.mount_recorded(mount_opts)
            self.vol.umount()
        if KEEP:
            shutil.copy(self.log, KEEP + ".log")
            shutil.copytree(self.base, KEEP + ".base", dirs_exist_ok=True)
        said = subprocess.run([program("rebuild"), "info", self.log], capture_output=True, text=True)
        self.assertEqual(said.returncode, 0, "calls that cannot be replayed: " + said.stdout)
        return int(re.search(r"records (\d+)", said.stdout).group(1)), said.stdout.strip()

    def judge(self, cut, mode, seed):
        """Makes one state, mounts it, checks it; returns what is wrong, or None."""
        shutil.rmtree(self.vol.store, ignore_errors=True)
        said = subprocess.run([program("rebuild"), "make", self.log, self.base, str(cut), str(mode), str(seed),
                               self.vol.store], capture_output=True, text=True)
        self.assertEqual(said.returncode, 0, said.stderr)
        if KEEP:
            shutil.rmtree(KEEP, ignore_errors=True)
            shutil.copytree(self.vol.store, KEEP)
        try:
            self.vol.mount()
            for line in said.stdout.splitlines():
                words = line.split()
                if words[0] != "pending":
                    wrong = self.check_worker(*words)
                    if wrong:
                        return wrong
            with open(self.vol.path("new"), "wb") as out:
                out.write(b"usable" * 10000)
            self.vol.umount()
        except (VolumeError, OSError) as error:
            return str(error)
        finally:
            self.vol.kill9()
        return None

    def check_worker(self, worker, begun, acked, settled):
        check = subprocess.run(
            [program("crashwork"), "check", self.vol.path("w" + worker), str(SEED * 100 + int(worker)), begun,
             acked, settled, self.kind], capture_output=True, text=True, timeout=120)
        if check.returncode:
            return "worker %s, begun %s, acknowledged %s, settled %s:\n%s" % (worker, begun, acked, settled,
                                                                           check.stderr)
        return None

    def cut(self, records, cuts, what):
        rng = random.Random(SEED)
        losses = []
        began = time.monotonic()
        for number in range(cuts):
            cut = rng.randrange(records // 50, records + 1) if cuts < records else number % records + 1
            mode, seed = number % MODES, rng.randrange(1 << 30)
            wrong = self.judge(cut, mode, seed)
            if wrong:
                losses.append("cut %d, mode %d, seed %d: %s" % (cut, mode, seed, wrong))
                if len(losses) >= 5:
                    break
        print("power cuts, %s: %d tried, %d losses, %.0f s (seed %d)" % (what, number + 1, len(losses),
                                                                       time.monotonic() - began, SEED))
        self.assertEqual(losses, [], "\n".join(losses))

    def test_busy(self):
        """Cuts while two writers work as fast as they can."""
        self.kind = "power"
        records, what = self.record(OPS, 0, "commit=300", again=True)
        self.cut(records, CUTS * 2 // 3, what)
        wrong = [self.judge(records * i // 6, MODES, i) for i in range(2, 6)]
        self.assertNotEqual(wrong, [None] * 4, "a disk that does not sync was not noticed")

    def test_paced(self):
        """Cuts in a slow workload, where the background commit must have made old changes durable."""
        self.kind = "paced"
        records, what = self.record(240 if not LONG else 2000, 50000 if not LONG else 20000, "commit=1")
        self.cut(records, CUTS // 3, what)


if __name__ == "__main__":
    unittest.main()
