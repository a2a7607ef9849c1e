# SPDX-License-Identifier: MIT
"""The verbs on a real, daemonised mount: mounting, its options and failures, asking."""

import errno
import json
import os
import shutil
import signal
import subprocess
import time
import unittest

from lib.cli import FOLDFS, MOUNT, OK, OWN_MOUNTS, SYSTEM, USAGE, CliCase, daemon_of, foldfs, in_use, mounted


class Mounting(CliCase):
    """foldfs mount and umount when all is well."""

    def test_mount_answers_and_umount_closes(self):
        """No waiting is needed after either command."""
        for turn in range(4):
            self.mount()
            self.assertEqual(mounted(self.mnt), self.store)
            self.assertEqual(sorted(os.listdir(self.mnt)), [f"f{i}" for i in range(turn)])
            self.put(f"f{turn}", os.urandom(300000))
            self.good("umount", self.mnt)
            self.assertIsNone(mounted(self.mnt))
            self.assertEqual(daemon_of(self.store), 0)
            self.assertEqual(os.listdir(self.mnt), [])
            self.assertFalse(os.path.exists(os.path.join(self.store, "run/control")))

    def test_the_daemon_lets_go(self):
        """A session of its own, / as its directory, nothing but /dev/null as standard streams."""
        self.mount()
        pid = daemon_of(self.store)
        self.assertNotEqual(os.getsid(pid), os.getsid(0))
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
        for fd in range(3):
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/{fd}"), "/dev/null")

    def test_foreground_ends_with_the_mount(self):
        """-f stays, and ends with 0 after umount, after SIGTERM and after SIGINT."""
        for ending in ("umount", signal.SIGTERM, signal.SIGINT):
            daemon = subprocess.Popen([FOLDFS, "mount", "-f", self.store, self.mnt], stderr=subprocess.PIPE)
            self.addCleanup(daemon.stderr.close)
            self.wait_mounted(daemon, self.mnt)
            self.put("x")
            if ending == "umount":
                self.good("umount", self.mnt)
            else:
                daemon.send_signal(ending)
            self.assertEqual(daemon.wait(timeout=60), 0)
            self.assertIsNone(mounted(self.mnt))

    def test_closed_standard_descriptors(self):
        """Without standard streams nothing of the store gets their numbers, and the caller is told."""
        done = subprocess.run(["/bin/sh", "-c", f'exec {FOLDFS} mount "$0" "$1" <&- >&- 2>&-', self.store, self.mnt],
                              timeout=60, check=False)
        self.assertEqual(done.returncode, OK)
        pid = daemon_of(self.store)
        for fd in range(3):
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/{fd}"), "/dev/null")
        self.good("umount", self.mnt)

    def test_remounted_read_write(self):
        """What the kernel is told later does not make a read-only daemon write."""
        self.good("mount", self.store, self.mnt)
        self.put("x")
        path = self.path("x")
        self.good("umount", self.mnt)
        self.good("mount", "-o", "ro", self.store, self.mnt)
        subprocess.run(["mount", "-i", "-o", "remount,rw", self.mnt], check=True)
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
            with self.assertRaises(OSError) as caught:
                os.close(os.open(path, flags))
            self.assertEqual(caught.exception.errno, errno.EROFS)
        for change in (lambda: os.truncate(path, 0), lambda: os.link(path, path + "2"), lambda: os.unlink(path)):
            self.assertRaises(OSError, change)
        self.good("umount", self.mnt)

    def test_store_with_any_name(self):
        """Bytes of a path that are no UTF-8 do not keep a report from being JSON."""
        store = os.path.join(self.base, os.fsdecode(b"s\xff"))
        self.good("mkfs", store)
        self.assertEqual(json.loads(self.good("fsck", "--json", store))["problems"], [])
        self.good("mount", store, self.mnt)
        for verb in ("stats", "du", "scrub"):
            json.loads(self.good(verb, "--json", self.mnt))
        self.good("umount", self.mnt)

    def test_relative_and_linked_operands(self):
        """Names are resolved before the daemon changes its directory."""
        os.symlink("mnt", os.path.join(self.base, "link"))
        self.good("mount", "store", "./link/", cwd=self.base)
        self.assertEqual(mounted(self.mnt), self.store)
        self.put("x")
        self.good("stats", "link", cwd=self.base)
        self.good("sync", "mnt/../mnt", cwd=self.base)
        self.good("umount", "link", cwd=self.base)
        self.assertIsNone(mounted(self.mnt))

    def test_a_full_mount_point_is_hidden(self):
        """As mount(8): what was there comes back."""
        self.put("below")
        self.mount()
        self.assertEqual(os.listdir(self.mnt), [])
        self.good("umount", self.mnt)
        self.assertEqual(os.listdir(self.mnt), ["below"])

    def test_odd_and_long_names(self):
        """Blanks, commas, backslashes, bytes that are no text, paths longer than a socket address."""
        for name in ("a b\tc", "comma,ro,dev", "back\\040slash", "x" * 200, "\udcff\udcfe"):
            store = os.path.join(self.base, name)
            self.good("mkfs", store)
            self.good("mount", store, self.mnt)
            self.assertEqual(mounted(self.mnt), store)
            self.put("file")
            self.assertEqual(json.loads(self.good("stats", "--json", self.mnt))["files"], 1)
            self.good("sync", store)
            self.good("umount", self.mnt)
            self.assertEqual(daemon_of(store), 0)

    def test_two_volumes_at_once(self):
        """One daemon each."""
        other, point = os.path.join(self.base, "other"), os.path.join(self.base, "point")
        os.mkdir(point)
        self.good("mkfs", other)
        self.mount()
        self.good("mount", other, point)
        self.put("one")
        self.assertEqual(os.listdir(point), [])
        self.good("umount", self.mnt)
        self.assertEqual(os.listdir(point), [])
        self.good("umount", point)


