# SPDX-License-Identifier: MIT
"""What files really take: foldfs du, the attributes user.foldfs.*, and df."""

import errno
import json
import os
import random
import subprocess
import sys
import unittest
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.case import MountCase, need_fold

MIB = 1 << 20
NAMES = ("logical", "stored", "unique", "shared", "ratio", "chunks", "fragments", "crc32")


def noise(seed, size):
    return random.Random(seed).randbytes(size)


def crc_of_zeros(count):
    """What zlib would say of `count` zero bytes, by squaring: a state times x^8 for each."""
    def times(a, b):
        total = 0
        for bit in range(31, -1, -1):
            total ^= b if a >> bit & 1 else 0
            b = b >> 1 ^ (0xEDB88320 if b & 1 else 0)
        return total

    state, power = 0xFFFFFFFF, 1 << 23
    while count:
        state = times(state, power) if count & 1 else state
        power = times(power, power)
        count >>= 1
    return state ^ 0xFFFFFFFF


@need_fold
class Usage(MountCase):
    def du(self, *names):
        out = self.vol.command("du", "--json", *(self.path(n) for n in names)).stdout
        answer = json.loads(out)
        return answer["paths"], answer["total"]

    def attr(self, name, key):
        return os.getxattr(self.path(name), "user.foldfs." + key).decode()

    def test_shared_and_unique(self):
        self.write("a", noise(1, 4 * MIB))
        self.write("b", noise(1, 4 * MIB))
        self.write("c", noise(2, 2 * MIB))
        (a, b, c), total = self.du("a", "b", "c")
        for row, size in ((a, 4 * MIB), (b, 4 * MIB), (c, 2 * MIB)):
            self.assertEqual((row["files"], row["size_bytes"], row["logical_bytes"]), (1, size, size))
            self.assertEqual(row["chunk_bytes"], size)
            self.assertGreater(row["stored_bytes"], size)
            self.assertLess(row["stored_bytes"], size * 1.02)
        self.assertEqual((a["unique_bytes"], a["shared_bytes"]), (0, a["stored_bytes"]))
        self.assertEqual(b["stored_bytes"], a["stored_bytes"])
        self.assertEqual((c["unique_bytes"], c["shared_bytes"]), (c["stored_bytes"], 0))
        self.assertEqual(total["logical_bytes"], 10 * MIB)
        self.assertEqual(total["stored_bytes"], a["stored_bytes"] + c["stored_bytes"])
        self.assertEqual(total["unique_bytes"], total["stored_bytes"])
        self.assertEqual(a["path"], self.path("a"))
        os.unlink(self.path("b"))
        (a,), _ = self.du("a")
        self.assertEqual(a["unique_bytes"], a["stored_bytes"])

    def test_within_one_file(self):
        self.write("twice", noise(3, 2 * MIB) * 2)
        (row,), _ = self.du("twice")
        self.assertEqual(row["logical_bytes"], 4 * MIB)
        self.assertLess(row["stored_bytes"], 2.2 * MIB)
        self.assertEqual(row["unique_bytes"], row["stored_bytes"])

    def test_directories_and_names(self):
        os.makedirs(self.path("top/deep/deeper"))
        self.write("top/one", noise(4, MIB))
        self.write("top/deep/deeper/two", noise(5, MIB))
        os.link(self.path("top/one"), self.path("top/deep/one-again"))
        os.link(self.path("top/one"), self.path("outside"))
        os.symlink("one", self.path("top/link"))
        (top, deep, link), total = self.du("top", "top/deep", "top/link")
        self.assertEqual((top["files"], deep["files"], link["files"]), (2, 2, 1))
        self.assertEqual(top["logical_bytes"], 2 * MIB)
        self.assertEqual(top["unique_bytes"], top["stored_bytes"])  # a name more is no file more
        self.assertEqual(total, {k: v for k, v in top.items() if k != "path"})
        self.write("copy", noise(5, MIB))
        (deep,), _ = self.du("top/deep")
        (two,), _ = self.du("top/deep/deeper/two")
        self.assertEqual(two["unique_bytes"], 0)
        self.assertEqual(deep["shared_bytes"], two["stored_bytes"])

    def test_holes_and_compression(self):
        with open(self.path("sparse"), "wb") as out:
            out.seek(1 << 30)
            out.write(noise(6, MIB))
        self.write("text", b"".join(b"line %d of a text\n" % i for i in range(100000)))
        self.write("empty", b"")
        (sparse, text, empty), _ = self.du("sparse", "text", "empty")
        self.assertEqual(sparse["size_bytes"], (1 << 30) + MIB)
        self.assertEqual(sparse["logical_bytes"], MIB)
        self.assertLess(text["stored_bytes"], text["logical_bytes"] / 2)
        self.assertGreater(float(self.attr("text", "ratio")), 2)
        self.assertEqual(empty["stored_bytes"], 0)
        self.assertEqual(self.attr("empty", "ratio"), "1.00")

    def test_unique_is_what_deleting_frees(self):
        os.mkdir(self.path("d"))
        for i in range(40):
            self.write("d/%d" % i, noise(100 + i, MIB) + noise(7, MIB))
            self.write("e%d" % i, noise(200 + i, MIB) + noise(7, MIB))
        (d,), _ = self.du("d")
        before = self.vol.stats()["stored_bytes"]
        for name in os.listdir(self.path("d")):
            os.unlink(self.path("d", name))
        self.vol.command("gc", "--full", self.mnt)
        freed = before - self.vol.stats()["stored_bytes"]
        self.assertGreater(d["unique_bytes"], 40 * MIB)
        self.assertLess(abs(freed - d["unique_bytes"]), before * 0.05)

    def test_attributes_agree(self):
        self.write("a", noise(8, 3 * MIB))
        self.write("b", noise(8, MIB) + noise(9, MIB))
        for name in ("a", "b"):
            (row,), _ = self.du(name)
            for key in ("logical", "stored", "unique", "shared"):
                self.assertEqual(int(self.attr(name, key)), row[key + "_bytes"], name + " " + key)
            self.assertEqual(int(self.attr(name, "chunks")), row["chunks"])
            self.assertEqual(int(self.attr(name, "fragments")), row["fragments"])
        self.assertLess(int(self.attr("a", "fragments")), 20)  # more than one segment is open
        self.assertGreater(int(self.attr("b", "fragments")), 1)

    def test_attributes_are_ours(self):
        path = self.write("f", b"x" * 5000)
        for key in NAMES:
            name = "user.foldfs." + key
            self.assertTrue(os.getxattr(path, name))
            self.assertEqual(self.errno_of(os.setxattr, path, name, b"1"), errno.EPERM)
            self.assertEqual(self.errno_of(os.removexattr, path, name), errno.EPERM)
            self.assertEqual(self.errno_of(os.getxattr, self.mnt, name), errno.ENODATA)
        self.assertEqual(os.listxattr(path), [])
        self.assertEqual(self.errno_of(os.getxattr, path, "user.foldfs.other"), errno.ENODATA)
        os.setxattr(path, "user.foldfsx", b"mine")
        self.assertEqual(os.listxattr(path), ["user.foldfsx"])
        os.chmod(path, 0o644)
        self.in_child(lambda: self.assertEqual(
            (self.errno_of(os.getxattr, path, "user.foldfs.unique"), self.attr("f", "chunks")),
            (errno.EPERM, "1")), uid=1000, gid=1000)

    def test_guesses_are_not_answered(self):
        """What a user may ask of a file of his own is the same whether or not others have its content."""
        secret, guess = noise(20, MIB), noise(21, 70000) + noise(20, MIB)
        os.chmod(self.mnt, 0o777)
        answers = []

        def ask(pipe):
            path = self.write("guess", guess)
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            for key in ("stored", "unique", "shared", "ratio", "fragments"):
                self.assertEqual(self.errno_of(os.getxattr, path, "user.foldfs." + key), errno.EPERM, key)
            own = [self.attr("guess", key) for key in ("logical", "chunks", "crc32")]
            os.write(pipe, repr((own, os.stat(path).st_blocks)).encode())

        for known in (False, True):
            if known:
                os.chmod(self.write("secret", secret), 0o600)
                self.vol.command("sync", self.mnt)
            reader, writer = os.pipe()
            self.in_child(lambda pipe=writer: ask(pipe), uid=1000, gid=1000)
            os.close(writer)
            with os.fdopen(reader, "rb") as pipe:
                answers.append(pipe.read())
            if known:  # it is shared indeed, and root is told
                self.assertGreater(int(self.attr("guess", "shared")), MIB // 2)
            os.unlink(self.path("guess"))
            self.vol.command("gc", "--full", self.mnt)
        self.assertEqual(answers[0], answers[1])

    def crc(self, name):
        return self.attr(name, "crc32")

    def test_checksum(self):
        """zlib's checksum of what a reader would get: stored or dirty, compressed, repeated, with holes."""
        text = b"".join(b"%d of many lines\n" % (i * i) for i in range(150000))
        contents = {"empty": b"", "short": b"123456789", "noise": noise(8, 3 * MIB + 77), "text": text,
                    "twice": noise(9, MIB) * 2, "zeros": bytes(5 * MIB + 1)}
        for name, data in contents.items():
            self.write(name, data)
        self.assertEqual(self.crc("short"), "cbf43926")
        for _ in range(2):
            for name, data in contents.items():
                self.assertEqual(self.crc(name), "%08x" % zlib.crc32(data), name)
            self.vol.remount()
        with open(self.path("noise"), "r+b", buffering=0) as file:
            file.seek(12345)
            file.write(b"dirty")
            changed = contents["noise"][:12345] + b"dirty" + contents["noise"][12350:]
            self.assertEqual(self.crc("noise"), "%08x" % zlib.crc32(changed))
            file.truncate(MIB)
            self.assertEqual(self.crc("noise"), "%08x" % zlib.crc32(changed[:MIB]))

    def test_checksum_of_holes(self):
        """Zeros at the end, between data and before it, as long as nobody would want to read."""
        with open(self.path("holes"), "wb", buffering=0) as file:
            file.seek(40 * MIB + 5)
            file.write(b"island")
            file.truncate(90 * MIB + 3)
        data = bytes(40 * MIB + 5) + b"island"
        want = zlib.crc32(bytes(50 * MIB + 3 - 5 - 6), zlib.crc32(data))
        self.assertEqual(self.crc("holes"), "%08x" % want)
        with open(self.path("vast"), "wb") as file:
            file.truncate(1 << 62)
        self.assertEqual(self.crc("vast"), "%08x" % crc_of_zeros(1 << 62))
        self.assertEqual(crc_of_zeros(12345), zlib.crc32(bytes(12345)))

    def test_checksum_is_for_readers(self):
        """Who may not read learns nothing of the content; who reads damage gets an error, not a value."""
        path = self.write("secret", noise(11, MIB))
        os.chmod(path, 0o600)
        self.in_child(lambda: self.assertEqual(self.errno_of(os.getxattr, path, "user.foldfs.crc32"), errno.EACCES),
                      uid=1000, gid=1000)
        self.write("fine", noise(12, MIB))
        self.vol.umount()
        at = noise(11, MIB)[500000:500016]
        folder = os.path.join(self.vol.store, "segments")
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "r+b") as file:
                place = file.read().find(at)
                if place >= 0:
                    file.seek(place)
                    file.write(b"no longer random")
        self.vol.mount()
        self.assertEqual(self.errno_of(os.getxattr, path, "user.foldfs.crc32"), errno.EIO)
        self.assertEqual(self.crc("fine"), "%08x" % zlib.crc32(noise(12, MIB)))
        os.unlink(path)

    def test_open_and_dirty(self):
        with open(self.path("f"), "wb", buffering=0) as out:
            out.write(noise(10, MIB))
            self.assertEqual(os.getxattr(out.fileno(), "user.foldfs.logical"), b"%d" % MIB)
            os.unlink(self.path("f"))
            self.assertEqual(os.getxattr(out.fileno(), "user.foldfs.logical"), b"%d" % MIB)

    def test_blocks_after_truncation(self):
        head = noise(12, 3 * MIB)
        for to in (0, 5000, 2 * MIB, 20 * MIB + 7, 100 * MIB, 150 * MIB):
            with open(self.path("big"), "w+b") as out:
                out.write(head)
                out.seek(8 * MIB)
                out.write(noise(13, 8 * MIB) * 15)
                out.flush()
                os.fsync(out.fileno())
                self.assertEqual(os.fstat(out.fileno()).st_blocks * 512, 123 * MIB)
                out.seek(0)
                out.read(64 * MIB)  # pages of the recipe are cached
                os.ftruncate(out.fileno(), to)
                os.fsync(out.fileno())
                want = min(to, 3 * MIB) + max(0, min(to, 128 * MIB) - 8 * MIB)
                self.assertLess(abs(os.fstat(out.fileno()).st_blocks * 512 - want), 4096)
                self.assertLess(abs(int(os.getxattr(out.fileno(), "user.foldfs.logical")) - want), 4096)
                os.ftruncate(out.fileno(), 40 * MIB)
                out.seek(to)
                self.assertEqual(out.read(40 * MIB).count(0), max(0, 40 * MIB - to))
                out.seek(0)
                self.assertEqual(out.read(min(to, len(head))), head[:to])
        before = self.vol.stats()["logical_bytes"]
        os.unlink(self.path("big"))
        self.assertEqual(self.vol.stats()["logical_bytes"], 0)
        self.assertGreater(before, 0)

    def test_table_and_errors(self):
        self.write("a name", noise(11, MIB))
        shown = self.vol.command("du", self.path("a name"), self.mnt).stdout.splitlines()
        self.assertEqual(len(shown), 4)
        self.assertTrue(shown[1].endswith("  " + self.path("a name")))
        self.assertTrue(shown[3].endswith("  total"))
        done = self.vol.command("du", self.path("missing"), check=False)
        self.assertEqual(done.returncode, 2)
        done = self.vol.command("du", "/", check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("not in a foldfs mount", done.stderr)

    def test_beside_collection_and_writers(self):
        for i in range(20):
            self.write("f%d" % i, noise(i, MIB))
        (want,), _ = self.du("f19")
        gc = subprocess.Popen(["sh", "-c", 'for i in 1 2 3 4 5; do "$0" gc --full "$1"; done',
                               os.path.abspath(self.vol_binary()), self.mnt], stdout=subprocess.DEVNULL)
        for i in range(19):
            os.unlink(self.path("f%d" % i))
            self.write("g", noise(1000 + i, MIB))
            (row,), _ = self.du("f19")
            self.assertEqual((row["stored_bytes"], row["unique_bytes"]),
                             (want["stored_bytes"], want["unique_bytes"]))
            self.assertEqual(self.attr("f19", "stored"), str(want["stored_bytes"]))
        self.assertEqual(gc.wait(), 0)

    @staticmethod
    def vol_binary():
        from lib.volume import FOLDFS
        return FOLDFS


@need_fold
class FreeSpace(MountCase):
    def test_figures(self):
        host, st = os.statvfs(self.vol.store), os.statvfs(self.mnt)
        reserve = min(64 * MIB, host.f_blocks * host.f_frsize // 16)
        self.assertLessEqual(st.f_bavail * st.f_frsize, host.f_bavail * host.f_frsize - reserve + 8 * MIB)
        self.assertLessEqual(st.f_bavail, st.f_bfree)
        self.assertLessEqual(st.f_bfree, st.f_blocks)
        self.assertLess(st.f_blocks, 1 << 52)
        self.assertEqual(st.f_files - st.f_ffree, 1)

    def used(self):
        st = os.statvfs(self.mnt)
        return (st.f_blocks - st.f_bfree) * st.f_frsize

    def test_used_is_what_the_volume_occupies(self):
        before = self.used()
        self.assertLess(before, 256 * MIB)
        self.write("a", noise(1, 32 * MIB))
        self.vol.command("sync", self.mnt)
        grown = self.used() - before
        self.assertGreater(grown, 30 * MIB)
        self.assertLess(grown, 50 * MIB)
        self.write("b", noise(1, 32 * MIB))
        self.vol.command("sync", self.mnt)
        self.assertLess(self.used() - before - grown, 4 * MIB)
        df = subprocess.run(["df", "--output=used,avail,size", self.mnt], capture_output=True, text=True, check=True)
        used, avail, size = map(int, df.stdout.split()[3:])
        self.assertLessEqual(used + avail, size)
        os.unlink(self.path("a"))
        os.unlink(self.path("b"))
        self.vol.command("gc", "--full", self.mnt)
        self.assertLess(self.used() - before, 8 * MIB)


if __name__ == "__main__":
    unittest.main()
