# SPDX-License-Identifier: MIT
"""flock and POSIX locks between processes; a waiting lock must not hold up anything else."""

import fcntl
import os
import struct
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase

OFD_SETLK, OFD_SETLKW = 37, 38


class Locks(MountCase):
    def fork(self, work):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = work() or 0
            finally:
                os._exit(code)
        return pid

    def test_flock_excludes(self):
        path = self.write("f", b"")
        with open(path) as mine:
            fcntl.flock(mine, fcntl.LOCK_EX)

            def work():
                with open(path) as theirs:
                    return 0 if self.errno_of(fcntl.flock, theirs, fcntl.LOCK_EX | fcntl.LOCK_NB) else 1

            self.assertEqual(os.waitpid(self.fork(work), 0)[1], 0)

    def test_ranges_exclude(self):
        path = self.write("f", b"x" * 100)
        with open(path, "r+b") as mine:
            fcntl.lockf(mine, fcntl.LOCK_EX, 10, 50)

            def work():
                with open(path, "r+b") as theirs:
                    fcntl.lockf(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)
                    return 0 if self.errno_of(fcntl.lockf, theirs, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 55) else 1

            self.assertEqual(os.waitpid(self.fork(work), 0)[1], 0)

    def test_open_file_locks(self):
        path = self.write("f", b"x" * 100)
        lock = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 10, 0)
        with open(path, "r+b") as one, open(path, "r+b") as two:
            fcntl.fcntl(one, OFD_SETLK, lock)
            self.assertNotEqual(self.errno_of(fcntl.fcntl, two, OFD_SETLK, lock), 0)

    def blocked(self, take, count=20):
        """`count` processes wait for a lock; meanwhile files can be used; then all get it in turn."""
        path = self.write("f", b"x")
        with open(path, "r+b") as mine:
            take(mine)

            def work():
                os.close(mine.fileno())  # an flock belongs to the open file, which a fork shares
                with open(path, "r+b") as theirs:
                    take(theirs)
                    return 0

            waiting = [self.fork(work) for _ in range(count)]
            time.sleep(0.2)
            began = time.monotonic()
            for i in range(50):
                self.write("other%d" % i, b"y" * 1000)
                self.assertEqual(self.read("other%d" % i), b"y" * 1000)
            self.assertLess(time.monotonic() - began, 10)
            for pid in waiting:
                self.assertEqual(os.waitpid(pid, os.WNOHANG), (0, 0))
        for pid in waiting:
            self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_waiting_flock(self):
        self.blocked(lambda file: fcntl.flock(file, fcntl.LOCK_EX))

    def test_waiting_range(self):
        self.blocked(lambda file: fcntl.lockf(file, fcntl.LOCK_EX))

    def test_lock_ends_with_its_process(self):
        path = self.write("f", b"")
        ready, tell = os.pipe()

        def work():
            with open(path, "r+b") as theirs:
                fcntl.lockf(theirs, fcntl.LOCK_EX)
                os.write(tell, b"x")
                time.sleep(60)

        pid = self.fork(work)
        os.read(ready, 1)
        with open(path, "r+b") as mine:
            self.assertNotEqual(self.errno_of(fcntl.lockf, mine, fcntl.LOCK_EX | fcntl.LOCK_NB), 0)
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(ready)
        os.close(tell)


if __name__ == "__main__":
    unittest.main()
