# SPDX-License-Identifier: MIT
"""Unmounting and SIGTERM amid long work: they end within seconds, whatever is being done."""

import os
import signal
import subprocess
import time
import unittest

from lib.volume import FOLDFS, Volume

PIECE = 64 << 20
WHOLE = 64 << 30
LIMIT_S = 10


def grow(path):
    """A file of WHOLE bytes that takes PIECE: most work on it is in proportion to the former."""
    with open(path, "w+b") as file:
        file.write(os.urandom(PIECE))
        file.flush()
        size = PIECE
        while size < WHOLE:
            left, at = size, 0
            while left:
                done = os.copy_file_range(file.fileno(), file.fileno(), left, at, size + at)
                left, at = left - done, at + done
            size *= 2


class Leaving(unittest.TestCase):
    """One volume; each test starts some work and ends the mount."""

    def setUp(self):
        self.volume = Volume()
        self.addCleanup(self.volume.close)
        grow(self.volume.path("big"))
        self.volume.command("sync", self.volume.mnt)

    def verb(self, *args):
        """A long request to the daemon."""
        return subprocess.Popen([FOLDFS, *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end(self, how):
        """Ends the mount; the daemon must be gone in time."""
        start = time.monotonic()
        if how == "umount":
            self.volume.command("umount", self.volume.mnt)
        else:
            self.volume.daemon.send_signal(signal.SIGTERM)
        code = self.volume.daemon.wait(timeout=120)
        self.volume.daemon = None
        self.assertEqual(code, 0)
        self.assertLess(time.monotonic() - start, LIMIT_S)

    def ends(self, work, how, after=0.7, endless=True):
        """Ends the mount while `work` runs, which ends as well. What is not endless may be through on a fast machine."""
        self.addCleanup(work.kill)
        time.sleep(after)
        if endless:
            self.assertIsNone(work.poll(), "the work was over before the mount was to end")
        self.end(how)
        work.wait(timeout=10)
        self.volume.mount()

    def test_verbs(self):
        """Requests by the control socket, at full speed and with a rate that makes them endless."""
        mnt = self.volume.mnt
        for args in (("scrub", "--rate", "1M", mnt), ("du", self.volume.path("big")), ("gc", "--full", "--rate", 1, mnt)):
            for how in ("umount", "signal"):
                with self.subTest(args=args[0], how=how):
                    if args[0] == "gc":  # something to copy: every second MiB goes
                        self.volume.command("sync", mnt)
                        with open(self.volume.path("junk"), "wb") as out:
                            out.write(os.urandom(32 << 20))
                        with open(self.volume.path("junk"), "r+b") as out:
                            for i in range(0, 32, 2):
                                out.seek(i << 20)
                                out.write(bytes(1 << 20))
                    self.ends(self.verb(*args), how, 0.1 if args[0] == "du" else 0.7, endless=args[0] != "du")

    def test_a_client_that_stopped(self):
        """Nobody reads what a request tells: it is not waited for."""
        for how in ("umount", "signal"):
            work = self.verb("scrub", "--rate", "1M", self.volume.mnt)
            time.sleep(0.3)
            work.send_signal(signal.SIGSTOP)
            try:
                time.sleep(0.5)
                self.end(how)
            finally:
                work.send_signal(signal.SIGCONT)
            work.wait(timeout=10)
            self.volume.mount()

    def test_requests_of_files(self):
        """A checksum of 64 GiB, and a walk over all recipes; the caller has the mount in use, so only the signal ends it."""
        read = ("import os, sys; os.getxattr(sys.argv[1], 'user.foldfs.crc32')")
        unique = ("import os, sys; os.getxattr(sys.argv[1], 'user.foldfs.unique')")
        for script in (read, unique):
            work = subprocess.Popen(["python3", "-c", script, self.volume.path("big")], stderr=subprocess.DEVNULL)
            self.ends(work, "signal", 0.3, endless=False)


if __name__ == "__main__":
    unittest.main()
