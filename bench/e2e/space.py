# SPDX-License-Identifier: MIT
"""How foldfs gives space back: does deleting cost the same whatever the size, and does a collection slow writers down?

    python3 bench/e2e/space.py deletes [--largest GB] [--foldfs BIN] [--json FILE]
    python3 bench/e2e/space.py pacing [--seconds N] [--mib N] [--foldfs BIN] [--json FILE]
    python3 bench/e2e/space.py refold [--mib N] [--foldfs BIN] [--json FILE]

`deletes` makes files of 1 MB to 100 GB logical size by copying a file onto its own end again and again, and times unlink,
truncate and rename over them, with the daemon's processor time until all of it is stored. `pacing` times fsync after 4 KiB with nothing else going on, and beside one full
collection after the other of a volume of which half is garbage. `refold` tells in how many pieces a file lies and what
reading it costs, before and after it was overwritten at random, and refolded. Everything runs in a temporary volume.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "mount"))
MIB = 1 << 20
GB = 1 << 30


def make(path, size):
    """A file of `size` bytes that stores one mebibyte."""
    with open(path, "w+b", buffering=0) as out:
        out.write(os.urandom(min(size, MIB)))
        out.flush()
        have = min(size, MIB)
        while have < size:
            have += os.copy_file_range(out.fileno(), out.fileno(), min(have, size - have, GB), 0, have)


def clone(source, target):
    """A second file with the same chunks."""
    with open(source, "rb") as src, open(target, "wb", buffering=0) as dst:
        size, done = os.fstat(src.fileno()).st_size, 0
        while done < size:
            done += os.copy_file_range(src.fileno(), dst.fileno(), min(size - done, GB), done, done)


def timed(work, *args):
    """Milliseconds."""
    start = time.perf_counter()
    work(*args)
    return (time.perf_counter() - start) * 1000


def daemon_ns(pid):
    """Processor time of all threads of the daemon so far."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/schedstat" % (pid, task), encoding="ascii") as file:
                total += int(file.read().split()[0])
        except FileNotFoundError:
            pass
    return total


def rename_over(vol, target):
    """What a program does that replaces a file: only the rename is timed."""
    small = os.path.join(vol.mnt, "small")
    with open(small, "wb") as out:
        out.write(b"x")
    vol.command("sync", vol.mnt)
    return lambda: os.rename(small, target)


