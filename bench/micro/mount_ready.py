# SPDX-License-Identifier: MIT
"""How long a volume of many chunks takes to be ready: mount_ready.py BUILD [THOUSANDS [STORE]]

Makes a store with fold_bench_ready (or takes the one at STORE, which stays), and times the start of the daemon until the
mount answers, and its CPU seconds until then: after making, after a clean unmount, after kill -9 with data written and
files made shortly before, and with a full journal. CPU seconds are what counts on a machine with other work.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time


def cpu_seconds(pid):
    """CPU seconds of a running process."""
    with open("/proc/%d/stat" % pid) as stat:
        words = stat.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Volume:
    """A store and a mount point."""

    def __init__(self, build, store, base):
        self.foldfs, self.store, self.mnt = os.path.join(build, "foldfs"), store, os.path.join(base, "mnt")
        os.mkdir(self.mnt)
        self.daemon = None

    def mount(self, what):
        """Mounts and prints what it took."""
        begin = time.monotonic()
        self.daemon = subprocess.Popen([self.foldfs, "mount", "-f", "-o", "commit=300", self.store, self.mnt],
                                       stderr=subprocess.DEVNULL)
        while not os.path.ismount(self.mnt):
            if self.daemon.poll() is not None:
                sys.exit("mount failed")
            time.sleep(0.002)
        os.statvfs(self.mnt)
        wall = time.monotonic() - begin
        cpu = cpu_seconds(self.daemon.pid)
        with open("/proc/%d/status" % self.daemon.pid) as status:
            rss = next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
        print("%-52s %6.2f s wall %6.2f s CPU %5d MiB" % (what, wall, cpu, rss >> 10), flush=True)

    def umount(self):
        """A clean unmount."""
        subprocess.run([self.foldfs, "umount", self.mnt], check=True)
        self.daemon.wait()

    def kill(self):
        """As a crash."""
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()
        subprocess.run(["umount", "-l", self.mnt], check=True)

    def journal(self):
        """Bytes in the journal's files."""
        top = os.path.join(self.store, "journal")
        return sum(os.path.getsize(os.path.join(top, name)) for name in os.listdir(top))

    def small_files(self, top, least):
        """Makes small files until the journal has `least` bytes."""
        count = 0
        while self.journal() < least:
            folder = os.path.join(self.mnt, "%s-%d" % (top, count))
            os.mkdir(folder)
            for i in range(500):
                with open(os.path.join(folder, "f%d" % i), "wb") as out:
                    out.write(b"%d" % i * 20)
            count += 500
        return count


def main():
    build, thousands = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "10000"
    base = tempfile.mkdtemp(prefix="foldfs-ready-", dir=os.environ.get("TMPDIR") or "/var/tmp")
    store = sys.argv[3] if len(sys.argv) > 3 else os.path.join(base, "store")
    try:
        if not os.path.exists(store):
            subprocess.run([os.path.join(build, "bench", "micro", "fold_bench_ready"), store, thousands], check=True)
        vol = Volume(build, store, base)
        vol.mount("first mount, no filter yet")
        vol.umount()
        vol.mount("after a clean unmount")
        with open(os.path.join(vol.mnt, "data"), "wb") as out:
            for _ in range(40):
                out.write(os.urandom(1 << 20))
        vol.small_files("some", 2 << 20)
        vol.kill()
        vol.mount("after kill -9, 40 MiB and some files before it")
        vol.umount()
        vol.mount("after a clean unmount")
        made = vol.small_files("many", 30 << 20)
        size = vol.journal() >> 20
        vol.kill()
        vol.mount("after kill -9, journal of %d MiB (%d files made)" % (size, made))
        vol.kill()
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
