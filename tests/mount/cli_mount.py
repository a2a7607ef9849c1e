# SPDX-License-Identifier: MIT
"""The verbs on a real, daemonised mount: what users and mount(8) do, and everything that can go wrong."""

import errno
import fcntl
import glob
import json
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
        for opts in ("frobnicate", "commit=0", "index_cache=12Q", "verify=maybe", "ro=yes", "remount"):
            self.bad(USAGE, opts.split("=")[0], "mount", "-o", opts, self.store, self.mnt)
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


class Unmounting(CliCase):
    """umount in every state of the daemon."""

    def test_busy(self):
        """Said after a moment; the mount goes on."""
        self.mount()
        with open(self.path("open"), "wb") as out:
            self.bad(MOUNT, "busy", "umount", self.mnt)
            out.write(b"x")
        self.good("umount", self.mnt)

    def test_busy_for_a_moment(self):
        """Somebody who is just leaving is not in the way."""
        self.mount()
        for _ in range(5):
            leaving = subprocess.Popen(["/bin/sh", "-c", 'cd "$0" && echo in && sleep 0.1', self.mnt],
                                       stdout=subprocess.PIPE)
            self.assertEqual(leaving.stdout.readline(), b"in\n")
            self.good("umount", self.mnt)
            leaving.communicate()
            self.mount()
        self.good("umount", self.mnt)

    def test_lazy(self):
        """Detached at once, alive for those inside, closed after the last."""
        self.mount()
        with open(self.path("open"), "wb") as out:
            self.good("umount", "-l", self.mnt)
            self.assertIsNone(mounted(self.mnt))
            out.write(b"late")
            out.flush()
            self.assertNotEqual(daemon_of(self.store), 0)
        end = time.monotonic() + 30
        while in_use(self.store):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        self.mount()
        with open(self.path("open"), "rb") as file:
            self.assertEqual(file.read(), b"late")
        self.good("umount", self.mnt)

    def test_held_by_another_namespace(self):
        """A copy of the mount in another mount namespace keeps the daemon: said, and not waited for."""
        self.mount()
        self.put("kept", b"kept" * 1000)
        # It must not hold the mounts of tests that run at the same time.
        script = ('while read -r source point type rest; do '
                  'if [ "$type" = fuse.foldfs ] && [ "$point" != "$1" ]; then umount -l "$point"; fi; '
                  'done </proc/mounts; echo in; exec sleep 1000')
        holder = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", self.mnt],
                                  stdout=subprocess.PIPE)
        try:
            self.assertEqual(holder.stdout.readline(), b"in\n")
            done = foldfs("umount", self.mnt)
            self.assertEqual(done.returncode, MOUNT, done.stderr)
            self.assertIn("still has the volume mounted", done.stderr)
            self.assertIsNone(mounted(self.mnt))
            self.assertNotEqual(daemon_of(self.store), 0)
        finally:
            holder.kill()
            holder.communicate()
        end = time.monotonic() + 60
        while in_use(self.store):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        self.mount()
        with open(self.path("kept"), "rb") as file:
            self.assertEqual(file.read(), b"kept" * 1000)
        self.good("umount", self.mnt)

    def kill_daemon(self):
        """kill -9, waited for."""
        pid = daemon_of(self.store)
        os.kill(pid, signal.SIGKILL)
        while in_use(self.store):
            time.sleep(0.01)

    def test_dead_daemon(self):
        """Found out and detached; the next mount has what close had acknowledged."""
        self.mount()
        self.put("kept", b"kept" * 1000)
        self.kill_daemon()
        self.bad(MOUNT, "busy", "mount", self.store, self.mnt)
        done = foldfs("umount", self.mnt)
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertIn("had died", done.stderr)
        self.assertIsNone(mounted(self.mnt))
        self.mount()
        with open(self.path("kept"), "rb") as file:
            self.assertEqual(file.read(), b"kept" * 1000)
        self.good("umount", self.mnt)

    def test_dead_daemon_in_use(self):
        """Open files do not hold up the end of a dead mount."""
        self.mount()
        with open(self.path("open"), "wb") as out:
            self.kill_daemon()
            done = foldfs("umount", self.mnt)
            self.assertEqual(done.returncode, OK, done.stderr)
            self.assertIsNone(mounted(self.mnt))
            try:
                out.close()
            except OSError:
                pass

    def test_stopped_daemon(self):
        """Waiting has an end, and nothing is lost when it wakes."""
        self.mount()
        self.put("kept")
        pid = daemon_of(self.store)
        os.kill(pid, signal.SIGSTOP)
        try:
            start = time.monotonic()
            self.bad(MOUNT, "does not answer", "umount", "--timeout", 2, self.mnt)
            self.assertLess(time.monotonic() - start, 30)
        finally:
            os.kill(pid, signal.SIGCONT)
        self.good("umount", self.mnt)
        self.mount()
        self.assertEqual(os.listdir(self.mnt), ["kept"])
        self.good("umount", self.mnt)

    def test_nothing_mounted(self):
        """A plain directory, a store, nothing at all, another filesystem."""
        for path in (self.mnt, self.store, os.path.join(self.base, "none"), "/proc"):
            self.bad(MOUNT, "no foldfs is mounted", "umount", path)

    def test_much_unwritten_data(self):
        """What was written just before is there after."""
        self.mount()
        data = os.urandom(1 << 20)
        for i in range(48):
            self.put(f"f{i}", bytes([i]) * 100 + data)
        self.good("umount", self.mnt)
        self.mount()
        for i in range(48):
            with open(self.path(f"f{i}"), "rb") as file:
                self.assertEqual(file.read(), bytes([i]) * 100 + data)
        self.good("umount", self.mnt)


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


