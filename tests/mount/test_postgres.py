# SPDX-License-Identifier: MIT
"""PostgreSQL with its data directory on the mount: initdb with checksums, pgbench, a crash of the server, checks.

ctest-labels: mount slow
"""

import glob
import os
import pwd
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase
from lib.volume import LONG

BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))


@unittest.skipUnless(BIN, "postgresql is not installed")
class Postgres(MountCase):
    def setUp(self):
        super().setUp()
        self.user = pwd.getpwnam("postgres")
        self.data = self.path("data")
        self.log = os.path.join(self.vol.base, "postgres.log")
        os.mkdir(self.data, 0o700)
        for path in (self.data, self.vol.base):
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        # Cleanups run last in, first out: the server is gone before the volume is.
        self.addCleanup(self.pg, "pg_ctl", "-D", self.data, "-m", "immediate", "stop", check=False)

    def pg(self, name, *args, check=True):
        env = {"PATH": BIN[-1] + ":/usr/bin:/bin", "PGHOST": self.vol.base, "LC_ALL": "C"}
        done = subprocess.run([os.path.join(BIN[-1], name), *args], user=self.user.pw_uid, group=self.user.pw_gid,
                              extra_groups=[], cwd="/", env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=500)
        if check and done.returncode:
            with open(self.log, errors="replace") as file:
                self.fail("%s: %s%s\n%s" % (name, done.stdout[-2000:], done.stderr[-2000:], file.read()[-3000:]))
        return done.stdout

    def start(self):
        self.pg("pg_ctl", "-D", self.data, "-w", "-t", "120", "-l", self.log, "-o",
                "-c listen_addresses='' -c unix_socket_directories=%s -c shared_buffers=32MB" % self.vol.base,
                "start")

    def query(self, text):
        return self.pg("psql", "-X", "-At", "-d", "postgres", "-c", text).strip()

    def test_bench(self):
        self.pg("initdb", "-D", self.data, "--data-checksums", "-A", "trust", "-U", "postgres")
        self.start()
        self.pg("pgbench", "-i", "-q", "-s", "10" if LONG else "3", "postgres")
        self.pg("pgbench", "-c", "4", "-j", "2", "-T", "120" if LONG else "15", "-n", "postgres")
        before = self.query("select count(*), sum(delta) from pgbench_history")
        self.pg("pg_ctl", "-D", self.data, "-m", "immediate", "stop")  # as a crash of the server
        self.start()
        self.assertEqual(self.query("select count(*), sum(delta) from pgbench_history"), before)
        self.query("vacuum full pgbench_accounts")
        self.pg("pg_ctl", "-D", self.data, "-m", "fast", "stop")
        self.vol.remount()
        self.pg("pg_checksums", "-D", self.data, "--check")
        self.start()
        self.assertEqual(self.query("select count(*), sum(delta) from pgbench_history"), before)
        total = self.query("select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from "
                           "pgbench_history)")
        self.assertEqual(total, "t")
        self.pg("pg_ctl", "-D", self.data, "-m", "fast", "stop")

    def test_crash_of_the_daemon(self):
        """Committed transactions survive a kill -9 of foldfs in the middle of the load."""
        self.pg("initdb", "-D", self.data, "--data-checksums", "-A", "trust", "-U", "postgres")
        self.start()
        self.pg("pgbench", "-i", "-q", "-s", "1", "postgres")
        env = {"PATH": BIN[-1] + ":/usr/bin:/bin", "PGHOST": self.vol.base, "LC_ALL": "C"}
        load = subprocess.Popen([os.path.join(BIN[-1], "pgbench"), "-c", "4", "-T", "60", "-n", "postgres"],
                                user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[], cwd="/", env=env,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(4)
        before = int(self.query("select count(*) from pgbench_history"))
        with open(os.path.join(self.data, "postmaster.pid")) as file:
            server = int(file.readline())
        self.vol.kill9()
        os.kill(server, 3)
        load.wait()
        for _ in range(100):
            if not os.path.exists("/proc/%d" % server):
                break
            time.sleep(0.1)
        self.vol.mount()
        if os.path.exists(os.path.join(self.data, "postmaster.pid")):
            os.unlink(os.path.join(self.data, "postmaster.pid"))
        self.start()
        self.assertGreaterEqual(int(self.query("select count(*) from pgbench_history")), before)
        total = self.query("select coalesce((select sum(abalance) from pgbench_accounts), 0) = coalesce((select "
                           "sum(delta) from pgbench_history), 0)")
        self.assertEqual(total, "t")
        self.pg("pg_ctl", "-D", self.data, "-m", "fast", "stop")
        self.pg("pg_checksums", "-D", self.data, "--check")


if __name__ == "__main__":
    unittest.main()
