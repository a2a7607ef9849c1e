# SPDX-License-Identifier: MIT
"""One directory with very many entries: no step may become slow as it grows."""

import os
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase
from lib.volume import LONG, PLAIN

COUNT = 1000000 if LONG else 100000
STEP = COUNT // 10


class BigDirectory(MountCase):
    def cpu(self):
        """Seconds of processor time the daemon has used: other programs on the machine do not change it."""
        if PLAIN:
            return time.monotonic()
        with open("/proc/%d/stat" % self.vol.daemon.pid) as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def measured(self, what, work):
        """Does `work` for all entries; the daemon's cost per entry must stay where it was in the beginning."""
        marks = [self.cpu()]
        for start in range(0, COUNT, STEP):
            for i in range(start, start + STEP):
                work(i)
            marks.append(self.cpu())
        cost = [(after - before) / STEP * 1e6 for before, after in zip(marks, marks[1:])]
        self.said.append("%s: %s" % (what, " ".join("%.0f" % c for c in cost)))
        self.assertLess(cost[-1], 3 * cost[0] + 100, "%s became slow (us per entry): %s" % (what, self.said[-1]))

    def coming_and_going(self, stop):
        """Entries that a listing may or may not show."""
        i = 0
        while not stop.is_set():
            name = self.path("big", "guest-%d" % i)
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_EXCL))
            os.rename(name, name + "-moved")
            os.unlink(name + "-moved")
            i += 1

    def list_while_changing(self):
        stop = threading.Event()
        guests = threading.Thread(target=self.coming_and_going, args=(stop,))
        guests.start()
        try:
            with os.scandir(self.path("big")) as entries:
                names = [entry.name for entry in entries if not entry.name.startswith("guest")]
        finally:
            stop.set()
            guests.join()
        self.assertEqual(len(names), COUNT)
        self.assertEqual(len(set(names)), COUNT)

    def test_many_entries(self):
        self.said = []
        os.mkdir(self.path("big"))
        top = self.path("big") + "/entry-%07d"
        self.measured("create", lambda i: os.close(os.open(top % i, os.O_CREAT | os.O_WRONLY | os.O_EXCL)))
        self.list_while_changing()
        self.vol.remount()
        self.measured("lookup", lambda i: os.stat(top % i))
        before = self.cpu()
        names = os.listdir(self.path("big"))
        self.said.append("list: %.1f" % ((self.cpu() - before) / COUNT * 1e6))
        self.assertEqual(len(names), COUNT)
        self.assertEqual(len(set(names)), COUNT)
        with os.scandir(self.path("big")) as entries:
            self.assertEqual(sum(entry.stat(follow_symlinks=False).st_size for entry in entries), 0)
        self.list_while_changing()
        self.measured("unlink", lambda i: os.unlink(top % i))
        os.rmdir(self.path("big"))
        print("us of the daemon per entry, by tenths:", "; ".join(self.said), file=sys.stderr)

    def test_rm_of_many(self):
        os.makedirs(self.path("tree", "big"))
        top = self.path("tree", "big") + "/%d"
        for i in range(COUNT):
            os.close(os.open(top % i, os.O_CREAT | os.O_WRONLY | os.O_EXCL))
        self.vol.remount()
        before = self.cpu()
        subprocess.run(["rm", "-rf", self.path("tree")], check=True)
        cost = (self.cpu() - before) / COUNT * 1e6
        print("us of the daemon per entry of rm -rf: %.0f" % cost, file=sys.stderr)
        self.assertEqual(os.listdir(self.mnt), [])
        self.vol.remount()
        self.assertEqual(os.listdir(self.mnt), [])

    def test_deep(self):
        path = self.mnt
        for i in range(400):
            path += "/d%d" % i
            os.mkdir(path)
        with open(path + "/leaf", "w") as out:
            out.write("deep")
        self.vol.remount()
        with open(path + "/leaf") as file:
            self.assertEqual(file.read(), "deep")
        self.run_ok("rm", "-r", self.path("d0"))


if __name__ == "__main__":
    unittest.main()