class SystemTools(CliCase):
    """mount(8), umount(8) and mkfs(8) with the links in /sbin, in a mount namespace of our own."""

    def in_namespace(self, script):
        """Runs a shell script where /usr/sbin holds the links; skips where that cannot be had."""
        for name in ("upper", "work"):
            os.mkdir(os.path.join(self.base, name))
        setup = (f'cd {self.base} && mount -t tmpfs none work && mkdir work/u work/w && '
                 'sbin=$(realpath /sbin) && '
                 'mount -t overlay -o lowerdir=$sbin,upperdir=work/u,workdir=work/w overlay $sbin || exit 77\n'
                 'for link in mkfs.foldfs mount.foldfs umount.fuse.foldfs; do '
                 f'ln -s {FOLDFS} $sbin/$link || exit 77; done\n')
        done = subprocess.run([*OWN_MOUNTS, "sh", "-ec", setup + script], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120, check=False)
        if done.returncode == 77:
            self.skipTest("no overlay over /sbin: " + done.stderr)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_mkfs_mount_umount(self):
        """The three tools find us."""
        out = self.in_namespace('mkfs -t foldfs other && mount -t foldfs -o noatime,nodev other mnt && '
                                'echo hello > mnt/x && sync && umount mnt && ls mnt && '
                                'mount -t foldfs -o ro other mnt && cat mnt/x && umount mnt && '
                                '! mount -t foldfs -o frob other mnt && ! mount -t foldfs none mnt')
        self.assertIn("hello", out)

    def test_fstab(self):
        """A line of fstab, with what systemd and others put there."""
        out = self.in_namespace(f'echo "{self.store} {self.mnt} foldfs '
                                'defaults,nofail,_netdev,x-systemd.device-timeout=5,compress=zstd 0 0" > fstab\n'
                                f'mount -T fstab {self.mnt} && findmnt -n -o FSTYPE,SOURCE {self.mnt} && '
                                f'umount {self.mnt} && {FOLDFS} stats {self.store}')
        self.assertIn(f"fuse.foldfs {self.store}", out)


@unittest.skipUnless(os.path.exists("/usr/bin/fusermount3") and os.stat("/usr/bin/fusermount3").st_mode & 0o4000
                     and os.stat("/dev/fuse").st_mode & 0o006 == 6, "users may not mount here")
class Unprivileged(CliCase):
    """A user with a store of their own."""

    def test_own_store(self):
        """Everything works without root, and root is kept out by the kernel alone."""
        user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
        home = os.path.join(self.base, "home")
        os.mkdir(home)
        os.chown(home, 65534, 65534)
        store, mnt = os.path.join(home, "store"), os.path.join(home, "mnt")
        os.mkdir(mnt)
        os.chown(mnt, 65534, 65534)
        self.good("mkfs", store, prefix=user)
        self.good("mount", store, mnt, prefix=user)
        subprocess.run([*user, "sh", "-c", f"echo hello > {mnt}/x && cat {mnt}/x"], check=True, capture_output=True)
        stats = json.loads(self.good("stats", "--json", mnt, prefix=user))
        self.assertEqual(stats["files"], 1)
        self.good("umount", mnt, prefix=user)
        self.assertIsNone(mounted(mnt))
        for ending in (signal.SIGTERM, signal.SIGINT):
            daemon = subprocess.Popen([*user, FOLDFS, "mount", "-f", store, mnt], stderr=subprocess.DEVNULL)
            self.wait_mounted(daemon, mnt)
            daemon.send_signal(ending)
            self.assertEqual(daemon.wait(timeout=60), 0)
            self.assertIsNone(mounted(mnt))


if __name__ == "__main__":
    unittest.main()
