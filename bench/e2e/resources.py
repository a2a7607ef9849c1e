# SPDX-License-Identifier: MIT
"""What a run borrows from the machine, and gives back: processes, mounts, directories.

Everything is undone in reverse order, also after an error or an interrupt. Two nets lie below that: the run lives in
a mount namespace of its own (scripts/bench), and every daemon asks the kernel to die with its parent; so even a killed
run leaves no mount and no loop device behind.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

FOLDER = "foldfs-bench"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """Something the run needed did not work; the text says what."""


def _die_with_parent():
    os.setsid()
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def call(*argv, check=True, timeout=300):
    """Runs a command to its end; returns its standard output."""
    out = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    if check and out.returncode != 0:
        raise Failure(f"{' '.join(argv)}: exit {out.returncode}: {(out.stderr or out.stdout).strip()[-400:]}")
    return out.stdout


def spawn(argv, log):
    """Starts a daemon in the foreground of its own session; its output goes to the file `log`."""
    with open(log, "ab") as stream:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                                preexec_fn=_die_with_parent)


def stop(process, wait_s=30):
    """Ends a daemon that spawn() started, by its own handle."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(wait_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(wait_s)


def is_mounted(path):
    """True if something is mounted exactly there; asks the kernel's table, never the filesystem."""
    wanted = path.replace(" ", "\\040")
    with open("/proc/self/mountinfo", encoding="utf-8") as stream:
        return any(line.split(" ", 5)[4] == wanted for line in stream)


def wait_mounted(path, process, wait_s=60):
    """Returns once `path` is mounted and answers."""
    until = time.monotonic() + wait_s
    while not is_mounted(path):
        if process is not None and process.poll() is not None:
            raise Failure(f"the daemon of {path} ended with {process.returncode}")
        if time.monotonic() > until:
            raise Failure(f"nothing was mounted on {path} within {wait_s} s")
        time.sleep(0.0005)
    os.statvfs(path)


def unmount(path):
    """Unmounts `path` if it is mounted, the hard way if need be."""
    if not is_mounted(path):
        return
    for attempt in range(20):
        out = subprocess.run(["umount", path], capture_output=True, text=True, timeout=120, check=False)
        if out.returncode == 0 or not is_mounted(path):
            return
        time.sleep(0.05 * (attempt + 1))
    subprocess.run(["umount", "-l", path], capture_output=True, timeout=120, check=False)


def work_folder(parent):
    """A directory for this run; those that killed runs have left there are removed."""
    for name in os.listdir(parent):
        parts = name.split(".")
        if parts[0] == FOLDER and len(parts) == 3 and not os.path.exists(f"/proc/{parts[1]}"):
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{FOLDER}.{os.getpid()}.", dir=parent)


class Stack:
    """Undo actions, run last in first out."""

    def __init__(self):
        self._actions = []

    def push(self, action, *args):
        """Remembers to call action(*args)."""
        self._actions.append((action, args))

    def unwind(self):
        """Undoes everything; what fails is said and does not stop the rest."""
        while self._actions:
            action, args = self._actions.pop()
            try:
                action(*args)
            except (OSError, Failure, subprocess.SubprocessError) as problem:
                print(f"bench: clean-up: {problem}", file=sys.stderr)


def on_signals():
    """SIGTERM and SIGHUP end a run as ^C does: through its clean-up; ^C works where it was ignored, too."""

    def raise_interrupt(_number, _frame):
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, raise_interrupt)
