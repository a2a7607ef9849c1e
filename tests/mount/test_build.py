# SPDX-License-Identifier: MIT
"""This project itself: its tree unpacked from a tar on the mount, configured, built, and the result run.

ctest-labels: mount slow
"""

import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_tool
from lib.volume import ROOT


class Build(MountCase):
    @need_tool("ninja")
    def test_build(self):
        archive = os.path.join(self.vol.base, "source.tar")
        names = [n for n in os.listdir(ROOT) if n not in ("build", ".git") and not n.startswith("foldfs-")]
        self.run_ok("tar", "-cf", archive, "-C", ROOT, *names)
        os.mkdir(self.path("source"))
        self.run_ok("tar", "-xf", archive, "-C", self.path("source"))
        self.run_ok("tar", "-df", archive, "-C", self.path("source"))
        self.run_ok("cmake", "-G", "Ninja", "-S", self.path("source"), "-B", self.path("out"),
                    "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS_DEBUG=-O1", "-DFOLD_TESTS=OFF", "-DFOLD_BENCH=OFF")
        self.run_ok("ninja", "-C", self.path("out"), "foldfs", timeout=900)
        said = self.run_ok(self.path("out", "foldfs"), "--version")
        self.assertIn("foldfs", said)
        self.assertIn("no work to do", self.run_ok("ninja", "-C", self.path("out"), "foldfs"))
        self.vol.remount()
        self.run_ok(self.path("out", "foldfs"), "--version")
        self.assertIn("no work to do", self.run_ok("ninja", "-C", self.path("out"), "foldfs"))

    @need_tool("git")
    def test_build_compilers_temporary_files(self):
        """Many short-lived files at once, as compilers make them."""
        script = ("for i in $(seq 200); do echo \"int f$1_$i(void) { return $i; }\" > a$1_$i.c; "
                  "gcc -c a$1_$i.c -o a$1_$i.o || exit 1; rm a$1_$i.c; done")
        workers = [subprocess.Popen(["sh", "-c", script, "sh", str(i)], cwd=self.mnt,
                                    env=dict(os.environ, TMPDIR=self.mnt)) for i in range(2)]
        self.assertEqual([worker.wait() for worker in workers], [0, 0])
        self.assertEqual(len(os.listdir(self.mnt)), 400)


if __name__ == "__main__":
    unittest.main()
