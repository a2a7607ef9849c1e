# SPDX-License-Identifier: MIT
"""Space comes back: deleted data leaves the host, what is kept stays right, also beside writers and after kill -9."""

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold
from lib.volume import FOLDFS, LONG

MIB = 1 << 20


def host_bytes(store):
    """What the store occupies on the host."""
    total = 0
    for folder, _, names in os.walk(store):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


def content(seed, size):
    """Bytes that no other seed has, half of them compressible."""
    r = random.Random(seed)
    return r.randbytes(size // 2) + (b"line %d of the text\n" % seed) * (size // 40)


@need_fold
class Collect(MountCase):
    def gc(self, *args, timeout=300):
        return self.vol.command("gc", *args, self.mnt, timeout=timeout)

    def fill(self, count, size=2 * MIB):
        sums = {}
        for i in range(count):
            data = content(i, size)
            self.write("f%d" % i, data)
            sums["f%d" % i] = hashlib.md5(data).hexdigest()
        self.vol.command("sync", self.mnt)
        return sums

    def check(self, sums):
        for name, digest in sums.items():
            self.assertEqual(hashlib.md5(self.read(name)).hexdigest(), digest, name)

    def test_all_deleted(self):
        sums = self.fill(300)
        before = host_bytes(self.vol.store)
        for name in sums:
            os.unlink(self.path(name))
        self.gc("--full")
        self.assertLess(host_bytes(self.vol.store), before / 100)
        self.check({})
        self.fill(3)

    def test_half_deleted(self):
        sums = self.fill(300)
        before = host_bytes(self.vol.store)
        names = sorted(sums)
        random.Random(7).shuffle(names)
        for name in names[:150]:
            os.unlink(self.path(name))
            del sums[name]
        self.gc("--full")
        self.assertLess(host_bytes(self.vol.store), before * 0.60)
        self.check(sums)
        self.vol.remount()
        self.check(sums)
        stored = self.vol.stats()["stored_bytes"]
        for name in list(sums)[:40]:  # what is kept is still found by its fingerprint
            self.write("again" + name, self.read(name))
        self.assertLess(self.vol.stats()["stored_bytes"] - stored, 2 * MIB)

    def test_punched(self):
        """A third of the data, in runs: it goes without a segment being copied, and the volume stays sound."""
        sums = self.fill(150, 500000)
        self.vol.remount()
        before = host_bytes(self.vol.store)
        shown = self.vol.stats()["segment_bytes"]
        for name in list(sums)[::3]:
            os.unlink(self.path(name))
            del sums[name]
        result = json.loads(self.gc("--json").stdout)
        self.assertEqual(result["segments_copied"], 0)
        self.assertGreater(result["punched_bytes"], before / 5)
        self.assertLess(host_bytes(self.vol.store), before * 0.8)
        self.assertEqual(shown - self.vol.stats()["segment_bytes"], result["punched_bytes"] + result["freed_bytes"])
        self.check(sums)
        report = json.loads(self.vol.command("scrub", "--json", self.mnt).stdout)
        self.assertEqual(report["damaged"], [])
        for i in range(0, 150, 3):  # what is gone is stored anew, what is there is found
            data = content(i, 500000)
            self.write("f%d" % i, data)
            sums["f%d" % i] = hashlib.md5(data).hexdigest()
        self.check(sums)
        self.vol.umount()
        said = self.vol.command("fsck", "--data", self.vol.store, check=False)
        self.assertEqual(said.returncode, 0, said.stdout + said.stderr)
        self.vol.mount()
        self.check(sums)

    def test_requests_given_up(self):
        """Those who asked for a collection while one runs, and did not wait, are in nobody's way."""
        self.fill(40)
        for i in range(0, 40, 2):
            os.unlink(self.path("f%d" % i))
        self.vol.remount()
        slow = subprocess.Popen([FOLDFS, "gc", "--full", "--rate", "1", self.mnt], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(12):
                waiting = subprocess.Popen([FOLDFS, "gc", self.mnt], stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)
                time.sleep(0.1)
                waiting.kill()
                waiting.wait()
            self.assertIsNone(slow.poll())
            self.vol.command("stats", self.mnt, timeout=60)
            self.assertIsNone(slow.poll())
        finally:
            slow.kill()
            slow.wait()

    def test_nothing_to_do(self):
        sums = self.fill(20)
        self.gc("--full")
        self.gc()
        self.check(sums)
        self.assertEqual(self.vol.stats()["garbage_bytes"], 0)

    def test_unmounted_store(self):
        sums = self.fill(100)
        for name in list(sums)[::2]:
            os.unlink(self.path(name))
            del sums[name]
        self.vol.umount()
        before = host_bytes(self.vol.store)
        self.vol.command("gc", "--full", self.vol.store)
        self.assertLess(host_bytes(self.vol.store), before * 0.60)
        self.vol.mount()
        self.check(sums)

    def test_open_but_unlinked(self):
        data = content(1, 8 * MIB)
        path = self.write("gone", data)
        with open(path, "rb") as file:
            os.unlink(path)
            self.fill(20)
            self.gc("--full")
            self.assertEqual(file.read(), data)
        self.gc("--full")

    def churn(self, stop, errors, seed):
        """Writes, copies, overwrites and deletes files from a pool of contents, reading back what it wrote."""
        r = random.Random(seed)
        pool = [content(1000 + i, r.choice((30000, 300000, MIB))) for i in range(12)]
        have = {}
        try:
            while not stop.is_set():
                name = "c%d-%d" % (seed, r.randrange(25))
                what = r.random()
                if what < 0.45:
                    data = r.choice(pool)
                    if r.random() < 0.3:
                        data = r.randbytes(r.randrange(50000)) + data
                    self.write(name, data)
                    have[name] = data
                elif what < 0.6 and have:
                    source = r.choice(sorted(have))
                    if source != name:
                        subprocess.run(["cp", "--reflink=never", self.path(source), self.path(name)], check=True)
                        have[name] = have[source]
                elif what < 0.8 and name in have:
                    os.unlink(self.path(name))
                    del have[name]
                elif have:
                    name = r.choice(sorted(have))
                    if self.read(name) != have[name]:
                        raise AssertionError("%s has wrong content" % name)
            for name, data in have.items():
                if self.read(name) != data:
                    raise AssertionError("%s has wrong content at the end" % name)
        except BaseException as error:  # to be raised in the main thread
            errors.append(error)

    def test_beside_writers(self):
        stop, errors = threading.Event(), []
        threads = [threading.Thread(target=self.churn, args=(stop, errors, seed)) for seed in range(3)]
        for t in threads:
            t.start()
        end = time.monotonic() + (600 if LONG else 12)
        cycles = 0
        while time.monotonic() < end and not errors:
            self.gc(*(("--full",) if cycles % 2 else ()))
            cycles += 1
        stop.set()
        for t in threads:
            t.join()
        if errors:
            raise errors[0]
        self.assertGreater(cycles, 3)

    def test_killed_while_collecting(self):
        for round_no in range(20 if LONG else 4):
            sums = {}
            for i in range(60):
                data = content(10000 * round_no + i, MIB)
                self.write("k%d" % i, data)
                sums["k%d" % i] = hashlib.md5(data).hexdigest()
            self.vol.command("sync", self.mnt)
            for i in range(0, 60, 2):
                os.unlink(self.path("k%d" % i))
                del sums["k%d" % i]
            self.vol.command("sync", self.mnt)
            collector = threading.Thread(target=lambda: self.vol.command("gc", "--full", self.mnt, check=False))
            collector.start()
            time.sleep(random.Random(round_no).random() * 0.25)
            self.vol.kill9()
            collector.join()
            self.vol.mount()
            self.check(sums)
            self.gc("--full")
            self.check(sums)


if __name__ == "__main__":
    unittest.main()
