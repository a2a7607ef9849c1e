# SPDX-License-Identifier: MIT
"""What the tests of the command line share: running it, and looking at mounts and daemons from outside."""

import fcntl
import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from lib.volume import FOLDFS, scratch_root

# A mount namespace that does not keep other tests' mounts alive.
OWN_MOUNTS = ("unshare", "--mount", "--propagation", "slave")

SANITIZERS = {name: os.environ[name] + ":" if os.environ.get(name) else ""
              for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")}
OK, USAGE, SYSTEM, STORE, BUSY, MOUNT = 0, 1, 2, 3, 4, 32


def foldfs(*args, timeout=120, prefix=(), **kwargs):
    """Runs `foldfs ARGS` to its end. That its pipes close proves that no daemon holds them."""
    return subprocess.run([*prefix, FOLDFS, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors="surrogateescape", timeout=timeout, check=False, **kwargs)


def mounted(point):
    """The store mounted at `point` according to the kernel, or None."""
    found = None
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            left, right = line.rstrip("\n").split(" - ")
            kind, source, _ = right.split(" ", 2)
            unescape = lambda text: re.sub(r"\\(\d{3})", lambda m: chr(int(m.group(1), 8)), text)
            if kind == "fuse.foldfs" and unescape(left.split()[4]) == point:
                found = unescape(source)
    return found


def daemon_of(store):
    """The process that serves `store`: the holder of its lock."""
    path = os.path.join(os.path.realpath(store), "lock")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") == path:
                    return int(pid)
        except OSError:
            continue
    return 0


def in_use(store):
    """Whether `store` is still locked: to the last moment of a daemon's end, when /proc shows its files no more."""
    with open(os.path.join(store, "lock"), "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class CliCase(unittest.TestCase):
    """A directory with a fresh store and an empty mount point."""

    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="foldfs-cli-", dir=scratch_root())
        self.addCleanup(self.clean)
        os.chmod(self.base, 0o755)
        # A detached daemon has no stderr for a sanitizer to write to.
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
            os.environ[name] = SANITIZERS[name] + f"log_path={self.base}/sanitizer"
        self.store = os.path.join(self.base, "store")
        self.mnt = os.path.join(self.base, "mnt")
        os.mkdir(self.mnt)
        self.good("mkfs", self.store)

    def clean(self):
        """Leaves no mount and no daemon behind."""
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            points = [line.split()[4] for line in lines if self.base in line]
        for point in reversed(points):
            point = re.sub(r"\\(\d{3})", lambda m: chr(int(m.group(1), 8)), point)
            subprocess.run(["umount", "-i", "-l", point], stderr=subprocess.DEVNULL, check=False)
        for name in os.listdir(self.base):
            for _ in range(100):
                pid = daemon_of(os.path.join(self.base, name))
                if not pid:
                    break
                time.sleep(0.1)
            else:
                os.kill(pid, signal.SIGKILL)
        said = ""
        for path in glob.glob(self.base + "/sanitizer*"):
            with open(path, encoding="utf-8", errors="replace") as text:
                said += text.read()
        shutil.rmtree(self.base, ignore_errors=True)
        self.assertEqual(said, "")

    def good(self, *args, **kwargs):
        """A command that must succeed without a word on stderr; its output."""
        done = foldfs(*args, **kwargs)
        self.assertEqual((done.returncode, done.stderr), (0, ""), args)
        return done.stdout

    def bad(self, code, text, *args, **kwargs):
        """A command that must fail with one sentence."""
        done = foldfs(*args, **kwargs)
        self.assertEqual(done.returncode, code, (args, done.stdout, done.stderr))
        self.assertIn(text, done.stderr, args)
        self.assertLess(done.stderr.count("\n"), 4, done.stderr)

    def mount(self, *args):
        """Mounts the store in the background."""
        self.good("mount", *args, self.store, self.mnt)

    def wait_mounted(self, daemon, point):
        """Returns when `daemon`, a child of ours, has mounted."""
        end = time.monotonic() + 30
        while mounted(point) is None:
            self.assertIsNone(daemon.poll())
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def path(self, name):
        """A path inside the mount."""
        return os.path.join(self.mnt, name)

    def put(self, name, data=b"content"):
        """Writes a file in the mount."""
        with open(self.path(name), "wb") as out:
            out.write(data)
