# SPDX-License-Identifier: MIT
"""kill -9 of the daemon at random moments: what was acknowledged (close, fsync, rename, unlink) is there afterwards.

FOLD_KILL_ROUNDS sets the rounds (20; 300 with FOLDFS_TEST_LONG=1), FOLD_SEED the seed.

ctest-labels: crash mount
"""

import os
import random
import struct
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from lib.case import MountCase, need_fold
from lib.volume import LONG

BIN = os.environ.get("FOLD_CRASH_BIN", "")
ROUNDS = int(os.environ.get("FOLD_KILL_ROUNDS", "300" if LONG else "20"))
SEED = int(os.environ.get("FOLD_SEED", "0")) or (int(time.time()) % 1000000 if LONG else 1)
WORKERS = 3


def program(name):
    return os.path.join(BIN, name) if BIN else os.path.join(HERE, name)


def drawn_options(seed):
    """How the store is made."""
    rng = random.Random(seed)
    return ("--chunk-size", rng.choice(("4K", "8K", "16K", "64K", "128K", "256K", "1M")),
            "--chunker", rng.choice(("cdc", "cdc", "fixed")))


@need_fold
class Kill9(MountCase):
    mkfs_args = drawn_options(SEED)

    def start(self, number, seed, pause):
        """One round's workers: (directory, seed, progress file, process) each."""
        workers = []
        for i in range(WORKERS):
            top = self.path("round%d-%d" % (number, i))
            os.mkdir(top)
            progress = os.path.join(self.vol.base, "progress%d" % i)
            with open(progress, "wb") as out:
                out.write(bytes(16))
            process = subprocess.Popen([program("crashwork"), "run", top, str(seed + i), "100000", progress],
                                       stderr=subprocess.PIPE, cwd="/")
            workers.append((top, seed + i, progress, process))
        return workers

    def stop(self, workers, number):
        """Waits for the workers, which end by themselves on a dead mount; returns what each had done."""
        done = []
        for top, seed, progress, process in workers:
            said = process.communicate(timeout=60)[1].decode()
            self.assertEqual(process.returncode, 0, "round %d: %s" % (number, said))
            with open(progress, "rb") as file:
                begun, acked = struct.unpack("QQ", file.read(16))
            done.append((top, seed, begun, acked))
        return done

    def check(self, done, number):
        for top, seed, begun, acked in done:
            result = subprocess.run([program("crashwork"), "check", top, str(seed), str(begun), str(acked), "0",
                                     "kill"], capture_output=True, text=True, timeout=120)
            self.assertEqual(result.returncode, 0, "round %d, %s, seed %d, begun %d, acknowledged %d:\n%s\n%s" % (
                number, top, seed, begun, acked, result.stderr, self.vol.log_tail(12)))

    def test_rounds(self):
        rng = random.Random(SEED)
        older, total = [], 0
        for number in range(ROUNDS):
            workers = self.start(number, SEED * 1000003 + number * WORKERS, 0)
            time.sleep(rng.choice((0.02, 0.1, 0.3, 0.6)) * rng.random() * 2)
            if number % 5 == 4:  # at rest, with background work only
                for worker in workers:
                    worker[3].kill()
            self.vol.kill9()
            if number % 5 == 4:
                for worker in workers:
                    worker[3].wait()
                    worker[3].stderr.close()
                done = []
                for top, seed, progress, _ in workers:
                    with open(progress, "rb") as file:
                        done.append((top, seed) + struct.unpack("QQ", file.read(16)))
            else:
                done = self.stop(workers, number)
            if number % 7 == 3:  # killed again while it recovers
                self.interrupted_mount(rng)
            self.vol.mount()
            self.check(done, number)
            total += sum(acked for _, _, _, acked in done)
            for past in older:
                self.check(past, number)
            older.append(done)
            if len(older) > 3:
                for top, *_ in older.pop(0):
                    self.run_ok("rm", "-r", top)
        print("kill -9: %d rounds, %d operations acknowledged, 0 lost (seed %d)" % (ROUNDS, total, SEED))

    def interrupted_mount(self, rng):
        from lib.volume import FOLDFS
        process = subprocess.Popen([FOLDFS, "mount", "-f", self.vol.store, self.vol.mnt], cwd="/",
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.random() * 0.08)
        process.kill()
        process.wait()
        while subprocess.run(["umount", "-l", self.vol.mnt], stderr=subprocess.DEVNULL).returncode == 0:
            pass

    def test_unlinked_while_open(self):
        """Space of files that were open without a name comes back, and nothing else is touched."""
        keep = self.write("keep", b"k" * 100000)
        files = []
        for i in range(50):
            files.append(open(self.path("orphan%d" % i), "w+b", buffering=0))
            files[-1].write(os.urandom(50000))
            os.fsync(files[-1].fileno())
            os.unlink(files[-1].name)
        self.vol.kill9()
        for file in files:
            try:
                file.close()
            except OSError:
                pass
        self.vol.mount()
        self.assertEqual(os.listdir(self.mnt), ["keep"])
        with open(keep, "rb") as file:
            self.assertEqual(file.read(), b"k" * 100000)
        deadline = time.monotonic() + 15
        while self.vol.stats()["logical_bytes"] > 200000 and time.monotonic() < deadline:
            time.sleep(0.2)
        self.assertLessEqual(self.vol.stats()["logical_bytes"], 200000)

    def test_daemon_death_is_an_error_not_a_hang(self):
        file = open(self.path("f"), "wb", buffering=0)
        file.write(b"x" * 5000000)
        self.vol.kill9()
        self.assertNotEqual(self.errno_of(file.write, b"y"), 0)
        self.assertNotEqual(self.errno_of(os.fsync, file.fileno()), 0)
        try:
            file.close()
        except OSError:
            pass
        self.vol.mount()


if __name__ == "__main__":
    unittest.main()
