# SPDX-License-Identifier: MIT
"""Programs people run: SQLite with several writers, git, fio with verification."""

import os
import sqlite3
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_tool
from lib.volume import LONG, ROOT

WRITER = r"""
import sqlite3, sys
path, me, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
db = sqlite3.connect(path, timeout=120, isolation_level=None)
for i in range(count):
    db.execute("begin immediate")
    db.execute("insert into t values (?, ?, ?)", (me, i, "x" * (i * 37 % 900)))
    db.execute("update totals set n = n + 1 where me = ?", (me,))
    if i % 7 == 3:
        db.execute("delete from t where me = ? and i = ?", (me, i - 2))
    db.execute("commit")
db.close()
"""


class Apps(MountCase):
    def sqlite(self, mode, count):
        path = self.path("db-" + mode)
        db = sqlite3.connect(path, isolation_level=None)
        self.assertEqual(db.execute("pragma journal_mode=" + mode).fetchone()[0], mode)
        db.execute("create table t (me, i, text)")
        db.execute("create index ti on t (text, i)")
        db.execute("create table totals (me integer primary key, n)")
        for me in range(4):
            db.execute("insert into totals values (?, 0)", (me,))
        db.close()
        workers = [subprocess.Popen([sys.executable, "-c", WRITER, path, str(me), str(count)]) for me in range(4)]
        self.assertEqual([worker.wait() for worker in workers], [0] * 4)
        self.vol.remount()
        db = sqlite3.connect(path)
        self.assertEqual(db.execute("pragma integrity_check").fetchone()[0], "ok")
        self.assertEqual([n for (n,) in db.execute("select n from totals order by me")], [count] * 4)
        gone = len([i for i in range(count) if i % 7 == 3])
        self.assertEqual(db.execute("select count(*) from t").fetchone()[0], 4 * (count - gone))
        db.close()

    def test_sqlite_wal(self):
        self.sqlite("wal", 1000 if LONG else 150)

    def test_sqlite_rollback(self):
        self.sqlite("delete", 400 if LONG else 50)

    @need_tool("git")
    def test_git(self):
        env = dict(os.environ, HOME=self.vol.base, GIT_CONFIG_NOSYSTEM="1", GIT_TERMINAL_PROMPT="0")
        with open(os.path.join(self.vol.base, ".gitconfig"), "w") as out:
            out.write("[safe]\n\tdirectory = *\n[user]\n\tname = t\n\temail = t@example.com\n")
        source = self.path("source")
        if os.path.isdir(os.path.join(ROOT, ".git")):
            self.run_ok("git", "clone", "-q", "--no-local", ROOT, source, env=env)
        else:
            self.run_ok("git", "init", "-q", source, env=env)
            self.write("source/file", b"text\n" * 1000)
            self.run_ok("git", "-C", source, "add", "-A", env=env)
            self.run_ok("git", "-C", source, "commit", "-qm", "one", env=env)
        clone = self.path("clone")
        self.run_ok("git", "clone", "-q", "--no-hardlinks", source, clone, env=env)
        for i in range(5):
            self.write("clone/new%d" % i, os.urandom(10000))
            self.run_ok("git", "-C", clone, "add", "-A", env=env)
            self.run_ok("git", "-C", clone, "commit", "-qm", "change %d" % i, env=env)
        self.run_ok("git", "-C", clone, "gc", "-q", "--aggressive", "--prune=now", env=env)
        self.run_ok("git", "-C", clone, "fsck", "--full", "--strict", env=env)
        self.vol.remount()
        self.run_ok("git", "-C", clone, "fsck", "--full", "--strict", env=env)
        self.assertEqual(self.run_ok("git", "-C", clone, "status", "--porcelain", env=env), "")

    def fio(self, mode, block, direct, jobs, size):
        name = "%s-%s-%d-%d" % (mode, block, direct, jobs)
        self.run_ok("fio", "--name=" + name, "--directory=" + self.mnt, "--rw=" + mode, "--bs=" + block,
                    "--direct=%d" % direct, "--numjobs=%d" % jobs, "--size=" + size, "--ioengine=psync",
                    "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--thread", "--group_reporting",
                    "--fallocate=none", "--dedupe_percentage=30", "--dedupe_mode=working_set",
                    "--buffer_compress_percentage=40", "--verify_state_save=0", "--randseed=%d" % (jobs + direct),
                    cwd=self.vol.base)

    @need_tool("fio")
    def test_fio(self):
        blocks = ("4k", "13k", "64k", "1m") if LONG else ("4k", "64k", "1m")
        for mode in ("write", "randwrite", "randrw", "readwrite"):
            for block in blocks:
                for direct in (0, 1):
                    if direct and block == "13k":
                        continue
                    for jobs in (1, 4):
                        with self.subTest(mode=mode, block=block, direct=direct, jobs=jobs):
                            size = 256 if LONG else {"4k": 3, "64k": 12, "1m": 24}.get(block, 6)
                            self.fio(mode, block, direct, jobs, "%dm" % (size // (jobs if LONG else 1)))
                for name in os.listdir(self.mnt):
                    os.unlink(self.path(name))


if __name__ == "__main__":
    unittest.main()
