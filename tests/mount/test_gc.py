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
        for i in range(2000):  # a third of small pieces: too little for any but a full collection
            self.write("f%d" % i, random.Random(i).randbytes(4096))
        for i in range(0, 2000, 3):
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

    def returned(self, before, seconds):
        """Waits until the host has more than half of it back."""
        end = time.monotonic() + seconds
        while host_bytes(self.vol.store) > before / 2:
            self.assertLess(time.monotonic(), end, "nothing was collected")
            time.sleep(1)

    def test_by_itself_when_much_is_garbage(self):
        """While somebody goes on writing."""
        keep = self.fill(3)
        sums = {"g%d" % i: None for i in range(150)}
        for name in sums:
            with open(self.path(name), "wb", buffering=0) as out:
                out.write(os.urandom(2 * MIB))
        self.vol.command("sync", self.mnt)
        self.vol.remount()  # seals what is open
        before = host_bytes(self.vol.store)
        for name in sums:
            os.unlink(self.path(name))
        stop = threading.Event()

        def write():
            i = 0
            while not stop.wait(0.2):
                self.write("w%d" % (i % 5), b"%d" % i * 1000)
                i += 1
        writer = threading.Thread(target=write)
        writer.start()
        try:
            self.returned(before, 120)
        finally:
            stop.set()
            writer.join()
        self.check(keep)

    def test_by_itself_when_idle(self):
        """What an earlier mount left, too."""
        keep = self.fill(3)
        with open(self.path("g"), "wb", buffering=0) as out:
            out.write(os.urandom(40 * MIB))
        self.vol.remount()
        before = host_bytes(self.vol.store)
        os.unlink(self.path("g"))
        self.vol.remount()
        self.returned(before, 180)
        self.check(keep)

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

    def clone(self, source, target, size):
        """Shares the chunks of a part of a file by copying its recipe."""
        with open(self.path(source), "rb", buffering=0) as src, open(self.path(target), "wb", buffering=0) as dst:
            done = 0
            while done < size:
                done += os.copy_file_range(src.fileno(), dst.fileno(), size - done, done, done)

    def one_change(self, r, seed, pool, have, held):
        """Writes, copies, clones, overwrites, deletes or compares one file."""
        name = "c%d-%d" % (seed, r.randrange(25))
        source = r.choice(sorted(have)) if have else name
        what = r.random()
        if what < 0.3:
            data = r.choice(pool)
            if r.random() < 0.3:
                data = r.randbytes(r.randrange(50000)) + data
            self.write(name, data)
            have[name] = data
        elif what < 0.4 and source != name:
            subprocess.run(["cp", "--reflink=never", self.path(source), self.path(name)], check=True)
            have[name] = have[source]
        elif what < 0.55 and source != name:
            size = r.randrange(1, len(have[source]) + 1)
            self.clone(source, name, size)
            have[name] = have[source][:size]
        elif what < 0.62 and name in have:
            off, piece = r.randrange(len(have[name])), r.randbytes(r.randrange(1, 20000))
            with open(self.path(name), "r+b", buffering=0) as file:
                os.pwrite(file.fileno(), piece, off)
            have[name] = have[name][:off] + piece + have[name][off + len(piece):]
        elif what < 0.75 and name in have:
            if r.random() < 0.3 and len(held) < 5:  # goes on being read after it has no name
                held.append((os.open(self.path(name), os.O_RDONLY), have[name]))
            os.unlink(self.path(name))
            del have[name]
        elif what < 0.82 and held:
            fd, data = held.pop(r.randrange(len(held)))
            got = b"".join(iter(lambda: os.read(fd, MIB), b""))
            os.close(fd)
            if got != data:
                raise AssertionError("a file without a name has wrong content")
        elif source in have and self.read(source) != have[source]:
            raise AssertionError("%s has wrong content" % source)

    def churn(self, stop, errors, seed):
        """Changes files made from a pool of contents, and compares what it reads with what it wrote."""
        r = random.Random(seed)
        pool = [content(1000 + i, r.choice((30000, 300000, MIB))) for i in range(12)]
        have, held = {}, []
        try:
            while not stop.is_set():
                self.one_change(r, seed, pool, have, held)
            for name, data in have.items():
                if self.read(name) != data:
                    raise AssertionError("%s has wrong content at the end" % name)
        except BaseException as error:  # to be raised in the main thread
            errors.append(error)
        finally:
            for fd, _ in held:
                os.close(fd)

    def test_beside_writers(self):
        stop, errors = threading.Event(), []
        sums = self.fill(40, 300000)
        self.vol.remount()
        threads = [threading.Thread(target=self.churn, args=(stop, errors, seed)) for seed in range(3)]
        for t in threads:
            t.start()
        end = time.monotonic() + (600 if LONG else 12)
        cycles = punched = copied = 0
        while (time.monotonic() < end or cycles < 6) and not errors:
            if sums:  # a hole in a sealed segment that stays
                os.unlink(self.path(sums.popitem()[0]))
            result = json.loads(self.gc("--json", *(("--full",) if cycles % 5 == 4 else ())).stdout)
            self.check(sums)
            self.assertLessEqual(result["segments_removed"], result["segments_seen"])
            punched += result["segments_punched"]
            copied += result["segments_copied"]
            cycles += 1
        stop.set()
        for t in threads:
            t.join()
        if errors:
            raise errors[0]
        self.assertGreater(punched, 0)
        self.assertGreater(copied, 0)

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
