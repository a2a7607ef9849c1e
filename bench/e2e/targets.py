# SPDX-License-Identifier: MIT
"""What is measured: the plain host directory, a FUSE filesystem that does nothing, and foldfs.

A target offers a fresh directory `data`, can be unmounted and mounted again, and knows its daemon and its stored bytes.
The peers that deduplicate are in peers.py.
"""

import json
import os
import shutil

from e2e import measure, resources
from e2e.resources import call


def allocated(path):
    """Bytes that a directory takes on the disk."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue  # a background worker removed it meanwhile
        total += os.lstat(folder).st_blocks * 512
    return total


class Target:
    """The common part: a place under the work directory, and a mount that comes and goes."""

    name = ""
    title = ""
    package = None  # Debian package
    program = None  # its program

    def __init__(self, work):
        self.place = os.path.join(work, self.name)
        self.store = os.path.join(self.place, "store")
        self.data = os.path.join(self.place, "mnt")
        self.log = os.path.join(work, f"{self.name}.log")
        self.process = None

    def why_not(self):
        """A word on why the host cannot run this target, None if it can."""
        if self.program is not None and shutil.which(self.program) is None:
            return f"the program {self.program} is not installed"
        return None

    @property
    def pid(self):
        """Process that serves the mount, None if the kernel does."""
        return None if self.process is None else self.process.pid

    def create(self):
        """A fresh, empty, mounted filesystem."""
        self.destroy()
        os.makedirs(self.store)
        os.makedirs(self.data)
        self.format()
        self.mount()

    def destroy(self):
        """Nothing left of it."""
        self.unmount()
        shutil.rmtree(self.place, ignore_errors=True)

    def format(self):
        """Prepares the store."""

    def mount(self):
        """Makes `data` usable."""
        raise NotImplementedError

    def unmount(self):
        """The opposite; harmless if it is not mounted."""
        resources.unmount(self.data)
        if self.process is not None:
            try:
                self.process.wait(60)
            finally:
                resources.stop(self.process)
                self.process = None

    def last_words(self):
        """The end of the daemon's log, if it ended by itself."""
        if self.process is None or self.process.poll() is None:
            return ""
        with open(self.log, encoding="utf-8", errors="replace") as stream:
            return f"; the daemon ended with {self.process.returncode}: {stream.read()[-300:].strip()}"

    def mountable(self):
        """False where mount time means nothing."""
        return True

    def settle(self):
        """Has everything written so far reach the disk."""
        os.sync()

    def cool(self):
        """Leaves nothing of the data in any cache: a new mount, and the kernel's caches dropped around it."""
        self.settle()
        self.unmount()
        measure.drop_caches()
        self.mount()
        measure.drop_caches()

    def stored(self):
        """Bytes on the host's disk."""
        raise NotImplementedError

    def stats(self):
        """What the target says of itself, for the raw results."""
        return {}

    def space_pass(self):
        """Deduplicates what is there, for targets that do so after the fact; False for all others."""
        return False


class Ext4(Target):
    """A plain directory of the host, or an ext4 image where the host's filesystem is another."""

    name = "ext4"
    title = "ext4"

    def __init__(self, work, image_bytes):
        super().__init__(work)
        self.image_bytes = image_bytes
        kind = call("stat", "-f", "-c", "%T", work).strip()
        self.image = None if kind == "ext2/ext3" else os.path.join(self.store, "image")
        self.title = "ext4" if self.image is None else "ext4 (loop)"
        self.program = None if self.image is None else "mkfs.ext4"

    def format(self):
        if self.image is not None:
            call("truncate", "-s", str(self.image_bytes), self.image)
            call("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)

    def mount(self):
        if self.image is not None:
            call("mount", "-o", "loop", self.image, self.data)

    def last_words(self):
        """The end of the daemon's log, if it ended by itself."""
        if self.process is None or self.process.poll() is None:
            return ""
        with open(self.log, encoding="utf-8", errors="replace") as stream:
            return f"; the daemon ended with {self.process.returncode}: {stream.read()[-300:].strip()}"

    def mountable(self):
        return self.image is not None

    def stored(self):
        return allocated(self.data)


class Bindfs(Target):
    """A FUSE filesystem that passes everything on to a plain directory."""

    name = title = package = program = "bindfs"

    def mount(self):
        self.process = resources.spawn(["bindfs", "-f", self.store, self.data], self.log)
        resources.wait_mounted(self.data, self.process)

    def stored(self):
        return allocated(self.store)


class Foldfs(Target):
    """The project itself, with the options given."""

    name = title = "foldfs"

    def __init__(self, work, binary, mkfs_options=(), mount_options=""):
        super().__init__(work)
        self.program = binary
        self.mkfs_options = list(mkfs_options)
        self.mount_options = ["-o", mount_options] if mount_options else []

    def format(self):
        os.rmdir(self.store)
        call(self.program, "mkfs", *self.mkfs_options, self.store)

    def mount(self):
        argv = [self.program, "mount", "-f", *self.mount_options, self.store, self.data]
        self.process = resources.spawn(argv, self.log)
        resources.wait_mounted(self.data, self.process)

    def settle(self):
        if self.process is not None:
            call(self.program, "sync", self.data)
        os.sync()

    def unmount(self):
        if self.process is not None and self.process.poll() is None and resources.is_mounted(self.data):
            call(self.program, "umount", self.data, check=False)
        super().unmount()

    def stored(self):
        return allocated(self.store)

    def stats(self):
        return json.loads(call(self.program, "stats", "--json", self.data))
