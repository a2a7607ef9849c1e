# SPDX-License-Identifier: MIT
"""Requests by way of io_uring: which transport is taken, a part of the suite on it, and every way a session ends.

Needs a kernel with FUSE over io_uring and the right to set the module parameter, which is put back afterwards.
"""

import ctypes
import fcntl
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_bitrot
import test_coherence
import test_posix
import test_random
import test_seek
import test_stress
from lib.case import MountCase, need_tool, program
from lib.volume import FOLDFS, PLAIN

PARAMETER = "/sys/module/fuse/parameters/enable_uring"
NR_IO_URING_SETUP = 425
LOCK_PATH = "/run/lock/foldfs-test-uring"
WAS = None
LOCK = None


def set_parameter(value):
    """Switches FUSE over io_uring on or off for mounts to come."""
    with open(PARAMETER, "w") as out:
        out.write(value)


def setUpModule():
    """Switches FUSE over io_uring on."""
    global WAS, LOCK
    if PLAIN:
        raise unittest.SkipTest("needs foldfs")
    # Of two runs at once, the second would take what the first has set for what was there before.
    LOCK = open(LOCK_PATH, "w")
    fcntl.lockf(LOCK, fcntl.LOCK_EX)
    try:
        with open(PARAMETER) as file:
            WAS = file.read().strip()
        set_parameter("Y")
    except OSError as error:
        raise unittest.SkipTest("FUSE over io_uring cannot be switched on here: %s" % error)


def tearDownModule():
    """Puts the parameter back."""
    set_parameter(WAS)
    LOCK.close()


def deny_io_uring():
    """Runs in the child before exec: io_uring_setup fails with EPERM from now on."""
    instructions = [(0x20, 0, 0, 0), (0x15, 0, 1, NR_IO_URING_SETUP), (0x06, 0, 0, 0x00050001),
                    (0x06, 0, 0, 0x7fff0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *i) for i in instructions))
    program_of_4 = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(22, 2, program_of_4, 0, 0) != 0:
        os._exit(111)


class OnRing(MountCase):
    mount_opts = "uring=on"

    def transport(self):
        """What the daemon says requests come by."""
        return self.vol.stats()["transport"]