class Printing(CliCase):
    """Names of others as they are printed: nothing in them reaches the terminal."""

    NAME = "\x1b]0;title\x07\nerror: \u202etxt\udcff"
    SHOWN = r"\033]0;title\007\012error: \342\200\256txt\377"

    def run_all(self, *args):
        """Whatever comes of it, what is printed must be harmless, and name what it is about."""
        done = foldfs(*args)
        for text in (done.stdout, done.stderr):
            for char in text.replace("\n", ""):
                self.assertTrue(char.isprintable(), (args, text))
        return done.stdout + done.stderr

    def rot(self, store):
        """Damages the one large file."""
        for name in os.listdir(os.path.join(store, "segments")):
            segment = os.path.join(store, "segments", name)
            if os.path.getsize(segment) > 200000:
                with open(segment, "r+b") as file:
                    file.seek(100000)
                    file.write(b"\0" * 10)

    def test_names(self):
        """In tables, in reports about damage, in complaints about operands."""
        self.mount()
        self.put(self.NAME, os.urandom(300000))
        path = self.path(self.NAME)
        self.assertIn(self.SHOWN, self.run_all("du", path))
        self.assertIn(self.SHOWN, self.run_all("du", path + "x"))
        self.good("umount", self.mnt)
        self.rot(self.store)
        self.assertIn(self.SHOWN, self.run_all("fsck", "--data", self.store))
        for args in (("umount", self.NAME), ("stats", self.NAME), ("mount", self.NAME, self.mnt), ("mkfs", self.store, self.NAME),
                     ("mount", "-o", self.NAME, self.store, self.mnt), ("gc", self.NAME), (self.NAME,), ("help", self.NAME)):
            self.run_all(*args)
        valid = self.NAME[:-1]
        store = os.path.join(self.base, valid)
        self.run_all("mkfs", store)
        self.run_all("mkfs", store)
        self.run_all("mount", store, self.mnt)
        self.put(valid, os.urandom(300000))
        self.run_all("mount", store, self.mnt)
        self.run_all("umount", self.mnt)
        self.run_all("fsck", store)
        self.rot(store)
        self.assertIn(self.SHOWN[:-4], self.run_all("scrub", store))


