# SPDX-License-Identifier: MIT
"""What nobody syncs is stored within the commit interval, whatever its writer does."""

import json
import os
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold


@need_fold
class Commit(MountCase):
    mount_opts = "commit=1"

    def ingested(self):
        """Bytes handed to the chunker. Asked without a child process, whose exec would close its copy of open files."""
        run = os.open(os.path.join(self.vol.store, "run"), os.O_PATH)
        with socket.socket(socket.AF_UNIX) as control:
            control.connect("/proc/self/fd/%d/control" % run)
            os.close(run)
            control.sendall(b'{"verb": "stats"}\n')
            with control.makefile() as answer:
                return json.loads(answer.readline())["result"]["ingest"]["bytes_in"]

    def test_rewritten_all_the_time(self):
        """A file that is cut off and written again several times a second, and never closed, is stored all the same."""
        fd = os.open(self.path("status"), os.O_RDWR | os.O_CREAT)
        end = time.monotonic() + 30
        turn = 0
        while self.ingested() == 0:
            self.assertLess(time.monotonic(), end, "nothing was stored in half a minute")
            turn += 1
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"turn %d" % turn, 0)
            time.sleep(0.05)
        self.vol.kill9()
        self.assertRaises(OSError, os.close, fd)
        self.vol.mount()
        self.assertRegex(self.read("status"), rb"^turn \d+$")


if __name__ == "__main__":
    unittest.main()