class Choice(OnRing):
    def test_on_off_auto(self):
        self.assertEqual(self.transport(), "uring")
        self.vol.remount("uring=off")
        self.assertEqual(self.transport(), "device")
        self.vol.remount("")
        self.assertEqual(self.transport(), "uring")

    def test_the_kernel_does_not_offer_it(self):
        self.vol.umount()
        set_parameter("N")
        try:
            self.vol.mount("")
            self.assertEqual(self.transport(), "device")
            self.vol.umount()
            done = self.vol.command("mount", "-f", "-o", "uring=on", self.vol.store, self.mnt, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("switched off", done.stderr)
            self.assertFalse(os.path.ismount(self.mnt))
        finally:
            set_parameter("Y")
        self.vol.mount()

    def start_denied(self, opts):
        """The daemon in a world without io_uring."""
        with open(self.vol.log_path, "ab") as log:
            return subprocess.Popen([FOLDFS, "mount", "-f", "-o", opts, self.vol.store, self.mnt], env=self.vol.env,
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=deny_io_uring)

    def test_the_process_may_not(self):
        self.vol.umount()
        self.assertNotEqual(self.start_denied("uring=on").wait(timeout=60), 0)
        self.assertIn("no io_uring", self.vol.log())
        self.vol.daemon = self.start_denied("uring=auto")
        while not os.path.ismount(self.mnt) and self.vol.alive():
            time.sleep(0.01)
        self.write("f", b"by the device")
        self.assertEqual(self.transport(), "device")
        self.assertIn("requests go through /dev/fuse", self.vol.log())


class Content(OnRing):
    def test_all_sizes(self):
        """Copied and kept payloads, replies of one piece and of many, from several processors."""
        rng = random.Random(7)
        sizes = [0, 1, 4096, 70000, (256 << 10) - 1, 256 << 10, (1 << 20) + 17, 9 << 20]
        data = {"f%d" % n: rng.randbytes(n // 2) + bytes(n - n // 2) for n in sizes}
        threads = [threading.Thread(target=self.write, args=item) for item in data.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for opts in ("uring=on", "uring=off", "uring=on"):
            self.assertEqual({name: self.read(name) for name in data}, data)
            self.vol.remount(opts)

    def test_writers_that_have_to_wait(self):
        """Replies held back until memory is free, given by other threads; a reader gets by."""
        self.vol.remount("uring=on,dirty_bytes=16M")
        self.write("small", b"x" * 5000)
        block = random.Random(3).randbytes(1 << 20)

        def writer(name):
            with open(self.path(name), "wb", buffering=0) as out:
                for i in range(48):
                    out.write(struct.pack("QQ", i, hash(name) & 0xffff) + block[16:])

        threads = [threading.Thread(target=writer, args=("w%d" % i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.assertEqual(self.read("small"), b"x" * 5000)
            self.assertEqual(os.stat(self.path("small")).st_size, 5000)
        for thread in threads:
            thread.join()
        for i in range(8):
            self.assertEqual(os.stat(self.path("w%d" % i)).st_size, 48 << 20)
            with open(self.path("w%d" % i), "rb") as file:
                for j in range(48):
                    got = file.read(1 << 20)
                    self.assertEqual(got, struct.pack("QQ", j, hash("w%d" % i) & 0xffff) + block[16:])

    @need_tool("fio")
    def test_many_wait_at_once(self):
        """More requests that wait for other threads than there are threads at first; others get by."""
        words = ["fio", "--name=f", "--directory=" + self.mnt, "--rw=randwrite", "--bs=16k", "--size=2m", "--fsync=1",
                 "--numjobs=24", "--loops=2", "--minimal"]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            os.stat(self.mnt)
            self.write("beside", b"z" * 9000)
            self.assertEqual(self.read("beside"), b"z" * 9000)
        self.assertEqual(process.returncode, 0)

    def test_interrupted_callers(self):
        """Processes killed in the middle of requests leave a volume that answers."""
        for i in range(20):
            process = subprocess.Popen(["sh", "-c", "while :; do dd if=/dev/zero of=%s bs=4k count=50 "
                                        "conv=fsync 2>/dev/null; done" % self.path("k%d" % (i % 3))],
                                       start_new_session=True)
            with self.assertRaises(subprocess.TimeoutExpired):
                process.wait(timeout=0.05)
            os.killpg(process.pid, signal.SIGINT if i % 2 else signal.SIGKILL)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=60)
            self.assertEqual(self.errno_of(os.listdir, self.mnt), 0)


class Ends(OnRing):
    def load(self):
        """Processes that use the mount in many ways until it goes."""
        return self.background(program("hammer"), "stress", self.mnt, "100000")

    def background(self, *words):
        """A process with a group of its own."""
        return subprocess.Popen(words, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, start_new_session=True)

    def let_run(self, load, seconds):
        """Gives the load time; it does not end by itself."""
        with self.assertRaises(subprocess.TimeoutExpired):
            load.wait(timeout=seconds)

    def stop(self, load):
        """Ends the load if the end of the mount did not."""
        try:
            os.killpg(load.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        load.wait(timeout=60)

    def ended(self):
        """Waits for the daemon; its exit code."""
        code = self.vol.daemon.wait(timeout=120)
        self.vol.daemon = None
        return code

    def test_many_unmounts(self):
        for i in range(10):
            self.write("f%d" % i, b"y" * 300000)
            self.vol.remount()

    def test_unmount_under_load(self):
        load = self.load()
        self.let_run(load, 1)
        self.assertNotEqual(subprocess.run(["umount", self.mnt], capture_output=True).returncode, 0)
        self.assertTrue(self.vol.alive())
        self.vol.daemon.send_signal(signal.SIGTERM)
        while os.path.ismount(self.mnt) and self.vol.alive():
            time.sleep(0.01)
        self.stop(load)
        self.assertEqual(self.ended(), 0)
        self.vol.mount()
        self.assertEqual(self.transport(), "uring")

    def test_killed_under_load(self):
        for _ in range(3):
            load = self.load()
            self.let_run(load, 0.7)
            self.vol.kill9()
            self.stop(load)
            self.assertEqual(self.vol.command("fsck", self.vol.store, check=False).returncode, 0)
            self.vol.mount()

    def test_aborted_under_load(self):
        for _ in range(3):
            load = self.load()
            self.let_run(load, 0.7)
            subprocess.run(["umount", "-f", self.mnt], capture_output=True)  # cuts the connection even if busy
            self.assertEqual(self.ended(), 0)
            self.stop(load)
            subprocess.run(["umount", "-l", self.mnt], capture_output=True)
            self.assertEqual(self.vol.command("fsck", self.vol.store, check=False).returncode, 0)
            self.vol.mount()


class FilesOnRing(test_posix.Files):
    mount_opts = "uring=on"


class RandomOnRing(test_random.Random):
    mount_opts = "uring=on"


class CutOffOnRing(test_bitrot.CutOff):
    mount_opts = "uring=on"


class SeekersOnRing(test_seek.Seekers):
    mount_opts = "uring=on"


class SeekersOnFewServers(SeekersOnRing):
    knobs = "ring_servers=2,callback_threads=1"


class StressOnRing(test_stress.Stress):
    mount_opts = "uring=on"


class CoherenceOnRing(test_coherence.Coherence):
    mount_opts = "uring=on"

    def test_many_files(self):
        """More direct writes beside mappings than a queue has entries: what the kernel writes back finds one."""
        done = [subprocess.Popen([program("coherent"), "mapped", first, self.path("file%d" % i), "20"])
                for i, first in enumerate(("writer", "reader") * 40)]
        for process in done:
            self.assertEqual(process.wait(timeout=300), 0)


if __name__ == "__main__":
    unittest.main()
