# SPDX-License-Identifier: MIT
"""What the kernel remembers of names and attributes is what the daemon would say if it were asked again: after each of many random
changes of a small tree, each path, also those that are not there, and each open file is looked at both ways.

FOLD_SEED repeats a run."""

import ctypes
import os
import random
import stat
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase
from lib.volume import LONG

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_EMPTY_PATH, AT_NOFOLLOW, AT_SYMLINK_FOLLOW = -100, 0x1000, 0x100, 0x400
AS_STAT, FORCE = 0x0000, 0x2000
BASIC = 0x7ff
ROUNDS = 20000 if LONG else 1500
NAMES = ("a", "b", "c", "dir", "other")


def statx(fd, path, sync):
    """(mode, nlink, uid, gid, ino, size, rdev, mtime, ctime, atime) or None."""
    buf = ctypes.create_string_buffer(256)
    flags = AT_NOFOLLOW | sync | (0 if path else AT_EMPTY_PATH)
    if LIBC.statx(fd, os.fsencode(path), flags, BASIC, buf) != 0:
        return None
    raw = buf.raw

    def u32(at):
        return int.from_bytes(raw[at:at + 4], "little")

    def u64(at):
        return int.from_bytes(raw[at:at + 8], "little")

    def when(at):
        return u64(at), u32(at + 8)
    return {"mode": int.from_bytes(raw[28:30], "little"), "nlink": u32(16), "uid": u32(20), "gid": u32(24), "ino": u64(32),
            "size": u64(40), "rdev": (u32(128), u32(132)), "mtime": when(112), "ctime": when(96), "atime": when(64)}


class Entries(MountCase):
    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("FOLD_SEED", "0")) or (int(time.time()) if LONG else 7)
        self.rng = random.Random(self.seed)
        self.open = {}
        self.log = []
        self.addCleanup(lambda: [os.close(fd) for fd in self.open.values()])

    def pick(self):
        """A path of one to three names."""
        return self.path(*self.rng.choices(NAMES, k=self.rng.choice((1, 1, 2, 2, 3))))

    def paths(self):
        """All paths that can be there."""
        todo = [self.mnt]
        while todo:
            top = todo.pop()
            yield top
            if len(os.path.relpath(top, self.mnt).split("/")) < 4 and os.path.isdir(top) and not os.path.islink(top):
                todo += [os.path.join(top, name) for name in NAMES]

    def change(self):
        rng, a, b = self.rng, self.pick(), self.pick()
        kind = rng.randrange(17)
        if kind < 2:
            os.close(os.open(a, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
        elif kind < 4:
            os.mkdir(a)
        elif kind == 4:
            os.link(a, b, follow_symlinks=False)
        elif kind == 5:
            os.unlink(a)
        elif kind == 6:
            os.rmdir(a)
        elif kind < 11:
            LIBC.renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), rng.choice((0, 0, 0, 1, 2, 2, 4, 5)))
        elif kind == 11:
            os.symlink("target", a)
        elif kind == 12:
            os.mknod(a, stat.S_IFIFO | 0o600)
        elif kind == 13:
            subprocess.run(["setfacl", rng.choice(("-m", "-dm")), "u:%d:%s" % (rng.randrange(3), rng.choice(("r", "rwx"))), a],
                           stderr=subprocess.DEVNULL, check=False)
        elif kind == 14:
            os.chmod(a, rng.choice((0o700, 0o755, 0o2770, 0o1777)))
        elif kind == 15:
            fd = os.open(os.path.dirname(a), os.O_TMPFILE | os.O_RDWR, 0o600)
            LIBC.linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, os.fsencode(a), AT_SYMLINK_FOLLOW)
            self.keep(fd)
        else:
            self.keep(os.open(a, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
        return kind, a, b

    def keep(self, fd):
        """Keeps an open file or directory for a while."""
        slot = self.rng.randrange(4)
        if slot in self.open:
            os.close(self.open[slot])
        self.open[slot] = fd

    def step(self):
        try:
            return self.change()
        except OSError as error:
            return error.errno

    def compare(self, what, fd, path):
        seen, true = statx(fd, path, AS_STAT), statx(fd, path, FORCE)
        if seen and stat.S_ISREG(seen["mode"]):
            for key in ("size", "mtime", "atime"):  # test_random.py compares these with a model
                seen.pop(key), true.pop(key)
        self.assertEqual(seen, true, "seed %d, %s, after %s" % (self.seed, what, self.log[-3:]))
        return seen

    def test_random_changes(self):
        for i in range(ROUNDS):
            self.log.append(self.step())
            there = {}
            for path in self.paths():
                there[path] = self.compare(path, AT_FDCWD, path)
            for fd in self.open.values():
                self.compare("fd", fd, "")
            for top in [p for p, st in there.items() if st and stat.S_ISDIR(st["mode"])]:
                names = {e.name: (e.inode(), e.is_dir(follow_symlinks=False)) for e in os.scandir(top)}
                known = {os.path.basename(p): (st["ino"], stat.S_ISDIR(st["mode"])) for p, st in there.items()
                         if st and p != self.mnt and os.path.dirname(p) == top}
                if len(os.path.relpath(top, self.mnt).split("/")) < 4:
                    self.assertEqual(known, names, "seed %d, %s, after %s" % (self.seed, top, self.log[-3:]))
            if i % 500 == 499:
                for fd in self.open.values():
                    os.close(fd)
                self.open.clear()
                self.vol.remount()


if __name__ == "__main__":
    unittest.main()
