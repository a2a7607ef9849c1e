# SPDX-License-Identifier: MIT
"""The end of a mount: umount in every state of the daemon, mount(8) and umount(8), users other than root."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import time
import unittest

from lib.cli import FOLDFS, MOUNT, OK, OWN_MOUNTS, CliCase, daemon_of, foldfs, in_use, mounted


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

    def test_held_from_a_chroot(self):
        """The same by a process that does not see its copy of the mount: named within seconds."""
        self.mount()
        root = os.path.join(self.base, "root")
        os.mkdir(root)
        # It must not hold the mounts of tests that run at the same time.
        script = ('while read -r source point type rest; do '
                  'if [ "$type" = fuse.foldfs ] && [ "$point" != "$1" ]; then umount -l "$point"; fi; '
                  'done </proc/mounts; '
                  'mount -t tmpfs none "$2" && mkdir "$2/usr" && mount --bind /usr "$2/usr" && '
                  'ln -s usr/bin usr/lib usr/lib64 "$2" && echo in && exec chroot "$2" /bin/sleep 1000')
        holder = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", self.mnt,
                                   root], stdout=subprocess.PIPE)
        try:
            self.assertEqual(holder.stdout.readline(), b"in\n")
            while os.readlink(f"/proc/{holder.pid}/root") == "/":
                time.sleep(0.01)
            start = time.monotonic()
            done = foldfs("umount", self.mnt)
            self.assertLess(time.monotonic() - start, 8)
            self.assertEqual(done.returncode, MOUNT, done.stderr)
            self.assertIn(f"process {holder.pid} (sleep) by its mount namespace", done.stderr)
            self.bad(MOUNT, f"process {holder.pid} (sleep)", "mount", self.store, self.mnt)
        finally:
            holder.kill()
            holder.communicate()
        self.mount()
        self.good("umount", self.mnt)

    def test_held_by_a_bind_mount(self):
        """A second place of the same mount is named."""
        self.mount()
        os.mkdir(self.path("inner"))
        other = os.path.join(self.base, "other place")
        os.mkdir(other)
        subprocess.run(["mount", "--bind", self.path("inner"), other], check=True)
        self.bad(MOUNT, f"another mount of it on '{other}'", "umount", self.mnt)
        subprocess.run(["umount", "-i", other], check=True)
        self.mount()
        self.good("umount", self.mnt)

    def test_store_renamed(self):
        """The daemon is found by its mount, whatever became of the path of the store."""
        for opts in ("rw", "ro"):
            self.mount("-o", opts)
            moved = os.path.join(self.base, "moved\naway")
            os.rename(self.store, moved)
            # Another store of the old name must not be taken for this one.
            self.good("mkfs", self.store)
            self.assertEqual(json.loads(self.good("stats", "--json", self.store))["files"], 0)
            self.good("gc", self.store)
            self.good("fsck", self.store)
            other = os.path.join(self.base, "other")
            os.makedirs(other, exist_ok=True)
            self.mount_at(other)
            if opts == "rw":
                self.put("x", os.urandom(1 << 20))
                self.good("gc", self.mnt)
            self.good("sync", self.mnt)
            self.assertEqual(json.loads(self.good("stats", "--json", self.mnt))["files"], 1)
            self.assertEqual(json.loads(self.good("stats", "--json", other))["files"], 0)
            self.assertEqual(json.loads(self.good("stats", "--json", moved))["files"], 1)
            self.good("umount", self.mnt)
            self.assertFalse(in_use(moved))
            self.assertTrue(in_use(self.store))
            self.good("umount", other)
            shutil.rmtree(self.store)
            os.rename(moved, self.store)

    def mount_at(self, point):
        """The store, mounted elsewhere."""
        self.good("mount", self.store, point)

    def test_dead_beside_a_live_one(self):
        """The end of a dead mount does not wait for another daemon of the same store."""
        self.mount()
        self.kill_daemon()
        other = os.path.join(self.base, "other")
        os.mkdir(other)
        self.mount_at(other)
        start = time.monotonic()
        self.assertEqual(foldfs("umount", self.mnt).returncode, OK)
        self.assertLess(time.monotonic() - start, 10)
        self.assertTrue(in_use(self.store))
        self.good("umount", other)

    def test_three_at_once(self):
        """One of them does it; the others wait for the end as well."""
        for _ in range(5):
            self.mount()
            self.put("x", os.urandom(4 << 20))
            all_of_them = [subprocess.Popen([FOLDFS, "umount", self.mnt], stderr=subprocess.PIPE, text=True)
                           for _ in range(3)]
            codes = []
            for one in all_of_them:
                said = one.communicate(timeout=60)[1]
                codes.append(one.returncode)
                self.assertNotIn("Invalid argument", said)
                if one.returncode != OK:
                    self.assertEqual(one.returncode, MOUNT, said)
                    self.assertIn("no foldfs is mounted", said)
            self.assertIn(OK, codes)
            self.assertFalse(in_use(self.store))

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
        self.bad(MOUNT, "its daemon has died", "mount", self.store, self.mnt)
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


class Closing(CliCase):
    """A daemon that goes on after its mount has gone."""

    def detach(self):
        """umount2(2) and nothing else: umount(8) would ask the daemon."""
        if ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(self.mnt), 0) != 0:
            raise OSError(ctypes.get_errno(), "umount2")

    def test_the_next_one_waits(self):
        """Whatever needs the store waits for a daemon that is closing it."""
        after = {"mount": lambda: self.mount(), "fsck": lambda: self.good("fsck", self.store),
                 "stats": lambda: self.good("stats", self.store), "gc": lambda: self.good("gc", self.store),
                 "scrub": lambda: self.good("scrub", self.store), "sync": lambda: self.good("sync", self.store)}
        for verb, act in after.items():
            for opts in ("rw", "ro"):
                self.mount("-o", opts)
                if opts == "rw":
                    self.put(verb, os.urandom(3 << 20))
                self.detach()
                act()
                if verb == "mount":
                    with open(self.path("mount"), "rb") as file:
                        self.assertEqual(len(file.read()), 3 << 20)
                    self.good("umount", self.mnt)
        self.assertFalse(in_use(self.store))

    def test_said_when_it_takes_long(self):
        """It says whom it waits for, and goes on when that has ended."""
        self.mount()
        self.put("x", os.urandom(1 << 20))
        pid = daemon_of(self.store)
        os.kill(pid, signal.SIGSTOP)
        try:
            self.detach()
            waiting = subprocess.Popen([FOLDFS, "mount", self.store, self.mnt], stderr=subprocess.PIPE, text=True)
            time.sleep(2.5)
            self.assertIsNone(waiting.poll())
        finally:
            os.kill(pid, signal.SIGCONT)
        said = waiting.communicate(timeout=60)[1]
        self.assertEqual(waiting.returncode, OK, said)
        if said:
            self.assertIn(f"waiting for process {pid}, which is closing the store", said)
        self.assertNotEqual(daemon_of(self.store), pid)
        self.good("umount", self.mnt)

    def test_a_live_one_is_named_at_once(self):
        """A store in use is no reason to wait."""
        point = os.path.join(self.base, "point")
        os.mkdir(point)
        for opts in ("rw", "ro"):
            self.mount("-o", opts)
            start = time.monotonic()
            for args in (("mount", self.store, point), ("mount", "-f", self.store, point)):
                self.bad(MOUNT, f"is in use: it is mounted on '{self.mnt}'", *args)
            self.assertLess(time.monotonic() - start, 3)
            self.good("umount", self.mnt)


class Utab(CliCase):
    """The line by which umount(8) finds out that we have a helper."""

    def lines(self):
        """Lines of utab for our mount point."""
        try:
            with open("/run/mount/utab", encoding="utf-8", errors="surrogateescape") as file:
                return [line for line in file if f"TARGET={self.mnt} " in line]
        except FileNotFoundError:
            return []

    def test_there_while_mounted(self):
        """However the mount ends, the line goes with it."""
        endings = {
            "umount": lambda: self.good("umount", self.mnt),
            "lazy": lambda: self.good("umount", "-l", self.mnt),
            "signal": lambda: os.kill(daemon_of(self.store), signal.SIGTERM),
            "system call": lambda: subprocess.run(["umount", "-i", self.mnt], check=True),
            "death": self.die,
        }
        for name, end in endings.items():
            self.mount()
            if not self.lines():
                self.skipTest("built without libmount, or /run/mount cannot be written")
            self.assertEqual(len(self.lines()), 1, name)
            self.assertIn(f"SRC={self.store} ", self.lines()[0])
            self.assertIn("OPTS=uhelper=fuse.foldfs", self.lines()[0])
            end()
            limit = time.monotonic() + 30
            while self.lines() or in_use(self.store):
                self.assertLess(time.monotonic(), limit, name)
                time.sleep(0.01)

    def die(self):
        """kill -9, and an umount that finds it dead."""
        os.kill(daemon_of(self.store), signal.SIGKILL)
        while in_use(self.store):
            time.sleep(0.01)
        self.assertEqual(foldfs("umount", self.mnt).returncode, OK)


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

    def test_umount_by_an_absolute_path(self):
        """It returns when the store is closed, as with any other path."""
        self.in_namespace(f'for i in 1 2 3 4 5; do mount -t foldfs {self.store} {self.mnt}; '
                          f'head -c 8000000 /dev/urandom > {self.mnt}/x$i; umount {self.mnt}; '
                          f'flock --nonblock {self.store}/lock true; done')

    def test_fstab(self):
        """A line of fstab, with what systemd and others put there."""
        out = self.in_namespace(f'echo "{self.store} {self.mnt} foldfs '
                                'defaults,nofail,_netdev,nodiratime,lazytime,users,exec,x-systemd.device-timeout=5,'
                                'compress=zstd 0 0" > fstab\n'
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
