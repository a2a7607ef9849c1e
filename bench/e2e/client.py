# SPDX-License-Identifier: MIT
"""The measured program: sequential reads and writes from mapped data, nothing else on the clock.

Run as a program of its own so that its CPU time is its own: reads one JSON order from standard input, forks one process
per job, lets them map and touch the payload, starts them together, and prints one JSON result. A write counts from
open to the return of fsync and close.
"""

import json
import mmap
import os
import resource
import sys
import time


def map_payload(path):
    """The payload as memory that is already resident."""
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    mapped = mmap.mmap(fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
    os.close(fd)
    return memoryview(mapped)


def write(job, block, data):
    """Writes bytes [offset, offset + length) of the payload to a new file."""
    fd = os.open(job["path"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    at, end = job["offset"], job["offset"] + job["length"]
    while at < end:
        at += os.write(fd, data[at:min(at + block, end)])
    os.fsync(fd)
    os.close(fd)
    return job["length"]


def read(job, block, target):
    """Reads a file to its end into one buffer."""
    fd = os.open(job["path"], os.O_RDONLY)
    total = 0
    while True:
        got = os.preadv(fd, [target], total)
        total += got
        if got < block:
            break
    os.close(fd)
    if total != job["length"]:
        raise OSError(f"{job['path']}: {total} bytes instead of {job['length']}")
    return total


def run_job(order, job, ready_fd, go_fd, result_fd):
    """One forked job: prepare, meet the others, work, report."""
    if order["op"] == "write":
        data = map_payload(order["payload"])
        work = write
    else:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        data = memoryview(mmap.mmap(-1, order["block"], flags=flags))
        work = read
    os.write(ready_fd, b"r")
    os.read(go_fd, 1)
    used = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.monotonic()
    try:
        count, error = work(job, order["block"], data), None
    except OSError as problem:
        count, error = 0, str(problem)
    end = time.monotonic()
    now = resource.getrusage(resource.RUSAGE_SELF)
    result = {"begin": begin, "end": end, "bytes": count, "error": error,
              "user": now.ru_utime - used.ru_utime, "system": now.ru_stime - used.ru_stime}
    os.write(result_fd, (json.dumps(result) + "\n").encode())


def main():
    """Forks the jobs, starts them at once, adds up."""
    order = json.load(sys.stdin)
    ready, go, result = os.pipe(), os.pipe(), os.pipe()
    children = []
    for job in order["jobs"]:
        pid = os.fork()
        if pid == 0:
            os.close(go[1])
            run_job(order, job, ready[1], go[0], result[1])
            os._exit(0)
        children.append(pid)
    os.close(ready[1])
    os.close(result[1])
    for _ in children:
        if os.read(ready[0], 1) == b"":
            sys.exit("a job died before it began")
    os.write(go[1], b"g" * len(children))
    with os.fdopen(result[0]) as stream:
        parts = [json.loads(line) for line in stream]
    for pid in children:
        os.waitpid(pid, 0)
    errors = [p["error"] for p in parts if p["error"]]
    if errors or len(parts) != len(children):
        sys.exit("; ".join(errors) or "a job died")
    print(json.dumps({
        "seconds": max(p["end"] for p in parts) - min(p["begin"] for p in parts),
        "bytes": sum(p["bytes"] for p in parts),
        "user": sum(p["user"] for p in parts),
        "system": sum(p["system"] for p in parts),
    }))


if __name__ == "__main__":
    main()
