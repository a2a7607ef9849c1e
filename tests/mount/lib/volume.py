# SPDX-License-Identifier: MIT
"""One foldfs volume under test: its store, its mount point and its daemon.

The daemon runs in the foreground as our child, so that it can be killed exactly and its log read. A reaper process
in a session of its own holds the other end of a pipe; when the test dies by whatever cause, the pipe closes and the
reaper takes the mount, the daemon and the temporary directory away. With FOLD_PLAIN=1 a plain directory of the host
stands in for the mount, so that the tests themselves can be checked against another filesystem.

Environment: FOLDFS (the binary), TMPDIR, FOLD_PLAIN, FOLD_KEEP (leave the temporary directory of a failure behind).
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
FOLDFS = os.environ.get("FOLDFS", os.path.join(ROOT, "build", "release", "foldfs"))
PLAIN = os.environ.get("FOLD_PLAIN") == "1"
LONG = os.environ.get("FOLDFS_TEST_LONG") == "1"

REAPER = r"""
read -r ignored
kill -9 $(cat "$1/daemon.pid" 2>/dev/null) 2>/dev/null
umount -l "$1/mnt" 2>/dev/null
rm -rf "$1"
"""


def draw_knobs(rng):
    """Limits for the program foldfs_knobs: about half of all there are, each between its least and its standard value."""
    drawn = []
    with open(os.path.join(ROOT, "meta", "base", "knob.def")) as file:
        for name, standard, least in re.findall(r"^FOLD_KNOB\((\w+), ([^,]+), ([^,]+),", file.read(), re.M):
            low, high = (eval(re.sub(r"(?<=\d)[uUlL]+", "", text)) for text in (least, standard))  # sums of numbers
            if rng.random() < 0.5:
                drawn.append("%s=%d" % (name, min(high, max(low, int((low + 1) * ((high + 1) / (low + 1)) ** rng.random())))))
    return ",".join(drawn)


class VolumeError(Exception):
    """A foldfs command failed where the test expected it to work."""


def scratch_root():
    """The directory temporary volumes live below: on disk, not in memory."""
    return os.environ.get("TMPDIR") or "/var/tmp"


class Volume:
    """A formatted store with a mount point; use as a context manager or call close()."""

    def __init__(self, mkfs_args=(), mount_opts="", env=None, mount=True, knobs="", made=True):
        self.base = tempfile.mkdtemp(prefix="foldfs-test-", dir=scratch_root())
        os.chmod(self.base, 0o755)
        self.store = os.path.join(self.base, "store")
        self.mnt = os.path.join(self.base, "mnt")
        self.log_path = os.path.join(self.base, "log")
        self.mount_opts = mount_opts
        self.env = dict(os.environ, **(env or {}))
        self.program = FOLDFS
        if knobs: # the program that takes smaller limits
            self.env["FOLDFS_KNOBS"] = knobs
            self.program = os.path.join(os.environ.get("FOLD_TEST_BIN") or
                                        os.path.join(os.path.dirname(FOLDFS), "tests", "mount"), "foldfs_knobs")
        self.env.setdefault("TSAN_OPTIONS", "suppressions=" + os.path.join(ROOT, "tests", "support", "tsan.supp"))
        self.daemon = None
        self.failures = []
        os.mkdir(self.mnt)
        self._start_reaper()
        try:
            if made and not PLAIN:
                self.command("mkfs", *mkfs_args, self.store)
            if mount:
                self.mount()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close(keep=kind is not None and bool(os.environ.get("FOLD_KEEP")))

    def _start_reaper(self):
        self._reaper = subprocess.Popen(
            ["/bin/sh", "-c", REAPER, "reaper", self.base], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/")

    # Commands.

    def command(self, *args, timeout=120, check=True):
        """Runs `foldfs ARGS`; returns the finished process with text output."""
        done = subprocess.run([self.program, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout, env=self.env)
        if check and done.returncode != 0:
            raise VolumeError("foldfs %s: exit %d: %s" % (" ".join(map(str, args)), done.returncode,
                                                         done.stderr.strip()))
        return done

    def mount(self, opts=None, wait_s=60):
        """Starts the daemon and returns when the mount answers."""
        if PLAIN:
            return
        if self.daemon:
            raise VolumeError("already mounted")
        opts = self.mount_opts if opts is None else opts
        words = ["allow_other"] + ([opts] if opts else [])
        log = open(self.log_path, "ab")
        self.daemon = subprocess.Popen(
            [self.program, "mount", "-f", "-o", ",".join(words), self.store, self.mnt],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, cwd="/")
        log.close()
        with open(os.path.join(self.base, "daemon.pid"), "w") as out:
            out.write("%d\n" % self.daemon.pid)
        end = time.monotonic() + wait_s
        while not os.path.ismount(self.mnt):
            if self.daemon.poll() is not None:
                code, self.daemon = self.daemon.returncode, None
                raise VolumeError("mount failed with %d:\n%s" % (code, self.log_tail()))
            if time.monotonic() > end:
                self.kill9()
                raise VolumeError("mount did not answer in %d s:\n%s" % (wait_s, self.log_tail()))
            time.sleep(0.005)
        os.statvfs(self.mnt)

    def umount(self, timeout=120):
        """Unmounts and checks that the daemon ended well."""
        if PLAIN or not self.daemon:
            return
        try:
            self.command("umount", self.mnt, timeout=timeout)
            code = self.daemon.wait(timeout=timeout)
        except (subprocess.TimeoutExpired, VolumeError) as error:
            stacks = self.stacks()
            self.kill9()
            raise VolumeError("umount failed: %s\n%s\n%s" % (error, self.log_tail(), stacks))
        self.daemon = None
        if code != 0:
            raise VolumeError("the daemon ended with %d:\n%s" % (code, self.log_tail()))

    def remount(self, opts=None):
        """A clean unmount and a new mount."""
        self.umount()
        self.mount(opts)

    def kill9(self):
        """Kills the daemon as a crash would and takes the dead mount away."""
        if PLAIN or not self.daemon:
            return
        self.daemon.send_signal(signal.SIGKILL)
        try:
            self.daemon.wait(timeout=30)
        except subprocess.TimeoutExpired:  # one of its threads waits for the kernel, which waits for the daemon
            subprocess.run(["umount", "-f", self.mnt], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.daemon.wait()
        self.daemon = None
        for _ in range(200):
            if subprocess.run(["umount", "-l", self.mnt], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0:
                continue
            break

    def stats(self):
        """The answer of `foldfs stats --json` as a dictionary."""
        where = self.mnt if self.daemon else self.store
        return json.loads(self.command("stats", "--json", where).stdout)

    # What the daemon did.

    def alive(self):
        """True while the daemon runs (always for a plain directory)."""
        return PLAIN or (self.daemon is not None and self.daemon.poll() is None)

    def rss_bytes(self):
        """Resident anonymous memory of the daemon, mappings of files not counted."""
        with open("/proc/%d/status" % self.daemon.pid) as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
        return 0

    def log(self):
        """Everything the daemons of this volume said."""
        try:
            with open(self.log_path, errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=40):
        """The end of the log."""
        return "\n".join(self.log().splitlines()[-lines:])

    def complaints(self):
        """Lines of the log that sanitizers or assertions wrote."""
        marks = ("Sanitizer", "runtime error:", "Assertion", "assertion", "rank inversion")
        return [line for line in self.log().splitlines() if any(mark in line for mark in marks)]

    def stacks(self):
        """What every thread of the daemon is doing, where a debugger is installed."""
        if not shutil.which("gdb") or not self.daemon:
            return ""
        return subprocess.run(["gdb", "-p", str(self.daemon.pid), "-batch", "-ex", "thread apply all bt 14"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace").stdout

    def path(self, *parts):
        """A path inside the mount."""
        return os.path.join(self.mnt, *parts)

    def hook(self):
        """A shell command that other programs run to have this volume remounted; see serve_hooks."""
        return "echo go > %s/ask && read x < %s/done" % (self.base, self.base)

    def serve_hooks(self, process, action=None):
        """Runs `action` (default: remount) each time hook() is called, until `process` ends."""
        action = action or self.remount
        ask, done = os.path.join(self.base, "ask"), os.path.join(self.base, "done")
        for fifo in (ask, done):
            if not os.path.exists(fifo):
                os.mkfifo(fifo)
        fd = os.open(ask, os.O_RDWR | os.O_NONBLOCK)
        count = 0
        try:
            while process.poll() is None:
                try:
                    if os.read(fd, 64):
                        action()
                        count += 1
                        with open(done, "w") as out:
                            out.write("ok\n")
                except BlockingIOError:
                    time.sleep(0.01)
        finally:
            os.close(fd)
        return count

    def close(self, keep=False):
        """Takes everything away; never raises for a mount that is already gone."""
        error = None
        try:
            self.umount()
        except (VolumeError, subprocess.TimeoutExpired) as caught:
            error = caught
            self.kill9()
        if keep:
            self._reaper.kill()
        else:
            shutil.rmtree(self.base, ignore_errors=True)
            self._reaper.stdin.close()
        self._reaper.wait()
        if error:
            raise error
