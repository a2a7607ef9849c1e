# SPDX-License-Identifier: MIT
"""A tree of mixed files copied in twice, compared after a remount; everything rsync can carry, too."""

import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import trees
from lib.case import MountCase, need_fold, need_tool
from lib.volume import LONG

FILES = int(os.environ.get("FOLD_TREE_FILES", "20000" if LONG else "2000"))


class Tree(MountCase):
    def compare(self, source, copy):
        self.run_ok("diff", "-r", "--no-dereference", source, copy)
        said = self.run_ok("rsync", "-aHAXSnc", "--itemize-changes", "--delete", source + "/", copy + "/")
        self.assertEqual(said.strip(), "")

    @need_tool("rsync")
    def test_twice(self):
        source = trees.make(os.path.join(self.vol.base, "source"), FILES)
        self.run_ok("cp", "-a", source, self.path("first"))
        self.vol.remount()
        one = self.stored()
        self.run_ok("cp", "-a", source, self.path("second"))
        self.vol.remount()
        two = self.stored()
        self.compare(source, self.path("first"))
        self.compare(source, self.path("second"))
        if one is not None:
            self.assertLess(two - one, 0.02 * one, "the second copy cost %d of %d bytes" % (two - one, one))

    def stored(self):
        if os.environ.get("FOLD_PLAIN") == "1":
            return None
        return self.vol.stats()["stored_bytes"]

    @need_tool("rsync")
    def test_parallel_copies(self):
        source = trees.make(os.path.join(self.vol.base, "source"), FILES // 4, seed=2)
        workers = [subprocess.Popen(["cp", "-a", source, self.path("copy%d" % i)]) for i in range(4)]
        self.assertEqual([worker.wait() for worker in workers], [0] * 4)
        self.vol.remount()
        for i in range(4):
            self.compare(source, self.path("copy%d" % i))

    @need_tool("rsync")
    def test_everything_rsync_carries(self):
        source = trees.special(os.path.join(self.vol.base, "source"))
        os.mkdir(os.path.join(source, "listed"))
        self.run_ok("setfacl", "-m", "u:1234:rwx,g:100:r-x", os.path.join(source, "listed"))
        self.run_ok("setfacl", "-d", "-m", "u:1234:rwx,o::---", os.path.join(source, "listed"))
        self.run_ok("rsync", "-aHAXS", source + "/", self.path("copy") + "/")
        self.vol.remount()
        said = self.run_ok("rsync", "-aHAXSnc", "--itemize-changes", "--delete", source + "/",
                           self.path("copy") + "/")
        self.assertEqual(said.strip(), "")
        self.assertLess(os.stat(self.path("copy", "sparse")).st_blocks, 1000)
        self.assertEqual(os.stat(self.path("copy", "-dash")).st_nlink, 6)

    @need_fold
    def test_removed_tree_leaves_no_files(self):
        source = trees.make(os.path.join(self.vol.base, "source"), 300, seed=3)
        before = self.vol.stats()
        self.run_ok("cp", "-a", source, self.path("tree"))
        self.run_ok("rm", "-r", self.path("tree"))
        after = self.vol.stats()
        for key in ("files", "directories", "logical_bytes"):
            self.assertEqual(before[key], after[key], key)


if __name__ == "__main__":
    unittest.main()
