# SPDX-License-Identifier: MIT
"""Details of POSIX that programs rely on, one by one."""

import errno
import mmap
import os
import stat
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold, need_tool
from lib.volume import PLAIN

USER = 1000


class Files(MountCase):
    def test_unlinked_but_open(self):
        path = self.write("gone", b"x" * 100000)
        with open(path, "r+b") as file:
            os.unlink(path)
            self.assertEqual(os.fstat(file.fileno()).st_nlink, 0)
            file.seek(50000)
            file.write(b"more")
            file.flush()
            file.truncate(200000)
            file.seek(50000)
            self.assertEqual(file.read(4), b"more")
            self.assertEqual(os.fstat(file.fileno()).st_size, 200000)
            self.assertFalse(os.path.exists(path))

    def test_replaced_but_open(self):
        old = self.write("a", b"old" * 1000)
        new = self.write("b", b"new" * 1000)
        with open(old, "rb") as file:
            os.rename(new, old)
            self.assertEqual(file.read(), b"old" * 1000)
        self.assertEqual(self.read("a"), b"new" * 1000)

    def test_new_objects_belong_to_the_caller(self):
        os.chmod(self.mnt, 0o777)

        def work():
            os.mkdir(self.path("d"))
            open(self.path("f"), "w").close()
            os.symlink("x", self.path("l"))
            os.mkfifo(self.path("p"))

        self.in_child(work, USER, 1001)
        for name in "dflp":
            st = os.lstat(self.path(name))
            self.assertEqual((st.st_uid, st.st_gid), (USER, 1001), name)

    def test_set_gid_directory(self):
        os.mkdir(self.path("d"))
        os.chown(self.path("d"), USER, 4000)
        os.chmod(self.path("d"), 0o2777)

        def work():
            os.mkdir(self.path("d", "sub"))
            open(self.path("d", "f"), "w").close()

        self.in_child(work, 1002, 1002)
        self.assertEqual(os.stat(self.path("d", "f")).st_gid, 4000)
        st = os.stat(self.path("d", "sub"))
        self.assertEqual(st.st_gid, 4000)
        self.assertTrue(st.st_mode & stat.S_ISGID)

    def test_sticky_directory(self):
        os.mkdir(self.path("d"))
        os.chmod(self.path("d"), 0o1777)
        self.write("d/theirs", b"")
        self.write("d/mine", b"")
        os.chown(self.path("d", "mine"), USER, USER)

        def work():
            self.assertEqual(self.errno_of(os.unlink, self.path("d", "theirs")), errno.EPERM)
            self.assertEqual(self.errno_of(os.rename, self.path("d", "theirs"), self.path("d", "x")), errno.EPERM)
            os.unlink(self.path("d", "mine"))

        self.in_child(work, USER, USER)

    def set_id_file(self):
        path = self.write("suid", b"x" * 10000)
        os.chown(path, USER, USER)
        os.chmod(path, 0o6777)
        return path

    def check_set_id_dropped(self, action, flags=os.O_RDWR):
        path = self.set_id_file()

        def work():
            fd = os.open(path, flags)
            action(fd)
            os.close(fd)

        self.in_child(work, 1001, 1001)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o777)
        os.unlink(path)

    def test_set_id_dropped(self):
        self.check_set_id_dropped(lambda fd: os.write(fd, b"y"))
        self.check_set_id_dropped(lambda fd: os.write(fd, b"y"), os.O_WRONLY)
        self.check_set_id_dropped(lambda fd: os.write(fd, b"y"), os.O_WRONLY | os.O_APPEND)
        self.check_set_id_dropped(lambda fd: os.ftruncate(fd, 5))
        self.check_set_id_dropped(lambda fd: None, os.O_WRONLY | os.O_TRUNC)
        self.check_set_id_dropped(lambda fd: os.posix_fallocate(fd, 0, 20000))

    def test_set_id_kept_for_root(self):
        path = self.set_id_file()
        with open(path, "r+b") as file:
            file.write(b"y")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o6777)

    @need_tool("setpriv")
    def test_marked_for_locking(self):
        """Set-gid without group execution stays for members of the group and holders of CAP_FSETID, whoever they are."""
        path = self.write("marked", b"x")
        os.chown(path, USER, 4000)
        user = ["--reuid", USER, "--regid", USER]
        for kept, privileges in (
                (True, []),
                (False, ["--bounding-set", "-fsetid"]),
                (False, [*user, "--clear-groups"]),
                (True, [*user, "--groups", 4000]),
                (True, [*user, "--clear-groups", "--inh-caps", "+fsetid", "--ambient-caps", "+fsetid"])):
            for change in ("echo y >> %s", "truncate -s 100 %s", "chown %d %%s" % USER):
                os.chmod(path, 0o2644)
                self.run_ok("setpriv", *privileges, "sh", "-c", change % path)
                self.assertEqual(bool(os.stat(path).st_mode & stat.S_ISGID), kept, (privileges, change))

    def test_set_id_dropped_on_chown(self):
        path = self.set_id_file()
        os.chown(path, 1003, 1003)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o777)

    def test_names(self):
        for name in (b"a" * 255, bytes(range(1, 47)) + bytes(range(48, 256)), b"\xff" * 255):
            path = os.path.join(os.fsencode(self.mnt), name)
            with open(path, "wb") as out:
                out.write(name)
            self.assertIn(name, os.listdir(os.fsencode(self.mnt)))
            with open(path, "rb") as file:
                self.assertEqual(file.read(), name)
        self.assertEqual(self.errno_of(os.mkdir, self.path("n" * 256)), errno.ENAMETOOLONG)

    def test_symlinks(self):
        target = "t" * 4095
        os.symlink(target, self.path("l"))
        self.assertEqual(os.readlink(self.path("l")), target)
        self.assertEqual(os.lstat(self.path("l")).st_size, 4095)
        self.vol.remount()
        self.assertEqual(os.readlink(self.path("l")), target)
        self.assertEqual(self.errno_of(os.symlink, "t" * 4096, self.path("m")), errno.ENAMETOOLONG)

    @need_fold
    def test_sparse_giant(self):
        path = self.path("giant")
        top = (1 << 63) - 1
        with open(path, "wb") as out:
            out.truncate(top)
        with open(path, "r+b") as file:
            self.assertEqual(os.fstat(file.fileno()).st_size, top)
            os.pwrite(file.fileno(), b"the end", top - 7)
            os.pwrite(file.fileno(), b"middle", 1 << 62)
            self.assertEqual(os.pread(file.fileno(), 7, top - 7), b"the end")
            self.assertEqual(os.pread(file.fileno(), 8, (1 << 62) - 1), b"\0middle\0")
            self.assertIn(self.errno_of(os.pwrite, file.fileno(), b"x", top), (errno.EFBIG, errno.EINVAL))
            data = os.lseek(file.fileno(), 0, os.SEEK_DATA)
            self.assertLessEqual(data, 1 << 62)
            self.assertGreater(data, (1 << 62) - (1 << 22))
        self.assertLess(os.stat(path).st_blocks, 100)
        self.vol.remount()
        with open(path, "r+b") as file:
            self.assertEqual(os.pread(file.fileno(), 7, top - 7), b"the end")
            self.assertEqual(os.pread(file.fileno(), 6, 1 << 62), b"middle")
            file.truncate(1 << 62)
        self.assertEqual(os.stat(path).st_size, 1 << 62)

    def test_umask(self):
        for mask in (0, 0o022, 0o077, 0o777):
            os.umask(mask)
            fd = os.open(self.path("f%o" % mask), os.O_CREAT | os.O_WRONLY, 0o666)
            os.close(fd)
            os.mkdir(self.path("d%o" % mask), 0o777)
            self.assertEqual(stat.S_IMODE(os.stat(self.path("f%o" % mask)).st_mode), 0o666 & ~mask)
            self.assertEqual(stat.S_IMODE(os.stat(self.path("d%o" % mask)).st_mode), 0o777 & ~mask)
        os.umask(0o022)

    def test_default_acl(self):
        os.mkdir(self.path("d"))
        self.run_ok("setfacl", "-d", "-m", "u::rwx,u:1234:rwx,g::r-x,o::r-x", self.path("d"))
        os.umask(0o077)
        os.mkdir(self.path("d", "sub"))
        open(self.path("d", "f"), "w").close()
        os.umask(0o022)
        text = self.run_ok("getfacl", "-pcn", self.path("d", "sub"))
        self.assertIn("user:1234:rwx", text)
        self.assertIn("default:user:1234:rwx", text)
        text = self.run_ok("getfacl", "-pcn", self.path("d", "f"))
        self.assertIn("user:1234:rwx\t#effective:rw-", text)
        self.assertIn("mask::rw-", text)

    def test_acl_grants(self):
        path = self.write("f", b"secret")
        os.chmod(path, 0o600)
        self.run_ok("setfacl", "-m", "u:1234:r--", path)

        def work():
            with open(path, "rb") as file:
                assert file.read() == b"secret"
            assert self.errno_of(os.open, path, os.O_RDWR) == errno.EACCES

        self.in_child(work, 1234, 1234)
        os.chmod(path, 0o600)  # clears the mask: the grant has no effect any more
        self.in_child(lambda: self.assertEqual(self.errno_of(os.open, path, os.O_RDONLY), errno.EACCES), 1234, 1234)

    def test_set_gid_cleared_by_acl(self):
        path = self.write("f", b"")
        os.chown(path, USER, 4000)
        os.chmod(path, 0o2755)
        self.in_child(lambda: self.run_ok("setfacl", "-m", "u:1234:r--", path), USER, USER)
        self.assertFalse(os.stat(path).st_mode & stat.S_ISGID)

    def test_inode_numbers_stay(self):
        names = ["a", "b", "d"]
        self.write("a", b"1")
        self.write("b", b"2" * 100000)
        os.mkdir(self.path("d"))
        os.link(self.path("a"), self.path("d", "hard"))
        before = [os.stat(self.path(name)).st_ino for name in names]
        self.vol.remount()
        self.assertEqual(before, [os.stat(self.path(name)).st_ino for name in names])
        self.assertEqual(os.stat(self.path("a")).st_ino, os.stat(self.path("d", "hard")).st_ino)
        self.assertEqual(len(set(before)), 3)

    def test_link_counts(self):
        os.mkdir(self.path("d"))
        self.assertEqual(os.stat(self.path("d")).st_nlink, 2)
        for i in range(3):
            os.mkdir(self.path("d", str(i)))
        self.assertEqual(os.stat(self.path("d")).st_nlink, 5)
        os.rename(self.path("d", "0"), self.path("zero"))
        self.assertEqual(os.stat(self.path("d")).st_nlink, 4)
        os.rename(self.path("zero"), self.path("d", "1"))
        self.assertEqual(os.stat(self.path("d")).st_nlink, 4)
        self.vol.remount()
        self.assertEqual(os.stat(self.path("d")).st_nlink, 4)

    def test_many_links(self):
        self.write("f", b"x")
        for i in range(2000):
            os.link(self.path("f"), self.path("l%d" % i))
        self.assertEqual(os.stat(self.path("l7")).st_nlink, 2001)

    def test_blocks(self):
        path = self.write("f", os.urandom(1 << 20))
        fd = os.open(path, os.O_RDWR)
        os.fsync(fd)
        os.close(fd)
        blocks = os.stat(path).st_blocks
        self.assertGreaterEqual(blocks, 2048 - 8)
        self.assertLess(blocks, 2048 + 64)
        os.truncate(path, 0)
        self.assertEqual(os.stat(path).st_blocks, 0)

    def test_fallocate(self):
        path = self.write("f", b"x" * 10000)
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, 1 << 20)
            self.assertEqual(os.fstat(file.fileno()).st_size, 1 << 20)
            self.assertGreaterEqual(os.fstat(file.fileno()).st_blocks, 2048 - 8)
        self.run_ok("fallocate", "-p", "-o", "4096", "-l", "4096", path)
        self.run_ok("fallocate", "-n", "-l", "2097152", path)
        self.assertEqual(os.stat(path).st_size, 1 << 20)
        self.assertEqual(self.read("f")[:10000], b"x" * 4096 + b"\0" * 4096 + b"x" * 1808)
        if not PLAIN:
            done = subprocess.run(["fallocate", "-c", "-o", "0", "-l", "4096", path], capture_output=True)
            self.assertNotEqual(done.returncode, 0)

    def test_holes(self):
        path = self.path("f")
        with open(path, "wb") as out:
            out.write(b"a" * 65536)
            out.seek(1 << 20)
            out.write(b"b" * 65536)
            out.truncate(2 << 20)
        self.vol.remount()
        with open(path, "rb") as file:
            fd = file.fileno()
            self.assertEqual(os.lseek(fd, 0, os.SEEK_DATA), 0)
            self.assertEqual(os.lseek(fd, 0, os.SEEK_HOLE), 65536)
            self.assertEqual(os.lseek(fd, 65536, os.SEEK_DATA), 1 << 20)
            self.assertEqual(os.lseek(fd, 1 << 20, os.SEEK_HOLE), (1 << 20) + 65536)
            self.assertEqual(self.errno_of(os.lseek, fd, (1 << 20) + 65536, os.SEEK_DATA), errno.ENXIO)
            self.assertEqual(self.errno_of(os.lseek, fd, 2 << 20, os.SEEK_HOLE), errno.ENXIO)

    def test_holes_in_blocks(self):
        """One byte of data makes its block of 4 KiB data, as on other filesystems."""
        path = self.path("f")
        with open(path, "w+b", buffering=0) as file:
            for at in (5000, 20000, 24575, 40000):
                os.pwrite(file.fileno(), b"x", at)
            file.truncate(41000)
            for sync in (False, True):
                if sync:
                    os.fsync(file.fileno())
                data = [os.lseek(file.fileno(), at, os.SEEK_DATA) for at in (0, 4097, 5001, 8192, 16385, 24576, 40001)]
                holes = [os.lseek(file.fileno(), at, os.SEEK_HOLE) for at in (0, 4096, 8191, 9000, 16384, 36864, 40999)]
                self.assertEqual(data, [4096, 4097, 5001, 16384, 16385, 36864, 40001])
                self.assertEqual(holes, [0, 8192, 8192, 9000, 24576, 40960, 40999])

    def test_holes_behind_a_mapping(self):
        """What a program left in a shared mapping is no hole, for those who copy the file meanwhile."""
        page, path = mmap.PAGESIZE, self.path("f")
        with open(path, "w+b") as out:
            out.truncate(64 * page)
            shared = mmap.mmap(out.fileno(), 64 * page)
            with open(path, "rb") as file:
                fd = file.fileno()
                self.assertEqual(self.errno_of(os.lseek, fd, 0, os.SEEK_DATA), errno.ENXIO)
                for at in (40, 41, 50):
                    shared[at * page:(at + 1) * page] = b"m" * page
                self.assertEqual(os.lseek(fd, 0, os.SEEK_DATA), 40 * page)
                shared[10 * page:12 * page] = b"n" * 2 * page
                self.assertEqual(os.lseek(fd, 10 * page, os.SEEK_HOLE), 12 * page)
                self.assertEqual(os.lseek(fd, 12 * page, os.SEEK_DATA), 40 * page)
                shared[60 * page:] = b"o" * 4 * page
                self.run_ok("cp", "--reflink=never", path, self.path("copy"))
            self.assertEqual(self.read("copy"), shared[:])
            shared.close()

    def test_unaligned_direct_io(self):
        path = self.write("f", bytes(range(256)) * 64)
        fd = os.open(path, os.O_RDWR | os.O_DIRECT)
        try:
            import mmap
            buf = mmap.mmap(-1, 4096)
            buf.write(b"D" * 4096)
            os.pwritev(fd, [buf], 4096)
            self.assertEqual(self.read("f")[4096:8192], b"D" * 4096)
            self.assertEqual(os.preadv(fd, [buf], 16384), 0)
        finally:
            os.close(fd)

    def test_exclusive_create(self):
        self.write("f", b"")
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        self.assertEqual(self.errno_of(os.open, self.path("f"), flags), errno.EEXIST)
        os.symlink("missing", self.path("l"))
        self.assertEqual(self.errno_of(os.open, self.path("l"), flags), errno.EEXIST)
        self.assertEqual(self.errno_of(os.open, self.path("f", "x"), flags), errno.ENOTDIR)

    def test_directory_errors(self):
        os.makedirs(self.path("a", "b"))
        self.assertEqual(self.errno_of(os.rmdir, self.path("a")), errno.ENOTEMPTY)
        self.assertEqual(self.errno_of(os.rename, self.path("a"), self.path("a", "b", "c")), errno.EINVAL)
        self.assertEqual(self.errno_of(os.unlink, self.path("a")), errno.EISDIR)
        self.assertEqual(self.errno_of(os.link, self.path("a"), self.path("c")), errno.EPERM)
        self.assertEqual(self.errno_of(os.rmdir, self.path("a", "b", "nothing")), errno.ENOENT)

    def test_execute(self):
        path = self.write("run", b"#!/bin/sh\necho ran\n")
        os.chmod(path, 0o755)
        self.assertEqual(self.run_ok(path), "ran\n")
        self.run_ok("cp", "/bin/true", self.path("true"))
        self.run_ok(self.path("true"))

    @need_fold
    def test_read_only(self):
        self.write("f", b"x")
        self.vol.remount("ro")
        self.assertEqual(self.read("f"), b"x")
        self.assertEqual(self.errno_of(os.open, self.path("f"), os.O_RDWR), errno.EROFS)
        self.assertEqual(self.errno_of(os.mkdir, self.path("d")), errno.EROFS)
        self.assertEqual(self.errno_of(os.utime, self.path("f")), errno.EROFS)

    @need_fold
    def test_df(self):
        host, st = os.statvfs(self.vol.base), os.statvfs(self.mnt)
        self.assertLess(abs(st.f_bavail * st.f_frsize - host.f_bavail * host.f_frsize), 20 << 30)
        self.assertEqual(st.f_namemax, 255)
        self.run_ok("df", self.mnt)
        self.run_ok("df", "-i", self.mnt)

    def test_copy_within(self):
        data = os.urandom(8 << 20)
        self.write("a", data)
        os.sync()
        self.run_ok("cp", "--reflink=auto", self.path("a"), self.path("b"))
        self.run_ok("cp", "--sparse=always", self.path("a"), self.path("c"))
        self.vol.remount()
        self.assertEqual(self.read("b"), data)
        self.assertEqual(self.read("c"), data)


if __name__ == "__main__":
    unittest.main()
