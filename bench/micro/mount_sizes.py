#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Is there a file size at which the mounted path falls off a cliff? Files of one size after the other, of random bytes,
are written with an fsync each, written with one sync at the end, and read back out of the store (the page cache is
dropped first), beside the same work in a plain directory of the host. MB/s and ms per file, best of the rounds.

    sudo bench/micro/mount_sizes.py [--foldfs BINARY] [--rounds N]
"""
import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
SIZES = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 48 << 20]
TOTAL = 32 << 20
MOST = 256


def synced(place, files):
    """Writes each file and waits for it; returns seconds."""
    begin = time.monotonic()
    for name, data in files:
        with open(os.path.join(place, name), "wb", buffering=0) as out:
            out.write(data)
            os.fsync(out.fileno())
    return time.monotonic() - begin


def unsynced(place, files):
    """Writes all files and waits once, for the last; returns seconds."""
    begin = time.monotonic()
    for name, data in files:
        with open(os.path.join(place, name), "wb", buffering=0) as out:
            out.write(data)
    os.sync()
    return time.monotonic() - begin


def read(place, files):
    """Reads all files without help of the kernel's page cache of this filesystem; returns seconds."""
    for name, _ in files:
        fd = os.open(os.path.join(place, name), os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    begin = time.monotonic()
    for name, data in files:
        with open(os.path.join(place, name), "rb", buffering=0) as file:
            got = file.read()
        if len(got) != len(data):
            sys.exit(f"mount_sizes: {name} came back with {len(got)} bytes")
    return time.monotonic() - begin


def measure(place, size, rounds):
    """Best seconds of (synced, unsynced, read), and the number of files."""
    count = max(1, min(MOST, TOTAL // size))
    best = [float("inf")] * 3
    for _ in range(rounds):
        files = [(f"a{i}", os.urandom(size)) for i in range(count)]
        again = [(f"b{i}", os.urandom(size)) for i in range(count)]
        times = (synced(place, files), unsynced(place, again), read(place, files))
        best = [min(a, b) for a, b in zip(best, times)]
        for name, _ in files + again:
            os.unlink(os.path.join(place, name))
    return best, count


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].strip())
    parser.add_argument("--foldfs", default=str(TOP / "build" / "release" / "foldfs"))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    os.environ["FOLDFS"] = args.foldfs
    sys.path.insert(0, str(TOP / "tests" / "mount"))
    from lib.volume import Volume, scratch_root
    host = tempfile.mkdtemp(prefix="foldfs-sizes-", dir=scratch_root())
    print(f"{'':>8}{'write, fsync each':^32}{'write, one sync':^24}{'read':^24}")
    print(f"{'KiB':>8}{'MB/s':>8}{'ms/file':>8}{'host':>8}{'ms/file':>8}" + f"{'MB/s':>12}{'host':>12}" * 2)
    try:
        with Volume() as vol:
            for size in SIZES:
                fold, count = measure(vol.mnt, size, args.rounds)
                plain, _ = measure(host, size, args.rounds)
                rate = [size * count / 1e6 / t for t in fold + plain]
                print(f"{size >> 10:>8}{rate[0]:>8.1f}{fold[0] / count * 1e3:>8.2f}"
                      f"{rate[3]:>8.1f}{plain[0] / count * 1e3:>8.2f}"
                      f"{rate[1]:>12.1f}{rate[4]:>12.1f}{rate[2]:>12.1f}{rate[5]:>12.1f}", flush=True)
    finally:
        shutil.rmtree(host, ignore_errors=True)


if __name__ == "__main__":
    main()
