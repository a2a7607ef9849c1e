# SPDX-License-Identifier: MIT
"""Attributes that the daemon changes by itself: what the kernel has cached of them is dropped before the reply.

Each change of content is made by another user, on a set-id program whose attributes the kernel has in its cache. Then
the mode is asked for without giving the kernel a reason to ask the daemon, and the program is run: with the mode of
before it would run as root. The same is done on the host's filesystem, which is the judge.
"""

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold, need_tool
from lib.volume import scratch_root

USER = 1001
PROGRAM = "/usr/bin/id"
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
STATX_MODE, AT_FDCWD = 2, -100

libc = ctypes.CDLL(None, use_errno=True)


def fallocate(fd, mode, off, length):
    if libc.fallocate(fd, mode, ctypes.c_int64(off), ctypes.c_int64(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def cached_mode(path):
    """The mode alone: not a reason to ask the daemon where only size and times are known to have changed."""
    buf = ctypes.create_string_buffer(256)
    if libc.statx(AT_FDCWD, os.fsencode(path), 0, STATX_MODE, buf) != 0:
        raise OSError(ctypes.get_errno(), "statx")
    return int.from_bytes(buf.raw[28:30], "little") & 0o7777


def through(flags, action):
    """A change of the file through a descriptor opened with `flags`."""
    def change(path):
        fd = os.open(path, flags)
        action(fd)
        os.close(fd)
    return change


def copy_range(path):
    source = os.open(path + ".from", os.O_RDONLY)
    fd = os.open(path, os.O_WRONLY)
    assert os.copy_file_range(source, fd, 100, 0, os.fstat(fd).st_size) == 100
    os.close(fd)
    os.close(source)


def appended(fd):
    os.pwrite(fd, b"x", os.fstat(fd).st_size)


def behind(fd):
    return os.fstat(fd).st_size + 4096


# Each leaves the program runnable, but for those that empty it.
CHANGES = {
    "write": through(os.O_RDWR, appended),
    "direct write": through(os.O_WRONLY, appended),
    "append": through(os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"x")),
    "write with O_SYNC": through(os.O_WRONLY | os.O_SYNC, appended),
    "allocate": through(os.O_WRONLY, lambda fd: fallocate(fd, 0, 0, behind(fd))),
    "allocate beyond": through(os.O_RDWR, lambda fd: fallocate(fd, KEEP_SIZE, behind(fd), 4096)),
    "punch": through(os.O_RDWR, lambda fd: fallocate(fd, PUNCH_HOLE | KEEP_SIZE, behind(fd), 4096)),
    "zero": through(os.O_RDWR, lambda fd: fallocate(fd, ZERO_RANGE, behind(fd), 4096)),
    "zero beyond": through(os.O_WRONLY, lambda fd: fallocate(fd, ZERO_RANGE | KEEP_SIZE, behind(fd), 4096)),
    "ftruncate": through(os.O_RDWR, lambda fd: os.ftruncate(fd, behind(fd))),
    "truncate": lambda path: os.truncate(path, os.path.getsize(path) + 1),
    "copy_file_range": copy_range,
    "open with O_TRUNC": through(os.O_WRONLY | os.O_TRUNC, lambda fd: None),
    "open with O_TRUNC and O_RDWR": through(os.O_RDWR | os.O_TRUNC, lambda fd: None),
    "create with O_TRUNC": through(os.O_WRONLY | os.O_CREAT | os.O_TRUNC, lambda fd: None),
}


class SelfChanges(MountCase):
    def outcome(self, top, name, mode):
        """What is left of a set-id program after the change: its mode, and whom it runs as."""
        path = os.path.join(top, "program")
        shutil.copyfile(PROGRAM, path)
        shutil.copyfile(PROGRAM, path + ".from")
        os.chmod(path + ".from", 0o644)
        os.chmod(path, mode)
        self.assertEqual(cached_mode(path), mode)
        self.assertEqual(os.stat(path).st_mode & 0o7777, mode)
        self.in_child(lambda: CHANGES[name](path), USER, USER)
        left = cached_mode(path)
        ran = None
        if "O_TRUNC" not in name:
            ran = subprocess.run([path], capture_output=True, text=True, user=USER, group=USER,
                                 extra_groups=[], check=True).stdout.split(" context=")[0]
        self.assertEqual(left, os.stat(path).st_mode & 0o7777)
        os.unlink(path)
        return left, ran

    def test_set_id_programs(self):
        with tempfile.TemporaryDirectory(dir=scratch_root()) as host:
            os.chmod(host, 0o755)
            for name in CHANGES:
                for mode in (0o4777, 0o2777, 0o6777, 0o777):
                    with self.subTest(change=name, mode=oct(mode)):
                        expected = self.outcome(host, name, mode)
                        self.assertEqual(expected[0], 0o777)
                        self.assertEqual(self.outcome(self.mnt, name, mode), expected)

    @need_tool("setcap")
    def test_capabilities(self):
        """A change by anybody, root as well, takes file capabilities away."""
        with tempfile.TemporaryDirectory(dir=scratch_root()) as host:
            os.chmod(host, 0o755)
            for name in CHANGES:
                for user in (0, USER):
                    left = []
                    for top in (host, self.mnt):
                        path = os.path.join(top, "program")
                        shutil.copyfile(PROGRAM, path)
                        shutil.copyfile(PROGRAM, path + ".from")
                        os.chmod(path, 0o777)
                        self.run_ok("setcap", "cap_net_raw+ep", path)
                        self.assertIn("security.capability", os.listxattr(path))
                        self.in_child(lambda p=path: CHANGES[name](p), user, user)
                        left.append(os.listxattr(path))
                        os.unlink(path)
                    self.assertEqual(left[1], left[0], (name, user))

    @need_fold
    def test_other_user_is_told(self):
        """Who has the file open all the time sees the new mode as well."""
        path = self.write("f", b"x" * 10000)
        os.chmod(path, 0o4777)
        fd = os.open(path, os.O_RDONLY)
        self.assertEqual(os.fstat(fd).st_mode & 0o7777, 0o4777)
        self.in_child(lambda: CHANGES["direct write"](path), USER, USER)
        self.assertEqual(cached_mode("/proc/self/fd/%d" % fd), 0o777)
        os.close(fd)

    def test_blocks_of_mapped_data(self):
        """A file that a mapping may have stored to has a block: tar takes one without any for a hole, unlooked."""
        path = self.write("mapped", b"")
        os.truncate(path, 1 << 20)
        self.assertEqual(os.stat(path).st_blocks, 0)
        fd = os.open(path, os.O_RDWR)
        with mmap.mmap(fd, 1 << 20) as view:
            view[100:105] = b"hello"
            self.assertGreater(os.stat(path).st_blocks, 0)
            archive = self.path("archive.tar")
            self.run_ok("tar", "-C", self.mnt, "-S", "-cf", archive, "mapped")
            self.run_ok("tar", "-C", self.vol.base, "-xf", archive)
            with open(os.path.join(self.vol.base, "mapped"), "rb") as copy:
                self.assertEqual(copy.read(200)[100:105], b"hello")
        os.close(fd)
        self.assertGreater(os.stat(path).st_blocks, 0)

    def test_times_set_after_mapped_stores(self):
        """Times that were set stay when what was stored before is written back, and move with later stores."""
        path = self.write("f", b"x" * 10000)
        for when in ((10**18, 10**18), None):
            with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
                view[100:105] = b"hello"
                os.utime(path, ns=when) if when else os.utime(path)
                expected = os.stat(path).st_mtime_ns
                if when:
                    self.assertEqual(expected, when[1])
                time.sleep(0.02)
                view.flush()
                self.assertEqual(os.stat(path).st_mtime_ns, expected)
            self.assertEqual(os.stat(path).st_mtime_ns, expected)
            self.assertEqual(self.read("f")[98:107], b"xxhelloxx")
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
            os.utime(path, ns=(10**18, 10**18))
            view[5000:5005] = b"later"
            view.flush()
        self.assertGreater(os.stat(path).st_mtime_ns, 10**18)

    @need_fold
    def test_blocks_after_refolding(self):
        """Zeros of two writes that refolding makes one hole: the kernel learns of the blocks that are gone."""
        path = self.write("zeros", os.urandom(300000))
        fd = os.open(path, os.O_RDWR)
        for off, piece in ((106000, bytes(5000) + os.urandom(1000)), (100000, os.urandom(1000) + bytes(5000))):
            os.pwrite(fd, piece, off)
            os.fsync(fd)
        os.close(fd)
        self.vol.command("sync", self.mnt)
        before = os.stat(path).st_blocks
        self.vol.command("gc", "--full", self.mnt)
        after = os.stat(path).st_blocks
        self.assertLess(after, before)
        self.vol.remount()
        self.assertEqual(os.stat(path).st_blocks, after)


if __name__ == "__main__":
    unittest.main()