class MountOptions(CliCase):
    """What -o does."""

    def flags(self):
        """The options the kernel shows."""
        with open("/proc/self/mounts", encoding="utf-8") as lines:
            return [line.split()[3].split(",") for line in lines if line.split()[1] == self.mnt][-1]

    def test_read_only(self):
        """Nothing changes, neither in the mount nor in the store."""
        self.mount()
        self.put("x", b"12345" * 1000)
        self.good("umount", self.mnt)
        def image():
            return {os.path.join(folder, name): os.stat(os.path.join(folder, name)).st_mtime_ns
                    for folder, _, names in os.walk(self.store) for name in names if "run" not in folder}
        before = image()
        self.mount("-o", "ro")
        self.assertIn("ro", self.flags())
        self.good("sync", self.mnt)
        with self.assertRaises(OSError) as caught:
            self.put("y")
        self.assertEqual(caught.exception.errno, 30)
        with open(self.path("x"), "rb") as file:
            self.assertEqual(file.read(), b"12345" * 1000)
        stats = json.loads(self.good("stats", "--json", self.mnt))
        self.assertEqual(stats["files"], 1)
        self.good("umount", self.mnt)
        self.assertEqual(daemon_of(self.store), 0)
        self.assertEqual(image(), before)
        point = os.path.join(self.base, "point")
        os.mkdir(point)
        self.mount("-o", "ro")
        self.good("mount", "-o", "ro", self.store, point)
        self.assertEqual(os.listdir(point), ["x"])
        self.bad(MOUNT, "busy", "mount", self.store, point)
        self.good("umount", self.mnt)
        self.assertEqual(os.listdir(point), ["x"])
        self.good("umount", point)

    def test_read_only_and_a_tmp_cleaner(self):
        """Nothing it needs lies in a temporary directory, where old files are deleted, nor stays there after kill -9."""
        self.mount("-o", "commit=300")
        for i in range(300):
            os.mkdir(self.path(f"d{i}"))
            self.put(f"d{i}/f", b"%d" % i * 5000)
        os.kill(daemon_of(self.store), signal.SIGKILL)  # so the journal has work for the next mount
        while in_use(self.store):
            time.sleep(0.01)
        foldfs("umount", self.mnt)
        tmp = os.path.join(self.base, "tmp")
        os.mkdir(tmp)
        self.good("mount", "-o", "ro,index_cache=16M", self.store, self.mnt, env=dict(os.environ, TMPDIR=tmp))
        self.assertEqual(os.listdir(tmp), [])
        shutil.rmtree(tmp)
        for i in range(300):
            with open(self.path(f"d{i}/f"), "rb") as file:
                self.assertEqual(file.read(), b"%d" % i * 5000)
        self.assertEqual(json.loads(self.good("stats", "--json", self.mnt))["files"], 300)
        self.good("du", self.mnt)
        self.good("umount", self.mnt)

    def test_defaults_of_root(self):
        """allow_other, set-id bits and devices; the kernel checks permissions."""
        self.mount()
        flags = self.flags()
        for flag in ("rw", "allow_other", "default_permissions"):
            self.assertIn(flag, flags)
        for flag in ("nosuid", "nodev", "noexec"):
            self.assertNotIn(flag, flags)

    def test_flags_reach_the_kernel(self):
        """Several -o add up."""
        self.mount("-o", "nosuid,nodev", "-o", "noexec,noallow_other,noatime,x-test,nofail")
        flags = self.flags()
        for flag in ("nosuid", "nodev", "noexec"):
            self.assertIn(flag, flags)
        self.assertNotIn("allow_other", flags)

    def test_tuning_is_accepted(self):
        """Every option with a value works on a mount."""
        for opts in ("index_cache=64M,chunk_cache=16M,dirty_bytes=32M,commit=1,threads=1,workers=1",
                     "verify=always,compress=zstd,readahead=0,max_read=64K", "verify=none,compress=none,strictatime"):
            self.mount("-o", opts)
            data = os.urandom(1000) * 3000
            self.put("x", data)
            with open(self.path("x"), "rb") as file:
                self.assertEqual(file.read(), data)
            self.good("umount", self.mnt)

    def test_bad_options(self):
        """A sentence, code 1, no mount."""
        for opts in ("frobnicate", "commit=0", "index_cache=12Q", "verify=maybe", "ro=yes", "remount", "nosymfollow"):
            self.bad(USAGE, opts.split("=")[0], "mount", "-o", opts, self.store, self.mnt)
            self.assertIsNone(mounted(self.mnt))


    @unittest.skipIf(os.path.exists("/sys/fs/selinux/enforce"), "SELinux is in use")
    def test_labels_without_selinux(self):
        """Said before anything is mounted."""
        self.bad(USAGE, "needs SELinux", "mount", "-o", 'context="a:b:c:s0:c1,c2",ro', self.store, self.mnt)
        self.assertIsNone(mounted(self.mnt))


