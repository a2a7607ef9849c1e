# SPDX-License-Identifier: MIT
"""The tree tests again with 20,000 files.

ctest-labels: mount slow
"""

import os
import sys
import unittest

os.environ.setdefault("FOLD_TREE_FILES", "20000")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_tree


class FullTree(test_tree.Tree):
    pass


def load_tests(loader, tests, pattern):
    """Only the copy itself: the rest is in test_tree."""
    suite = unittest.TestSuite()
    suite.addTest(FullTree("test_twice"))
    return suite


if __name__ == "__main__":
    unittest.main()
