# SPDX-License-Identifier: MIT
"""Power cuts: states a store may be left in are built from a record of everything the daemon did to it, mounted, judged.

The workload runs against a daemon with recorder.so preloaded. For a sample of cut points and every way to lose what was
not synced (dropped, reordered, torn at 512 bytes and 4 KiB, names lost in order or in any order), rebuild makes the
store, it is mounted, and crashwork judges the files by what had been acknowledged at the cut. Every fourth state, and those
cut while a segment is being sealed, are first looked at by fsck and mounted read-only: neither may miss anything, find
anything wrong, or change it. FOLD_CUTS sets the states (96; 3000 with FOLDFS_TEST_LONG=1), FOLD_SEED the seed,
FOLD_CUT_MODE one of the ways only. How the store is made (chunker, size of chunks, fingerprint, compression) is drawn. A state that fails is named so that it can be made again.

ctest-labels: crash mount
"""

import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from lib.case import need_fold
from lib.volume import LONG, Volume, VolumeError

BIN = os.environ.get("FOLD_CRASH_BIN", "")
CUTS = int(os.environ.get("FOLD_CUTS", "3000" if LONG else "96"))
SEED = int(os.environ.get("FOLD_SEED", "0")) or (int(time.time()) % 1000000 if LONG else 1)
KEEP = os.environ.get("FOLD_KEEP_STATE")
OPS = int(os.environ.get("FOLD_CUT_OPS", "1500" if LONG else "250"))
MODES = 7
ONLY = os.environ.get("FOLD_CUT_MODE")
WORKERS = 2
MAGIC, MARK = 0x4c435246, 13  # as in crashlog.h


def program(name):
    return os.path.join(BIN, name) if BIN else os.path.join(HERE, name)


def drawn_options(seed, name):
    """How a store is made: the same for one seed and test, another for others."""
    rng = random.Random("%d %s" % (seed, name))
    return ("--chunk-size", rng.choice(("4K", "8K", "16K", "64K", "128K", "256K", "1M")),
            "--chunker", rng.choice(("cdc", "cdc", "fixed")), "--hash", rng.choice(("xxh3", "xxh3", "sha256")),
            "--compress", rng.choice(("lz4", "zstd", "none")))