class MountFailures(CliCase):
    """Stores and mount points that cannot be used; no daemon is left behind."""

    def tearDown(self):
        self.assertIsNone(mounted(self.mnt))

    def test_locked(self):
        """One writer at a time; a reader cannot join it either."""
        point = os.path.join(self.base, "point")
        os.mkdir(point)
        self.mount()
        self.bad(MOUNT, "in use", "mount", self.store, point)
        self.bad(MOUNT, "in use", "mount", "-f", self.store, point)
        self.bad(MOUNT, "in use", "mount", "-o", "ro", self.store, point)
        self.assertIsNone(mounted(point))
        self.put("still-alive")
        self.good("umount", self.mnt)
        self.good("mount", self.store, point)
        self.assertEqual(os.listdir(point), ["still-alive"])
        self.good("umount", point)

    def test_busy_mount_point(self):
        """A second volume does not hide the first."""
        other = os.path.join(self.base, "other")
        self.good("mkfs", other)
        self.mount()
        self.bad(MOUNT, "is busy", "mount", other, self.mnt)
        self.bad(MOUNT, "is busy", "mount", self.store, self.mnt)
        self.good("umount", self.mnt)

    def test_damaged_superblock(self):
        """One copy is survived, two are not."""
        for name in ("volume", "volume.bak"):
            with open(os.path.join(self.store, name), "r+b") as file:
                size = os.fstat(file.fileno()).st_size
                file.write(b"\xa5" * size)
            if name == "volume":
                done = foldfs("mount", self.store, self.mnt)
                self.assertEqual(done.returncode, 0)
                self.assertIn("superblock", done.stderr)
                self.good("umount", self.mnt)
                with open(os.path.join(self.store, name), "r+b") as file:
                    file.write(b"\xa5" * size)
        self.bad(MOUNT, self.store, "mount", self.store, self.mnt)

    def test_missing_parts(self):
        """A store that lost a directory says so, and does not mount."""
        shutil.rmtree(os.path.join(self.store, "catalog"))
        done = foldfs("mount", self.store, self.mnt)
        self.assertIn(done.returncode, (SYSTEM, MOUNT))
        self.assertIn(self.store, done.stderr)

    def test_no_fuse_device(self):
        """Without /dev/fuse."""
        script = 'mount -t tmpfs none /dev && exec "$@"'
        done = foldfs("mount", self.store, self.mnt, prefix=(*OWN_MOUNTS, "sh", "-c", script, "sh"))
        self.assertEqual(done.returncode, SYSTEM, done.stderr)
        self.assertIn("/dev/fuse", done.stderr)
        self.assertIn("modprobe fuse", done.stderr)

    def test_no_permission(self):
        """A stranger reaches neither the store nor its mount."""
        stranger = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
        self.bad(USAGE, "no permission", "mount", self.store, self.mnt, prefix=stranger)
        self.mount()
        self.bad(USAGE, "no permission", "stats", self.mnt, prefix=stranger)
        self.bad(USAGE, "no permission", "sync", self.store, prefix=stranger)
        self.assertEqual(mounted(self.mnt), self.store)
        self.good("umount", self.mnt)

    def test_no_capability(self):
        """Root that may not mount is told so."""
        weak = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--")
        done = foldfs("mount", self.store, self.mnt, prefix=weak)
        self.assertEqual(done.returncode, USAGE, done.stderr)
        self.assertIn("ermi", done.stderr)

    def test_store_on_a_read_only_filesystem(self):
        """Refused with the way out; the way out works, and the statistics too."""
        script = ('mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"')
        prefix = (*OWN_MOUNTS, "sh", "-c", script, "sh", self.store)
        done = foldfs("mount", self.store, self.mnt, prefix=prefix)
        self.assertEqual(done.returncode, MOUNT, done.stderr)
        self.assertIn("-o ro", done.stderr)
        done = foldfs("stats", "--json", self.store, prefix=prefix)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        script = ('mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && '
                  '"$1" mount -o ro "$2" "$3" && ls "$3" && "$1" umount "$3"')
        done = subprocess.run([*OWN_MOUNTS, "sh", "-c", script, "sh", self.store, FOLDFS, self.store, self.mnt],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)


