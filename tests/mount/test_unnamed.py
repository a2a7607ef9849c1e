# SPDX-License-Identifier: MIT
"""Files without a name: made so by O_TMPFILE, given one by linkat, taken away by close, crash and unmount."""

import ctypes
import errno
import os
import stat
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold
from lib.volume import PLAIN

USER = 1000
AT_EMPTY_PATH = 0x1000
LIBC = ctypes.CDLL(None, use_errno=True)


class Unnamed(MountCase):
    def tmpfile(self, *where, flags=os.O_RDWR, mode=0o600):
        return os.open(self.path(*where) if where else self.mnt, os.O_TMPFILE | flags, mode)

    def link(self, fd, path):
        """Gives an open file a name by way of /proc; a directory descriptor makes Python follow the link."""
        here = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.link("/proc/self/fd/%d" % fd, path, src_dir_fd=here)
        finally:
            os.close(here)

    def files(self):
        return self.vol.stats()["files"]

    def test_invisible(self):
        data = os.urandom(300000)
        fd = self.tmpfile()
        os.write(fd, data)
        os.pwrite(fd, b"changed", 1000)
        st = os.fstat(fd)
        self.assertEqual((st.st_nlink, st.st_size, stat.S_IMODE(st.st_mode)), (0, 300000, 0o600))
        self.assertEqual(os.pread(fd, 300000, 0), data[:1000] + b"changed" + data[1007:])
        self.assertEqual(os.listdir(self.mnt), [])
        os.mkdir(self.path("d"))
        other = self.tmpfile("d", flags=os.O_WRONLY)
        self.assertNotEqual(os.fstat(other).st_ino, st.st_ino)
        os.rmdir(self.path("d"))  # nothing is in it
        os.close(other)
        os.close(fd)

    def test_flags(self):
        self.assertEqual(self.errno_of(self.tmpfile, flags=os.O_RDONLY), errno.EINVAL)
        self.write("f", b"")
        self.assertEqual(self.errno_of(self.tmpfile, "f"), errno.ENOTDIR)
        self.assertEqual(self.errno_of(self.tmpfile, "none"), errno.ENOENT)

    def test_linked(self):
        data = os.urandom(200000)
        fd = self.tmpfile(mode=0o640)
        os.write(fd, data)
        before = os.fstat(fd).st_ino
        self.link(fd, self.path("named"))
        self.assertEqual(os.fstat(fd).st_nlink, 1)
        self.assertEqual(self.read("named"), data)
        self.link(fd, self.path("twice"))
        self.assertEqual(os.fstat(fd).st_nlink, 2)
        os.write(fd, b"more")
        os.close(fd)
        self.vol.remount()
        self.assertEqual(self.read("named"), data + b"more")
        st = os.stat(self.path("twice"))
        self.assertEqual((st.st_ino, st.st_nlink, stat.S_IMODE(st.st_mode)), (before, 2, 0o640))

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_linked_by_empty_path(self):
        fd = self.tmpfile()
        os.write(fd, b"contents")
        done = LIBC.linkat(fd, b"", -100, os.fsencode(self.path("named")), AT_EMPTY_PATH)
        self.assertEqual(done, 0, os.strerror(ctypes.get_errno()))
        os.close(fd)
        self.assertEqual(self.read("named"), b"contents")

    def test_exclusive_stays_unnamed(self):
        fd = self.tmpfile(flags=os.O_RDWR | os.O_EXCL)
        self.assertEqual(self.errno_of(self.link, fd, self.path("named")), errno.ENOENT)
        os.close(fd)

    def test_unlinked_stays_unnamed(self):
        fd = self.tmpfile()
        self.link(fd, self.path("a"))
        os.unlink(self.path("a"))
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        self.assertEqual(self.errno_of(self.link, fd, self.path("b")), errno.ENOENT)
        os.close(fd)
        self.assertEqual(os.listdir(self.mnt), [])

    def test_link_to_a_taken_name(self):
        self.write("taken", b"old")
        fd = self.tmpfile()
        os.write(fd, b"new")
        self.assertEqual(self.errno_of(self.link, fd, self.path("taken")), errno.EEXIST)
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        self.link(fd, self.path("free"))
        os.rename(self.path("free"), self.path("taken"))
        os.close(fd)
        self.assertEqual(self.read("taken"), b"new")

    def test_owner_and_mode(self):
        os.mkdir(self.path("d"))
        os.chown(self.path("d"), USER, 4000)
        os.chmod(self.path("d"), 0o2777)

        def work():
            os.umask(0o027)
            fd = self.tmpfile("d", mode=0o666)
            self.link(fd, self.path("d", "f"))
            os.close(fd)

        self.in_child(work, USER, 1001)
        st = os.stat(self.path("d", "f"))
        self.assertEqual((st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)), (USER, 4000, 0o640))

    def test_default_acl(self):
        os.mkdir(self.path("d"))
        self.run_ok("setfacl", "-d", "-m", "u::rwx,u:1234:rwx,g::r-x,o::r-x", self.path("d"))
        fd = self.tmpfile("d", mode=0o666)
        self.link(fd, self.path("d", "f"))
        os.close(fd)
        self.assertIn("user:1234:rwx\t#effective:rw-", self.run_ok("getfacl", "-pcn", self.path("d", "f")))

    def test_removed_below_a_descriptor(self):
        """What O_PATH descriptors still tell of an object without a name."""
        path = self.write("f", b"12345")
        fd = os.open(path, os.O_PATH)
        os.unlink(path)
        st = os.fstat(fd)
        self.assertEqual((st.st_nlink, st.st_size), (0, 5))
        if not PLAIN:
            self.assertEqual(self.errno_of(os.open, "/proc/self/fd/%d" % fd, os.O_RDONLY), errno.ESTALE)
        os.close(fd)
        os.mkdir(self.path("d"))
        fd = os.open(self.path("d"), os.O_PATH | os.O_DIRECTORY)
        os.rmdir(self.path("d"))
        self.assertEqual(os.listdir("/proc/self/fd/%d" % fd), [])
        self.assertEqual(self.errno_of(os.mkdir, "e", dir_fd=fd), errno.ENOENT)
        self.assertEqual(self.errno_of(os.open, "e", os.O_CREAT | os.O_WRONLY, dir_fd=fd), errno.ENOENT)
        os.close(fd)

    @need_fold
    def test_counted_with_its_name(self):
        before = self.files()
        fd = self.tmpfile()
        os.write(fd, b"x" * 100000)
        self.assertEqual(self.files(), before)
        self.link(fd, self.path("f"))
        self.assertEqual(self.files(), before + 1)
        os.close(fd)
        os.unlink(self.path("f"))
        self.vol.remount()
        self.assertEqual((self.files(), self.vol.stats()["logical_bytes"]), (before, 0))

    @need_fold
    def test_gone_with_its_opener(self):
        fds = [self.tmpfile() for _ in range(50)]
        for fd in fds:
            os.write(fd, os.urandom(50000))
            os.fsync(fd)
        self.assertGreater(self.vol.stats()["logical_bytes"], 50 * 49000)
        for fd in fds:
            os.close(fd)
        self.vol.remount()
        self.assertEqual(self.vol.stats()["logical_bytes"], 0)

    @need_fold
    def test_crash(self):
        kept, lost = self.tmpfile(), self.tmpfile()
        for fd in (kept, lost):
            os.write(fd, b"z" * 70000)
            os.fsync(fd)
        self.link(kept, self.path("kept"))
        self.vol.kill9()
        for fd in (kept, lost):
            self.assertIn(self.errno_of(os.close, fd), (0, errno.ENOTCONN, errno.ECONNABORTED, errno.ECANCELED))
        self.vol.mount()
        self.assertEqual(os.listdir(self.mnt), ["kept"])
        self.assertEqual(self.read("kept"), b"z" * 70000)
        stats = self.vol.stats()
        self.assertEqual((stats["files"], stats["logical_bytes"]), (1, 70000))

    @need_fold
    def test_read_only(self):
        self.vol.remount("ro")
        self.assertEqual(self.errno_of(self.tmpfile), errno.EROFS)


if __name__ == "__main__":
    unittest.main()