def stamp(store):
    """Names and content of everything in the store but the lock and run/."""
    out = []
    for folder, _, names in sorted(os.walk(store)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name != "lock" and os.path.isfile(path):
                with open(path, "rb") as file:
                    out.append((path, hash(file.read())))
    return out


@need_fold
class PowerCut(unittest.TestCase):
    collects = False  # whether half of the states are collected right after their mount

    def setUp(self):
        self.options = drawn_options(SEED, self.id())
        self.vol = Volume(self.options, mount=False)
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
        """Runs the workload with everything recorded; returns the number of records, and what they are.

        With `again`: a clean unmount, a second mount and workload, a kill, and the recovery are recorded as well.
        """
        shutil.copytree(self.vol.store, self.base)
        self.mount_recorded(mount_opts)
        self.work(range(WORKERS), ops, pause_us)
        self.vol.umount()
        self.mark_durable()
        if again:
            self.mount_recorded(mount_opts)
            self.work(range(WORKERS, 2 * WORKERS), ops // 2, pause_us)
            self.vol.kill9()
            self.mount_recorded(mount_opts)
            self.vol.umount()
        return self.records()

    def records(self):
        """The number of records, and what they are."""
        if KEEP:
            shutil.copy(self.log, KEEP + ".log")
            shutil.copytree(self.base, KEEP + ".base", dirs_exist_ok=True)
        said = subprocess.run([program("rebuild"), "info", self.log], capture_output=True, text=True)
        self.assertEqual(said.returncode, 0, "calls that cannot be replayed: " + said.stdout)
        what = "%s, %s" % (said.stdout.strip(), " ".join(self.options))
        return int(re.search(r"records (\d+)", said.stdout).group(1)), what

    def make(self, cut, mode, seed):
        """Makes one state; returns what rebuild says of each worker: number, begun, acknowledged, settled."""
        shutil.rmtree(self.vol.store, ignore_errors=True)
        said = subprocess.run([program("rebuild"), "make", self.log, self.base, str(cut), str(mode), str(seed),
                               self.vol.store], capture_output=True, text=True)
        self.assertEqual(said.returncode, 0, said.stderr)
        if KEEP:
            shutil.rmtree(KEEP, ignore_errors=True)
            shutil.copytree(self.vol.store, KEEP)
        return [words for words in map(str.split, said.stdout.splitlines()) if words[0] != "pending"]

    def collected(self, workers):
        """A whole collection of what was just mounted loses nothing: neither data nor entries of the index."""
        self.vol.command("gc", "--full", self.vol.mnt)
        wrong = self.check_workers(workers)
        self.vol.umount()
        fsck = self.vol.command("fsck", "--json", self.vol.store, check=False)
        if not wrong and fsck.returncode != 0:
            wrong = "fsck: exit %d\n%s" % (fsck.returncode, fsck.stdout[:2000] + fsck.stderr)
        self.vol.mount()
        return wrong and "collected: " + wrong

    def judge(self, cut, mode, seed, also_reading=False):
        """Makes one state, mounts it, checks it; returns what is wrong, or None."""
        workers = self.make(cut, mode, seed)
        try:
            wrong = self.read_only(workers) if also_reading else None
            if wrong:
                return wrong
            self.vol.mount()
            wrong = self.check_workers(workers)
            if not wrong and self.collects and seed % 2:
                wrong = self.collected(workers)
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

    def read_only(self, workers):
        """What fsck and a read-only mount make of the state; neither changes anything."""
        before = stamp(self.vol.store)
        fsck = self.vol.command("fsck", "--json", self.vol.store, check=False)
        if fsck.returncode != 0:
            return "fsck of the state as it is: exit %d\n%s" % (fsck.returncode, fsck.stdout[:2000] + fsck.stderr)
        self.vol.mount("ro")
        wrong = self.check_workers(workers)
        self.vol.umount()
        if wrong:
            return "read-only: " + wrong
        return None if stamp(self.vol.store) == before else "reading changed the store"

    def check_workers(self, workers):
        for words in workers:
            wrong = self.check_worker(*words)
            if wrong:
                return wrong
        return None

    def mark_durable(self):
        """Notes in the log that everything done so far must survive from now on."""
        with open(self.log, "ab") as log:
            log.write(struct.pack("<IIQQQQQIIQ", MAGIC, MARK, 0, 0, 0, 2, time.monotonic_ns(), 0, 0, 0))

    def check_worker(self, worker, begun, acked, late, durable):
        settled = str(max(int(late), int(durable))) if self.kind == "paced" else durable
        check = subprocess.run(
            [program("crashwork"), "check", self.vol.path("w" + worker), str(SEED * 100 + int(worker)), begun,
             acked, settled, self.kind], capture_output=True, text=True, timeout=120)
        if check.returncode:
            return "worker %s, begun %s, acknowledged %s, settled %s:\n%s" % (worker, begun, acked, settled,
                                                                           check.stderr)
        return None

    def cut(self, records, cuts, what):
        rng = random.Random(SEED)
        listed = subprocess.run([program("rebuild"), "list", self.log], capture_output=True, text=True, check=True).stdout
        names = [int(number) for number in re.findall(r"^(\d+) (?:create|rename|unlink|link) ", listed, re.M)]
        seals = [int(number) for number in re.findall(r"^(\d+) truncate ", listed, re.M)]
        losses = []
        began = time.monotonic()
        for number in range(cuts):
            cut = rng.randrange(records // 50, records + 1) if cuts < records else number % records + 1
            if number % 3 == 2:  # just after a change of names, of which there are few
                cut = min(rng.choice(names) + rng.randrange(4), records)
            sealing = number % 6 == 1 and len(seals) > 0
            if sealing:  # in the last steps of a file that is cut to its length
                cut = min(max(rng.choice(seals) + rng.randrange(-3, 4), 1), records)
            mode, seed = int(ONLY or number % MODES), rng.randrange(1 << 30)
            wrong = self.judge(cut, mode, seed, sealing or number % 4 == 1)
            if wrong:
                losses.append("cut %d, mode %d, seed %d: %s" % (cut, mode, seed, wrong))
                print(losses[-1], flush=True)  # a long run is not waited for
                if len(losses) >= 5:
                    break
        print("power cuts, %s: %d tried, %d losses, %.0f s (seed %d)" % (what, number + 1, len(losses),
                                                                       time.monotonic() - began, SEED))
        self.assertEqual(losses, [], "\n".join(losses))

    def test_busy(self):
        """Cuts while two writers work as fast as they can."""
        self.kind = "power"
        records, what = self.record(OPS, 0, "commit=300", again=True)
        self.cut(records, CUTS // 2, what)
        wrong = [self.judge(records * i // 6, MODES, i) for i in range(2, 6)]
        self.assertNotEqual(wrong, [None] * 4, "a disk that does not sync was not noticed")

    def trash(self, turn, stop):
        """Writes and deletes big files between those of the workers, so that segments are full of garbage."""
        rng = random.Random(SEED * 7 + turn)
        left = []
        for i in range(60):
            path = self.vol.path("trash%d-%d" % (turn, i))
            with open(path, "wb") as out:
                out.write(rng.randbytes(rng.randrange(200000)))
                out.flush()
                if i % 8 == 0:
                    os.fsync(out.fileno())
            left.append(path)
            if i % 3:
                os.unlink(left.pop(rng.randrange(len(left))))
            if stop.wait(0.01):
                break

    def collect(self, found):
        """One collection of everything there is."""
        said = json.loads(self.vol.command("gc", "--full", "--json", self.vol.mnt).stdout)
        for key in found:
            found[key] += said["segments_" + key]

    def collect_on(self, stop, found):
        while not stop.is_set():
            self.collect(found)

    def collected_turn(self, turn, found):
        """A mount with writers, garbage and collections at the same time; then one collection at rest."""
        stop = threading.Event()
        self.mount_recorded("commit=300")
        others = [threading.Thread(target=self.collect_on, args=(stop, found)),
                  threading.Thread(target=self.trash, args=(turn, stop))]
        for thread in others:
            thread.start()
        try:
            self.work(range(turn * WORKERS, (turn + 1) * WORKERS), OPS, 2000)
        finally:
            stop.set()
            for thread in others:
                thread.join()
        self.collect(found)

    def test_collected(self):
        """Cuts while everything that was deleted or replaced is collected, again and again: segments are dropped, and
        what lives in others is copied, of this mount and of those before."""
        self.kind = "power"
        self.collects = True
        found = {"removed": 0, "copied": 0}
        shutil.copytree(self.vol.store, self.base)
        for turn in range(3):
            self.collected_turn(turn, found)
            if turn < 2:
                self.vol.umount()
                self.mark_durable()
            else:
                self.vol.kill9()
        self.assertGreater(found["removed"], 0)
        self.assertGreater(found["copied"], 0)
        records, what = self.records()
        self.cut(records, CUTS // 4, what + ", %(removed)d segments removed, %(copied)d copied" % found)

    def test_paced(self):
        """Cuts in a slow workload, where the background commit must have made old changes durable."""
        self.kind = "paced"
        records, what = self.record(240 if not LONG else 2000, 50000 if not LONG else 20000, "commit=1")
        self.cut(records, CUTS // 4, what)


if __name__ == "__main__":
    unittest.main()