class Asking(CliCase):
    """stats and sync."""

    KEYS = {"uuid", "files", "directories", "logical_bytes", "unique_bytes", "stored_bytes", "segment_bytes",
            "catalog_bytes", "garbage_bytes", "chunks", "mean_chunk_bytes", "dedup_ratio", "compress_ratio",
            "total_ratio", "kernel_level", "ingest"}
    INGEST = {"bytes_in", "zero_bytes", "duplicate_bytes", "verified_bytes", "filter_probes", "filter_negatives",
              "filter_false_positives", "locality_hits", "index_lookups"}

    def stats(self, where):
        """The statistics as a dictionary."""
        return json.loads(self.good("stats", "--json", where))

    def test_stats_follow_the_data(self):
        """Live by mount point and by store, then of the closed store."""
        self.mount()
        block = os.urandom(1 << 20)
        os.mkdir(self.path("dir"))
        for name in ("a", "b", "dir/c"):
            self.put(name, block)
            self.good("sync", self.mnt)
        live = self.stats(self.mnt)
        self.assertLessEqual(self.KEYS, set(live))
        self.assertLessEqual(self.INGEST, set(live["ingest"]))
        self.assertEqual(live["files"], 3)
        self.assertEqual(live["logical_bytes"], 3 << 20)
        self.assertLess(live["unique_bytes"], 1.2 * (1 << 20))
        self.assertGreater(live["dedup_ratio"], 2.5)
        self.assertEqual(live["ingest"]["bytes_in"], 3 << 20)
        self.assertGreater(live["ingest"]["duplicate_bytes"], 1.8 * (1 << 20))
        self.assertGreater(live["kernels"]["cdc"]["calls"], 0)
        self.assertEqual(self.stats(self.store)["logical_bytes"], 3 << 20)
        text = self.good("stats", self.mnt)
        self.assertIn("saved by dedup", text)
        self.assertIn("3.0 MiB", text)
        self.good("umount", self.mnt)
        closed = self.stats(self.store)
        for key in ("uuid", "files", "directories", "logical_bytes", "unique_bytes", "stored_bytes", "chunks"):
            self.assertEqual(closed[key], live[key], key)
        self.assertFalse(closed["mounted"])

    def test_sync_makes_durable(self):
        """What was synced survives the death of the daemon in any case."""
        self.mount("-o", "commit=300")
        with open(self.path("open"), "wb", buffering=0) as out:
            out.write(b"synced")
            self.good("sync", self.mnt)
            daemon = daemon_of(self.store)
            os.kill(daemon, signal.SIGKILL)
            end = time.monotonic() + 30
            while os.path.exists("/proc/%d/fd/0" % daemon) and time.monotonic() < end:
                time.sleep(0.01)  # until then the kernel takes the mount for a busy one
            foldfs("umount", self.mnt)
            try:
                out.close()
            except OSError:
                pass
        self.mount()
        with open(self.path("open"), "rb") as file:
            self.assertEqual(file.read(), b"synced")
        self.good("umount", self.mnt)

    def test_many_askers(self):
        """Statistics while others write and ask."""
        self.mount()
        askers = [subprocess.Popen([FOLDFS, "stats", "--json", self.mnt], stdout=subprocess.PIPE)
                  for _ in range(16)]
        for i in range(50):
            self.put(f"f{i}", os.urandom(10000))
        for asker in askers:
            out, _ = asker.communicate(timeout=60)
            self.assertEqual(asker.returncode, 0)
            self.assertIn("uuid", json.loads(out))
        self.good("umount", self.mnt)


if __name__ == "__main__":
    unittest.main()