WAYS = {
    "unlink": lambda vol, path, size: lambda: os.unlink(path),
    "to nothing": lambda vol, path, size: lambda: os.truncate(path, 0),
    "to half": lambda vol, path, size: lambda: os.truncate(path, size // 2),
    "rename over": lambda vol, path, size: rename_over(vol, path),
}


def delete_once(vol, base, other, size, way):
    """Milliseconds of the caller, and of the daemon's processors until all of it is stored."""
    clone(base, other)
    vol.command("sync", vol.mnt)
    work = WAYS[way](vol, other, size)
    cpu = daemon_ns(vol.daemon.pid)
    caller = timed(work)
    vol.command("sync", vol.mnt)
    return caller, (daemon_ns(vol.daemon.pid) - cpu) / 1e6


def deletes(vol, largest):
    """One row per size: bytes, then for each way medians of the caller's ms and the daemon's processor ms."""
    rows = []
    size = MIB
    base, other = os.path.join(vol.mnt, "big"), os.path.join(vol.mnt, "other")
    while size <= largest:
        make(base, size)
        row = [size]
        for way in WAYS:
            tries = [delete_once(vol, base, other, size, way) for _ in range(3 if size >= 10 * GB else 7)]
            row += [statistics.median(t[i] for t in tries) for i in (0, 1)]
        rows.append(row)
        print("%9.3f GB" % (size / GB), "".join("   %s %.2f ms, %.1f ms CPU" % (way, row[1 + 2 * i], row[2 + 2 * i])
                                                for i, way in enumerate(WAYS)), flush=True)
        size *= 10 if size * 10 <= largest or size == largest else max(2, largest // size)
    return {"columns": ["bytes"] + [way + unit for way in WAYS for unit in ("_ms", "_cpu_ms")], "rows": rows}


def fsyncs(vol, until, took):
    """Milliseconds of each fsync after 4 KiB at a random place, until until()."""
    rng = random.Random(1)
    with open(os.path.join(vol.mnt, "foreground"), "r+b", buffering=0) as out:
        while not until():
            os.pwrite(out.fileno(), rng.randbytes(4096), rng.randrange(4096) * 4096)
            took.append(timed(os.fsync, out.fileno()))


def summary(took):
    took.sort()
    return {"count": len(took), "p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100],
            "max_ms": took[-1]}


def half_garbage(vol, mib, tag):
    """Files of one mebibyte, every second one deleted."""
    for i in range(mib):
        with open(os.path.join(vol.mnt, "%s%d" % (tag, i)), "wb") as out:
            out.write(os.urandom(MIB))
    for i in range(0, mib, 2):
        os.unlink(os.path.join(vol.mnt, "%s%d" % (tag, i)))
    vol.command("sync", vol.mnt)


def pacing(vol, seconds, mib):
    """Latency of fsync in turns: beside a collection, then for as long alone."""
    with open(os.path.join(vol.mnt, "foreground"), "wb") as out:
        out.write(os.urandom(16 * MIB))
    alone, beside, cycles = [], [], []
    spent = 0
    while spent < seconds:
        half_garbage(vol, mib, "t%d-" % len(cycles))
        thread = threading.Thread(
            target=lambda: cycles.append(json.loads(vol.command("gc", "--full", "--json", vol.mnt).stdout)))
        start = time.monotonic()
        thread.start()
        fsyncs(vol, lambda: not thread.is_alive(), beside)
        end = time.monotonic()
        spent += end - start
        fsyncs(vol, lambda: time.monotonic() > 2 * end - start, alone)
    result = {"alone": summary(alone), "beside_collection": summary(beside), "collections": len(cycles),
              "copied_bytes": sum(c["copied_bytes"] for c in cycles), "seconds": spent}
    result["p99_ratio"] = result["beside_collection"]["p99_ms"] / result["alone"]["p99_ms"]
    for name in ("alone", "beside_collection"):
        print("%-18s %6d fsyncs   p50 %6.2f ms   p99 %6.2f ms   max %6.2f ms" % (name, *result[name].values()))
    print("%d collections of %.1f s, %.0f MB copied, p99 ratio %.2f"
          % (len(cycles), spent / len(cycles), result["copied_bytes"] / 1e6, result["p99_ratio"]))
    return result


def scatter(path, mib, rng):
    """Overwrites a file in random places of 4 KiB, as often as it has such places, half of them synced at once."""
    with open(path, "r+b", buffering=0) as out:
        for i in range(mib * 256):
            os.pwrite(out.fileno(), rng.randbytes(4096), rng.randrange(mib * 256) * 4096)
            if i % 512 == 511:
                os.fsync(out.fileno())


def read_cost(vol, path, mib):
    """Pieces of the file, and processor seconds of the daemon for reading a GB of it from a cold cache."""
    shape = [int(os.getxattr(path, "user.foldfs." + what)) for what in ("chunks", "fragments")]
    cpus = []
    for _ in range(3):
        vol.remount()
        before = daemon_ns(vol.daemon.pid)
        with open(path, "rb", buffering=0) as file:
            while file.read(MIB):
                pass
        cpus.append((daemon_ns(vol.daemon.pid) - before) / 1e9 / (mib / 1024))
    return shape + [statistics.median(cpus)]


def refold(vol, mib):
    """How a file looks and reads when it was written straight, when it was scattered, and refolded."""
    path, rows = os.path.join(vol.mnt, "f"), {}
    rng = random.Random(1)
    with open(path, "wb", buffering=0) as out:
        for _ in range(mib):
            out.write(rng.randbytes(MIB))
    vol.command("sync", vol.mnt)
    rows["straight"] = read_cost(vol, path, mib)
    scatter(path, mib, rng)
    vol.command("sync", vol.mnt)
    rows["scattered"] = read_cost(vol, path, mib)
    with open(path, "rb"):
        vol.command("gc", "--full", vol.mnt)
    rows["refolded"] = read_cost(vol, path, mib)
    for name, (chunks, fragments, cpu) in rows.items():
        print("%-10s %7d chunks %7d fragments   %.2f s of processor time a GB" % (name, chunks, fragments, cpu))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("deletes", "pacing", "refold"))
    parser.add_argument("--foldfs", default=os.environ.get("FOLDFS"))
    parser.add_argument("--largest", type=float, default=100, help="size of the largest file in GB")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--mib", type=int, default=512, help="volume that is collected")
    parser.add_argument("--json", help="write the figures there")
    args = parser.parse_args()
    if args.foldfs:
        os.environ["FOLDFS"] = os.path.abspath(args.foldfs)
    from lib.volume import Volume  # reads the environment when imported
    with Volume() as vol:
        print(subprocess.run(["uname", "-rm"], capture_output=True, text=True, check=True).stdout.strip(),
              "load %.1f" % os.getloadavg()[0], flush=True)
        figures = deletes(vol, int(args.largest * GB)) if args.what == "deletes" else \
            pacing(vol, args.seconds, args.mib) if args.what == "pacing" else refold(vol, args.mib)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump(figures, out, indent=1)


if __name__ == "__main__":
    main()
