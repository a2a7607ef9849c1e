# SPDX-License-Identifier: MIT
"""fsck on real stores: clean after mounted work of all kinds and after kill -9, exit codes, report, lost+found, privacy."""

import json
import os
import random
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import trees
from lib.case import MountCase, need_fold


class FsckCase(MountCase):
    def fsck(self, *args, expect=0, store=None):
        """Runs fsck with --json; the report."""
        done = self.vol.command("fsck", "--json", *args, store or self.vol.store, check=False)
        self.assertEqual(done.returncode, expect, done.stdout[:3000] + done.stderr[:1000])
        return json.loads(done.stdout)

    def clean(self):
        """Unmounted, the store has nothing to complain about."""
        self.vol.umount()
        report = self.fsck("--data")
        self.assertEqual([p for p in report["problems"] if p["severity"] != "note"], [])
        return report


@need_fold
class Clean(FsckCase):
    def test_tree(self):
        trees.make(self.path("t"), 300, seed=5)
        self.run_ok("cp", "-a", self.path("t"), self.path("u"))
        self.run_ok("rm", "-r", self.path("t"))
        for i in range(40):
            os.symlink("target%d" % i, self.path("l%d" % i))
        report = self.clean()
        self.assertGreater(report["checked"]["inodes"], 300)
        self.assertGreater(report["checked"]["bytes_verified"], 0)
        self.vol.mount()

    def test_overwrites(self):
        rng = random.Random(11)
        names = ["f%d" % i for i in range(12)]
        for step in range(400):
            path = self.path(rng.choice(names))
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                kind = rng.random()
                if kind < 0.6:
                    os.pwrite(fd, rng.randbytes(rng.randrange(1, 200000)), rng.randrange(3 << 20))
                elif kind < 0.75:
                    os.ftruncate(fd, rng.randrange(4 << 20))
                elif kind < 0.85:
                    os.posix_fallocate(fd, rng.randrange(1 << 20), rng.randrange(1, 1 << 20))
                elif kind < 0.95:
                    os.rename(path, self.path(rng.choice(names)))
                else:
                    os.unlink(path)
            finally:
                os.close(fd)
            if step % 100 == 50:
                self.vol.command("gc", self.mnt)
        self.clean()
        self.vol.mount()

    def test_open_and_deleted(self):
        self.write("gone", os.urandom(300000))
        file = open(self.path("gone"), "rb")
        os.unlink(self.path("gone"))
        self.vol.command("sync", self.mnt)
        self.vol.kill9()
        try:
            file.close()
        except OSError:
            pass
        report = self.fsck()
        self.assertIn("orphan.waiting", [p["code"] for p in report["problems"]])
        self.vol.mount()
        self.clean()
        self.vol.mount()

    def test_kill9(self):
        """The state a killed daemon leaves needs no repair, and a check changes nothing in it."""
        rng = random.Random(3)
        for _ in range(4):
            child = subprocess.Popen([sys.executable, "-c", WRITER, self.mnt, str(rng.randrange(1 << 30))],
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            child.stdout.read(1)  # it stands in the mount: it will end with it
            time.sleep(0.3 + rng.random() * 0.7)
            self.vol.kill9()
            child.wait()
            child.stdout.close()
            before = stamp(self.vol.store)
            report = self.fsck("--data")
            self.assertEqual([p for p in report["problems"] if p["severity"] != "note"], [])
            self.assertEqual(stamp(self.vol.store), before)
            self.vol.mount()
        self.clean()
        self.vol.mount()


WRITER = """
import os, random, sys
os.chdir(sys.argv[1])
os.write(1, b"!")
rng = random.Random(int(sys.argv[2]))
while True:
    name = "k%d" % rng.randrange(60)
    kind = rng.random()
    try:
        if kind < 0.6:
            fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
            os.pwrite(fd, rng.randbytes(rng.randrange(1, 400000)), rng.randrange(1 << 20))
            if kind < 0.1:
                os.fsync(fd)
            os.close(fd)
        elif kind < 0.7:
            os.truncate(name, rng.randrange(1 << 20))
        elif kind < 0.8:
            os.rename(name, "k%d" % rng.randrange(60))
        elif kind < 0.9:
            os.makedirs("d%d/e" % rng.randrange(20), exist_ok=True)
        else:
            os.unlink(name)
    except FileNotFoundError:
        pass
"""


def stamp(store):
    """Names, sizes and content of everything in the store."""
    out = []
    for folder, _, names in sorted(os.walk(store)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    out.append((path, hash(file.read())))
    return out


@need_fold
class Verdicts(FsckCase):
    def test_exit_codes(self):
        self.write("a", os.urandom(100000))
        self.vol.command("sync", self.mnt)
        self.assertEqual(self.vol.command("fsck", self.mnt, check=False).returncode, 8)
        self.assertEqual(self.vol.command("fsck", self.vol.store, check=False).returncode, 8)
        self.assertEqual(self.vol.command("fsck", "--nonsense", self.vol.store, check=False).returncode, 16)
        self.assertEqual(self.vol.command("fsck", check=False).returncode, 16)
        self.assertEqual(self.vol.command("fsck", "/nonexistent", check=False).returncode, 8)
        self.vol.umount()
        self.fsck(expect=0)
        with open(os.path.join(self.vol.store, "volume"), "r+b") as file:
            file.write(b"oops")
        report = self.fsck(expect=4)
        self.assertEqual(report["problems"][0]["code"], "superblock.copy")
        self.assertFalse(report["problems"][0]["repaired"])
        report = self.fsck("--repair", expect=1)
        self.assertTrue(report["problems"][0]["repaired"])
        self.fsck(expect=0)
        for copy in ("volume", "volume.bak"):
            with open(os.path.join(self.vol.store, copy), "r+b") as file:
                file.write(b"oops")
        self.assertEqual(self.vol.command("fsck", self.vol.store, check=False).returncode, 8)
        with open(os.path.join(self.vol.store, "volume"), "r+b") as file:
            file.write(b"FOLD")
        self.fsck("--repair", expect=1)
        self.vol.mount()

    def test_rebuild_index(self):
        data = os.urandom(3 << 20)
        self.write("a", data)
        self.vol.umount()
        for name in os.listdir(os.path.join(self.vol.store, "index")):
            path = os.path.join(self.vol.store, "index", name)
            with open(path, "r+b") as file:
                file.write(b"\xff" * 16)
        self.fsck(expect=4)
        self.vol.command("fsck", "--rebuild-index", self.vol.store)
        self.fsck(expect=0)
        self.vol.mount()
        self.write("b", data)
        self.vol.command("sync", self.mnt)
        stats = self.vol.stats()
        self.assertGreater(stats["ingest"]["duplicate_bytes"], 2 << 20)


@need_fold
class Privacy(FsckCase):
    def test_store_is_private(self):
        self.write("secret", b"nobody else's business" * 1000)
        self.vol.command("sync", self.mnt)
        store = self.vol.store
        self.assertEqual(os.stat(store).st_mode & 0o777, 0o700)
        sock = os.path.join(store, "run", "control")
        self.assertEqual(os.stat(sock).st_mode & 0o777, 0o600)

        def other_user():
            for call in (lambda: os.listdir(store), lambda: os.listdir(os.path.join(store, "segments")),
                         lambda: open(os.path.join(store, "segments", "00000001.seg"), "rb")):
                try:
                    call()
                except PermissionError:
                    continue
                raise AssertionError("another user can look into the store")
            client = socket.socket(socket.AF_UNIX)
            try:
                client.connect(sock)
            except PermissionError:
                return
            raise AssertionError("another user can connect to the control socket")

        self.in_child(other_user, uid=1234, gid=1234)

    def test_peer_is_checked(self):
        """A socket that another user can reach, because somebody opened the way, still turns him away."""
        store = self.vol.store
        for path, mode in ((store, 0o711), (os.path.join(store, "run"), 0o711),
                           (os.path.join(store, "run", "control"), 0o666)):
            os.chmod(path, mode)

        def other_user():
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(10)
            client.connect(os.path.join(store, "run", "control"))
            try:
                client.sendall(b'{"verb": "stats", "args": {}}\n')
                answer = client.recv(65536)
            except (BrokenPipeError, ConnectionResetError):
                return
            if b'"ok": true' in answer or b'"ok":true' in answer:
                raise AssertionError("another user was served: %r" % answer[:200])

        self.in_child(other_user, uid=1234, gid=1234)
        self.assertTrue(self.vol.stats()["mounted"])

    def test_mode_of_files_holds(self):
        path = self.write("private", b"x" * 5000)
        os.chmod(path, 0o600)

        def other_user():
            try:
                open(path, "rb")
            except PermissionError:
                return
            raise AssertionError("another user can read a file of mode 0600")

        self.in_child(other_user, uid=1234, gid=1234)


if __name__ == "__main__":
    unittest.main()
