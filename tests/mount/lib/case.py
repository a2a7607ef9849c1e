# SPDX-License-Identifier: MIT
"""The base class of mounted tests: a fresh volume per test, checked for a clean end and by fsck."""

import hashlib
import os
import subprocess
import sys
import unittest

from lib.volume import LONG, PLAIN, Volume

BIN = os.environ.get("FOLD_TEST_BIN", "")


class MountCase(unittest.TestCase):
    """self.vol is mounted at self.mnt before each test; override `mkfs_args` and `mount_opts` as needed."""

    mkfs_args = ()
    mount_opts = ""
    knobs = ""  # smaller limits: "name=value,..." (meta/base/knob.def)
    fsck_after = True  # the store must be found clean when the test is over

    def setUp(self):
        os.umask(0o022)
        self.vol = Volume(self.mkfs_args, self.mount_opts, knobs=self.knobs)
        self.mnt = self.vol.mnt
        self.addCleanup(self._finish)

    def _finish(self):
        failed = any(error for _, error in getattr(self._outcome, "errors", []) if error)
        try:
            if not self.vol.alive():
                self.fail("the daemon died:\n" + self.vol.log_tail())
            self.vol.umount()
            self.assertEqual(self.vol.complaints(), [])
            if self.fsck_after and not PLAIN and not failed:
                done = self.vol.command("fsck", self.vol.store, check=False)
                self.assertEqual(done.returncode, 0, done.stdout[:4000] + done.stderr[:1000])
        finally:
            if failed:
                sys.stderr.write("log of %s:\n%s\n" % (self.id(), self.vol.log_tail()))
            self.vol.close(keep=failed and bool(os.environ.get("FOLD_KEEP")))

    def path(self, *parts):
        """A path inside the mount."""
        return os.path.join(self.mnt, *parts)

    def write(self, name, data, mode="wb"):
        """Writes a whole file; returns its path."""
        path = self.path(name)
        with open(path, mode) as out:
            out.write(data)
        return path

    def read(self, name):
        """Reads a whole file."""
        with open(self.path(name), "rb") as file:
            return file.read()

    def run_ok(self, *args, timeout=540, **kwargs):
        """Runs a program that must succeed; returns its standard output as text."""
        done = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=timeout, text=True, errors="replace", **kwargs)
        if done.returncode != 0:
            self.fail("%s: exit %d\n%s%s" % (" ".join(str(a) for a in args)[:300], done.returncode,
                                           done.stdout[-4000:], done.stderr[-4000:]))
        return done.stdout

    def errno_of(self, call, *args, **kwargs):
        """The errno `call` fails with, 0 if it works."""
        try:
            call(*args, **kwargs)
        except OSError as error:
            return error.errno
        return 0

    def in_child(self, work, uid=0, gid=0, groups=()):
        """Runs `work` in a child process as another user; its exception text, if any, fails the test."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(reader)
                if uid or gid:
                    os.setgroups(list(groups))
                    os.setresgid(gid, gid, gid)
                    os.setresuid(uid, uid, uid)
                work()
                code = 0
            except BaseException as error:  # pylint: disable=broad-except
                os.write(writer, repr(error).encode()[:4000])
            finally:
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read().decode(errors="replace")
        _, status = os.waitpid(pid, 0)
        if status != 0:
            self.fail("child failed (%d): %s" % (status, said))

    def sha(self, path):
        """SHA-256 of a file by path."""
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while True:
                block = file.read(1 << 20)
                if not block:
                    return digest.hexdigest()
                digest.update(block)


def program(name):
    """The path of one of the C programs built for the tests."""
    if BIN:
        return os.path.join(BIN, name)
    from lib.volume import FOLDFS
    return os.path.join(os.path.dirname(FOLDFS), "tests", "mount", name)


def sanitized():
    """True if a sanitizer is built into the program: it takes memory of its own."""
    from lib.volume import FOLDFS
    with open(FOLDFS, "rb") as file:
        text = file.read()
    return b"__asan_init" in text or b"__tsan_init" in text


def need_tool(name):
    """Decorator: skips where a program is not installed."""
    import shutil
    return unittest.skipUnless(shutil.which(name), name + " is not installed")


def need_fold(test):
    """Decorator: skips where a plain directory stands in for the mount."""
    return unittest.skipIf(PLAIN, "needs foldfs")(test)


def need_long(test):
    """Decorator: only with FOLDFS_TEST_LONG=1."""
    return unittest.skipUnless(LONG, "set FOLDFS_TEST_LONG=1")(test)
