# SPDX-License-Identifier: MIT
"""overlayfs with its upper layer on foldfs shows and keeps what it does with an upper layer on the host's own filesystem."""

import base64
import ctypes
import errno
import os
import shutil
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import trees
from lib.case import MountCase, need_fold

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
# What names inodes of the layers: it differs from layer to layer.
OWN = ("trusted.overlay.origin", "user.overlay.origin", "trusted.overlay.uuid", "user.overlay.uuid",
       "trusted.overlay.nlink", "user.overlay.nlink", "trusted.overlay.upper")

OLD = 15 * 10**17  # ns; times before are given to files on purpose


def has_overlay():
    """True if the kernel has overlayfs."""
    with open("/proc/filesystems") as file:
        return "\toverlay\n" in file.read()


def rename2(old, new, flags):
    """renameat2; returns the errno."""
    ctypes.set_errno(0)
    done = LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags)
    return 0 if done == 0 else ctypes.get_errno()


def link_unnamed(fd, path):
    """Gives a name to what O_TMPFILE made."""
    source = ("/proc/self/fd/%d" % fd).encode()
    if LIBC.linkat(AT_FDCWD, source, AT_FDCWD, os.fsencode(path), AT_SYMLINK_FOLLOW) != 0:
        raise OSError(ctypes.get_errno(), "linkat")


def show(top):
    """All of a tree: path to what can be seen of it; times unless they are those of the test."""
    out = {}
    for folder, dirs, files in os.walk(os.fsencode(top)):
        for name in dirs + files + [b"."]:
            path = os.path.normpath(os.path.join(folder, name))
            st = os.lstat(path)
            what = [stat.filemode(st.st_mode), st.st_uid, st.st_gid, st.st_rdev]
            if not stat.S_ISDIR(st.st_mode):
                what += [st.st_nlink, st.st_size]
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as file:
                    what.append(hash(file.read()))
            if stat.S_ISLNK(st.st_mode):
                what.append(os.readlink(path))
            what.append(st.st_mtime_ns if st.st_mtime_ns < OLD else "new")
            what.append([(x, base64.b64encode(os.getxattr(path, x, follow_symlinks=False)))
                         for x in sorted(os.listxattr(path, follow_symlinks=False)) if x not in OWN])
            out[os.path.relpath(path, os.fsencode(top))] = what
    return out


def listed(top):
    """Each directory's entries with the type that readdir gives."""
    return {os.path.relpath(folder, top): sorted((e.name, e.is_dir(follow_symlinks=False), e.is_symlink())
                                                  for e in os.scandir(folder))
            for folder, _, _ in os.walk(top)}


class Layers:
    """An overlay: a lower tree below an upper and a work directory in `place`."""

    def __init__(self, base, name, place, options):
        self.lower, self.merged = os.path.join(base, "lower-" + name), os.path.join(base, "merged-" + name)
        self.upper, self.work = os.path.join(place, "upper"), os.path.join(place, "work")
        self.options = options
        for path in (self.lower, self.merged, self.upper, self.work):
            os.mkdir(path)
        self.fill()

    def fill(self):
        trees.make(os.path.join(self.lower, "tree"), 150)
        trees.special(os.path.join(self.lower, "special"))
        for name in ("a", "b", "c", "d", "e", "f", "g", "h"):
            with open(os.path.join(self.lower, name), "w") as out:
                out.write("lower " + name * 5000)
            os.utime(os.path.join(self.lower, name), ns=(10**18, 10**18))
        os.link(os.path.join(self.lower, "g"), os.path.join(self.lower, "g2"))
        for name in ("dir", "dir2", "dir3", "dir4"):
            os.makedirs(os.path.join(self.lower, name, "sub"))
            with open(os.path.join(self.lower, name, "sub", "file"), "w") as out:
                out.write("in " + name)

    def mount(self):
        done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", "lowerdir=%s,upperdir=%s,workdir=%s%s" %
                               (self.lower, self.upper, self.work, self.options), self.merged],
                              capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    def umount(self):
        if os.path.ismount(self.merged):
            subprocess.run(["umount", self.merged], check=True)


