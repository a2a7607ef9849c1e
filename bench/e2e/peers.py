# SPDX-License-Identifier: MIT
"""The deduplicating peers: zfs-fuse (inline, a table of hashes) and btrfs with duperemove (after the fact)."""

import os
import shutil
import subprocess
import time

from e2e import resources
from e2e.resources import Failure, call
from e2e.targets import Target

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class ZfsFuse(Target):
    """One pool on one file, dedup and lzjb compression on, the timeouts as the package sets them."""

    name = title = package = program = "zfs-fuse"

    def __init__(self, work, image_bytes):
        super().__init__(work)
        self.image_bytes = image_bytes
        self.pool = "foldbench" + str(os.getpid())
        self.ticks = 0
        self.imported = False

    def why_not(self):
        running = subprocess.run(["pgrep", "-x", "zfs-fuse"], capture_output=True, check=False).returncode == 0
        if running:
            return "another zfs-fuse runs here, and there can be one only"
        return super().why_not() or (None if shutil.which("zpool") else "there is no zpool")

    def start(self):
        """The daemon outlives its mounts; it goes with destroy()."""
        if self.process is not None:
            return
        self.process = resources.spawn(["zfs-fuse", "-n", "--no-kstat-mount"], self.log)
        until = time.monotonic() + 20
        while subprocess.run(["zpool", "list"], capture_output=True, check=False).returncode != 0:
            if time.monotonic() > until or self.process.poll() is not None:
                raise Failure("zfs-fuse does not answer")
            time.sleep(0.1)

    def format(self):
        self.start()
        image = os.path.join(self.store, "image")
        call("truncate", "-s", str(self.image_bytes), image)
        call("zpool", "create", "-o", "cachefile=none", "-O", "dedup=on", "-O", "compression=lzjb", "-m", self.data,
             self.pool, image)
        self.imported = True

    def mount(self):
        if not self.imported:
            call("zpool", "import", "-d", self.store, "-o", "cachefile=none", self.pool)
            self.imported = True
        resources.wait_mounted(self.data, self.process)

    def unmount(self):
        if self.imported:
            out = subprocess.run(["zpool", "export", self.pool], capture_output=True, check=False, timeout=300)
            if out.returncode != 0:
                call("zpool", "export", "-f", self.pool)
            self.imported = False

    def destroy(self):
        try:
            if self.imported:
                call("zpool", "destroy", "-f", self.pool, check=False)
                self.imported = False
        finally:
            resources.stop(self.process)
            self.process = None
            resources.unmount(self.data)
            shutil.rmtree(self.place, ignore_errors=True)

    def settle(self):
        # A property change waits for the transaction group that holds everything written before.
        if self.imported:
            self.ticks += 1
            call("zfs", "set", f"foldfs:tick={self.ticks}", self.pool)
        os.sync()

    def stored(self):
        text = call("zpool", "list", "-H", "-o", "alloc", self.pool).strip()
        return int(float(text[:-1]) * UNITS[text[-1]]) if text[-1:] in UNITS else int(float(text.rstrip("B")))


class Btrfs(Target):
    """A loop image with lzo compression; duperemove runs as a pass of its own."""

    name = title = "btrfs"
    package = "btrfs-progs"
    program = "mkfs.btrfs"

    def __init__(self, work, image_bytes):
        super().__init__(work)
        self.image_bytes = image_bytes
        self.image = os.path.join(self.store, "image")

    def why_not(self):
        with open("/proc/filesystems", encoding="utf-8") as stream:
            known = "btrfs" in stream.read()
        if not known and subprocess.run(["modprobe", "-q", "btrfs"], capture_output=True, check=False).returncode != 0:
            return "the kernel has no btrfs"
        if not os.path.exists("/dev/loop-control"):
            return "there are no loop devices"
        return super().why_not() or (None if shutil.which("duperemove") else "there is no duperemove")

    def format(self):
        call("truncate", "-s", str(self.image_bytes), self.image)
        call("mkfs.btrfs", "-q", self.image)

    def mount(self):
        call("mount", "-o", "loop,compress=lzo", self.image, self.data)

    def stored(self):
        os.sync()
        room = os.statvfs(self.data)
        return (room.f_blocks - room.f_bfree) * room.f_frsize

    def space_pass(self):
        call("duperemove", "-r", "-d", "-q", self.data, timeout=900)
        return True
