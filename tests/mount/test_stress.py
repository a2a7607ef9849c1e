# SPDX-License-Identifier: MIT
"""Many processes on the same few names; afterwards the volume is sound and reads the same after a remount."""

import os
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, program
from lib.volume import LONG, PLAIN


class Stress(MountCase):
    def snapshot(self):
        """Everything there is: names, attributes, contents; link counts agree with the names found."""
        found, links = {}, {}
        for top, dirs, files in os.walk(self.mnt):
            for name in dirs + files:
                path = os.path.join(top, name)
                st = os.lstat(path)
                entry = [st.st_ino, st.st_mode, st.st_nlink, st.st_size, st.st_mtime_ns, st.st_ctime_ns]
                if stat.S_ISREG(st.st_mode):
                    entry.append(self.sha(path))
                    links.setdefault(st.st_ino, [0, st.st_nlink])[0] += 1
                elif stat.S_ISLNK(st.st_mode):
                    links.setdefault(st.st_ino, [0, st.st_nlink])[0] += 1
                else:
                    subdirs = sum(entry.is_dir(follow_symlinks=False) for entry in os.scandir(path))
                    self.assertEqual(st.st_nlink, 2 + subdirs, path)
                found[path] = entry
        for ino, (names, nlink) in links.items():
            self.assertEqual(names, nlink, "inode %d" % ino)
        return found

    def rounds(self, count, rounds):
        for _ in range(count):
            self.run_ok(program("hammer"), "stress", self.mnt, rounds)
            before = self.snapshot()
            if PLAIN:
                continue
            self.vol.umount()
            said = self.vol.command("fsck", self.vol.store, check=False)
            self.assertEqual(said.returncode, 0, said.stdout + said.stderr)
            self.vol.mount()
            self.assertEqual(self.snapshot(), before)

    def test_stress(self):
        self.rounds(20 if LONG else 3, 1500)

    @unittest.skipIf(PLAIN, "needs foldfs")
    def test_stress_and_kill(self):
        """The daemon is killed under the stress; the volume is sound without any repair."""
        for i in range(10 if LONG else 3):
            process = subprocess.Popen([program("hammer"), "stress", self.mnt, "100000"], cwd="/",
                                       stderr=subprocess.DEVNULL)
            try:
                process.wait(timeout=1 + i % 3)
                self.fail("the stress ended by itself")
            except subprocess.TimeoutExpired:
                self.vol.kill9()
            process.wait(timeout=60)
            self.vol.mount()
            before = self.snapshot()
            self.vol.umount()
            said = self.vol.command("fsck", self.vol.store, check=False)
            self.assertEqual(said.returncode, 0, said.stdout + said.stderr)
            self.vol.mount()
            self.assertEqual(self.snapshot(), before)


if __name__ == "__main__":
    unittest.main()
