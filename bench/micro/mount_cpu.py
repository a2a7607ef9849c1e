#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the daemon spends on a stream at each level of kernels: CPU milliseconds per 100 MB that are written new, written
again, and read back after a remount. CPU time, unlike rates, hardly minds other work on the machine; best of the rounds.

    sudo bench/micro/mount_cpu.py [--foldfs BINARY] [--rounds N] [--mib SIZE]
"""
import argparse
import os
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
LEVELS = ("scalar", "sse42", "avx2", "avx512")
TICK = 1000 / os.sysconf("SC_CLK_TCK")


def spent(pid):
    """CPU milliseconds of a process so far, kernel time included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def put(path, data):
    with open(path, "wb", buffering=0) as out:
        for at in range(0, len(data), 1 << 20):
            out.write(data[at:at + (1 << 20)])
        os.fsync(out.fileno())


def one_round(volume, level, size):
    """CPU per 100 MB: (new, again, read)."""
    with volume(env={"FOLDFS_CPU": level}) as vol:
        data = os.urandom(size)
        marks = [spent(vol.daemon.pid)]
        for name in ("first", "second"):
            put(vol.path(name), data)
            marks.append(spent(vol.daemon.pid))
        vol.remount()
        begin = spent(vol.daemon.pid)
        with open(vol.path("first"), "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
        read = spent(vol.daemon.pid) - begin
    return [ms * 1e8 / size for ms in (marks[1] - marks[0], marks[2] - marks[1], read)]


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].strip())
    parser.add_argument("--foldfs", default=str(TOP / "build" / "release" / "foldfs"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=128)
    args = parser.parse_args()
    os.environ["FOLDFS"] = args.foldfs
    sys.path.insert(0, str(TOP / "tests" / "mount"))
    from lib.volume import Volume
    print(f"{'level':>8}{'new':>8}{'again':>8}{'read':>8}   CPU ms per 100 MB")
    for level in LEVELS:
        best = [float("inf")] * 3
        for _ in range(args.rounds):
            best = [min(a, b) for a, b in zip(best, one_round(Volume, level, args.mib << 20))]
        print(f"{level:>8}" + "".join(f"{ms:>8.0f}" for ms in best), flush=True)


if __name__ == "__main__":
    main()