def work(m):
    """Everything that makes overlayfs ask something of its upper layer, in the merged tree `m`; returns what was refused."""
    said = {}

    def attempt(what, call, *args):
        try:
            said[what] = call(*args)
        except OSError as error:
            said[what] = errno.errorcode[error.errno]

    def put(name, text, mode="w"):
        with open(os.path.join(m, name), mode) as out:
            out.write(text)

    put("new", "new file")
    put("a", "appended", "a")
    os.truncate(m + "/b", 1000)
    os.chmod(m + "/c", 0o4711)
    os.chown(m + "/c", 1000, 1001)
    os.setxattr(m + "/d", "user.note", b"value")
    os.unlink(m + "/e")
    attempt("rename", os.rename, m + "/f", m + "/f-moved")
    attempt("over", os.rename, m + "/new", m + "/h")
    os.link(m + "/g", m + "/g3")
    put("g3", "through a link", "a")
    os.symlink("a", m + "/link")
    os.mkdir(m + "/made")
    put("made/file", "in a new directory")
    attempt("rename of a new directory", os.rename, m + "/made", m + "/made2")
    attempt("rename of a lower directory", os.rename, m + "/dir", m + "/dir-moved")
    attempt("rename of a lower tree", os.rename, m + "/dir2", m + "/made2/dir2")
    shutil.rmtree(m + "/dir3")
    os.mkdir(m + "/dir3")  # opaque: what is below must not come back
    put("dir3/other", "fresh")
    attempt("rmdir of what is not empty", os.rmdir, m + "/dir4")
    said["exchange"] = rename2(m + "/a", m + "/b", RENAME_EXCHANGE)
    said["noreplace"] = rename2(m + "/a", m + "/b", RENAME_NOREPLACE)
    said["whiteout"] = rename2(m + "/a", m + "/a-white", RENAME_WHITEOUT)
    os.mknod(m + "/device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mkfifo(m + "/fifo")
    attempt("a whiteout made by hand", os.mknod, m + "/white", stat.S_IFCHR, 0)
    fd = os.open(m + "/dir4", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"without a name at first")
    link_unnamed(fd, m + "/dir4/named")
    os.close(fd)
    subprocess.run(["setfacl", "-m", "u:77:rwx,d:u:78:rwx", m + "/dir4"], check=True)
    put("dir4/heir", "inherits")
    with open(m + "/special/sparse", "r+b") as file:
        file.seek(50 << 20)
        file.write(b"in the hole")
    shutil.rmtree(m + "/tree/" + sorted(e.name for e in os.scandir(m + "/tree") if e.is_dir())[0])
    for name in sorted(n for n in os.listdir(m + "/tree") if os.path.isfile(m + "/tree/" + n))[::3]:
        os.unlink(m + "/tree/" + name)
    subprocess.run(["cp", "-a", m + "/tree", m + "/copy"], check=True)
    subprocess.run(["rm", "-rf", m + "/copy"], check=True)
    subprocess.run(["cp", "-a", m + "/special", m + "/special2"], check=True)
    fd = os.open(m + "/g2", os.O_RDWR)
    os.unlink(m + "/g2")
    os.write(fd, b"gone, but open")
    os.fsync(fd)
    os.close(fd)
    return said


@need_fold
@unittest.skipUnless(has_overlay() and os.geteuid() == 0, "needs overlayfs and root")
class Overlay(MountCase):
    def make(self, options):
        """An overlay on foldfs and one on the host."""
        host, fold = os.path.join(self.vol.base, "host"), self.path("layers")
        os.mkdir(host)
        os.mkdir(fold)
        self.layers = [Layers(self.vol.base, "host", host, options), Layers(self.vol.base, "fold", fold, options)]
        for layers in self.layers:
            self.addCleanup(layers.umount)

    def same(self):
        host, fold = self.layers
        self.maxDiff = 4000
        self.assertEqual(show(fold.merged), show(host.merged))
        self.assertEqual(listed(fold.merged), listed(host.merged))
        self.assertEqual(show(fold.upper), show(host.upper))

    def check(self, options):
        self.make(options)
        for layers in self.layers:
            code, said = layers.mount()
            if code != 0 and layers is self.layers[0]:
                self.skipTest("this kernel's overlayfs does not take %s: %s" % (options, said))
            self.assertEqual(code, 0, said)
        host, fold = (work(layers.merged) for layers in self.layers)
        self.assertEqual(fold, host)
        self.same()
        for layers in self.layers:
            layers.umount()
        self.vol.remount()
        for layers in self.layers:
            shutil.rmtree(os.path.join(layers.work, "work", "incompat"), ignore_errors=True)  # of volatile
            self.assertEqual(layers.mount()[0], 0)
        self.same()
        for layers in self.layers:
            layers.umount()

    def test_default(self):
        self.check("")

    def test_redirect(self):
        self.check(",redirect_dir=on")

    def test_metacopy(self):
        self.check(",redirect_dir=on,metacopy=on")

    def test_index(self):
        self.check(",index=on")

    def test_userxattr(self):
        self.check(",userxattr")

    def test_volatile(self):
        self.check(",volatile")


@need_fold
class Whiteout(MountCase):
    """RENAME_WHITEOUT by itself."""

    def white(self, name):
        st = os.lstat(self.path(name))
        self.assertTrue(stat.S_ISCHR(st.st_mode))
        self.assertEqual((st.st_rdev, st.st_nlink, st.st_mode & 0o7777), (0, 1, 0))

    def test_leaves_one(self):
        before = os.statvfs(self.mnt).f_files - os.statvfs(self.mnt).f_ffree
        self.write("a", b"content")
        os.mkdir(self.path("dir"))
        os.mkdir(self.path("sub"))
        self.assertEqual(rename2(self.path("a"), self.path("b"), RENAME_WHITEOUT), 0)
        self.assertEqual(self.read("b"), b"content")
        self.white("a")
        self.assertEqual(rename2(self.path("b"), self.path("a"), RENAME_WHITEOUT | RENAME_NOREPLACE), errno.EEXIST)
        self.assertEqual(rename2(self.path("b"), self.path("a"), RENAME_WHITEOUT), 0)
        self.assertEqual(self.read("a"), b"content")
        self.white("b")
        self.assertEqual(rename2(self.path("dir"), self.path("sub", "dir"), RENAME_WHITEOUT), 0)
        self.white("dir")
        self.assertEqual(os.stat(self.mnt).st_nlink, 3)
        self.assertEqual(os.stat(self.path("sub")).st_nlink, 3)
        self.assertEqual(rename2(self.path("none"), self.path("x"), RENAME_WHITEOUT), errno.ENOENT)
        self.assertEqual(rename2(self.path("a"), self.path("b"), RENAME_WHITEOUT | RENAME_EXCHANGE), errno.EINVAL)
        self.assertEqual(rename2(self.path("sub"), self.path("sub", "dir", "x"), RENAME_WHITEOUT), errno.EINVAL)
        os.link(self.path("a"), self.path("a2"))
        self.assertEqual(rename2(self.path("a"), self.path("a2"), RENAME_WHITEOUT), 0)  # one file: nothing happens
        self.assertEqual(self.read("a"), b"content")
        self.assertEqual(sorted(os.listdir(self.mnt)), ["a", "a2", "b", "dir", "sub"])
        self.vol.remount()
        self.white("b")
        self.white("dir")
        self.assertEqual(self.read("a2"), b"content")
        for name in ("a", "a2", "b", "dir"):
            os.unlink(self.path(name))
        os.rmdir(self.path("sub", "dir"))
        os.rmdir(self.path("sub"))
        self.assertEqual(os.statvfs(self.mnt).f_files - os.statvfs(self.mnt).f_ffree, before)

    def test_owner(self):
        os.mkdir(self.path("open"))
        os.chmod(self.path("open"), 0o2777)
        os.chown(self.path("open"), 0, 4242)

        def user():
            with open(self.path("open", "mine"), "w") as out:
                out.write("x")
            if rename2(self.path("open", "mine"), self.path("open", "moved"), RENAME_WHITEOUT) != 0:
                raise OSError("refused")
        self.in_child(user, uid=1000, gid=1000)
        st = os.lstat(self.path("open", "mine"))
        self.assertEqual((st.st_uid, st.st_gid), (1000, 4242))
        self.white("open/mine")

    def test_mknod(self):
        os.mknod(self.path("white"), stat.S_IFCHR, 0)
        self.white("white")


if __name__ == "__main__":
    unittest.main()
