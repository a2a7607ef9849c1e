# SPDX-License-Identifier: MIT
"""The daemon's memory is bounded by its options, not by what goes through it."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold, sanitized
from lib.volume import LONG

MIB = 1 << 20
BOUND = int(os.environ.get("FOLD_RSS_BOUND", str((9000 if sanitized() else 900) * MIB)))


@need_fold
class Memory(MountCase):
    def peak(self):
        with open("/proc/%d/status" % self.vol.daemon.pid) as status:
            fields = dict(line.split(":", 1) for line in status)
        return int(fields["VmHWM"].split()[0]) * 1024, self.vol.rss_bytes()

    def test_large_files(self):
        total = 16384 if LONG else 1024
        block = os.urandom(4 * MIB)
        highest = 0
        for number in range(2):
            with open(self.path("big%d" % number), "wb", buffering=0) as out:
                for i in range(total // 8):
                    out.write(os.urandom(MIB) + block[:3 * MIB] if i % 4 == 0 else block)
                    highest = max(highest, self.vol.rss_bytes())
        for number in range(2):
            with open(self.path("big%d" % number), "rb", buffering=0) as file:
                while file.read(4 * MIB):
                    pass
                highest = max(highest, self.vol.rss_bytes())
        self.assertLess(highest, BOUND)

    def test_many_files(self):
        for i in range(20000):
            with open(self.path("f%d" % i), "wb", buffering=0) as out:
                out.write(b"%d" % i * 50)
        self.run_ok("find", self.mnt, "-size", "+100k")
        self.assertLess(self.vol.rss_bytes(), BOUND)

    def test_many_open_files(self):
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(20000, hard - 100)
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, hard))
        files = []
        try:
            for i in range(count):
                files.append(os.open(self.path("o%d" % i), os.O_CREAT | os.O_RDWR))
                os.write(files[-1], b"x" * 100)
            for i in range(0, count, 97):
                self.assertEqual(os.pread(files[i], 200, 0), b"x" * 100)
        finally:
            for fd in files:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertLess(self.vol.rss_bytes(), BOUND)


if __name__ == "__main__":
    unittest.main()
