# SPDX-License-Identifier: MIT
"""The window of one measurement: time, processor time by owner, memory, stored bytes.

Three processor times are kept apart: the client's (its own accounting), the daemon's (its process clock, also after
the client ended: what a daemon still does then is not hidden behind the end of the clock), and the whole machine's
(for kernel workers, and to see foreign load).
"""

import json
import os
import resource
import subprocess
import sys
import time

from e2e.resources import Failure

HERE = os.path.dirname(os.path.abspath(__file__))
TICK = os.sysconf("SC_CLK_TCK")
WORK_MAX_S = 600
QUIET_S, QUIET_CPU_S, QUIET_MAX_S = 0.15, 0.003, 20.0


def process_cpu(pid):
    """Processor seconds of a process, dead threads included: its clock, or /proc/PID/stat where that is refused."""
    if pid is None:
        return 0.0
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
            fields = stream.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


def machine_cpu():
    """Busy and stolen processor seconds of all processors since boot."""
    with open("/proc/stat", encoding="utf-8") as stream:
        fields = [int(f) / TICK for f in stream.readline().split()[1:]]
    return fields[0] + fields[1] + fields[2] + fields[5] + fields[6], fields[7]


def reset_peak(pid):
    """Starts a new peak of resident memory."""
    if pid is not None:
        with open(f"/proc/{pid}/clear_refs", "w", encoding="utf-8") as stream:
            stream.write("5")


def memory(pid):
    """Peak resident bytes (mapped store included) and anonymous ones now."""
    found = {"VmHWM": 0, "RssAnon": 0}
    if pid is not None:
        with open(f"/proc/{pid}/status", encoding="utf-8") as stream:
            for line in stream:
                name, _, rest = line.partition(":")
                if name in found:
                    found[name] = int(rest.split()[0]) * 1024
    return found["VmHWM"], found["RssAnon"]


def quiesce(pid):
    """Waits until a daemon rests; returns the processor seconds it took since the call."""
    if pid is None:
        return 0.0
    begin = mark = process_cpu(pid)
    until = time.monotonic() + QUIET_MAX_S
    while time.monotonic() < until:
        time.sleep(QUIET_S)
        now = process_cpu(pid)
        if now - mark < QUIET_CPU_S:
            break
        mark = now
    return process_cpu(pid) - begin


def drop_caches():
    """Empties page, dentry and inode cache; mapped pages survive this, which is why targets remount first."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="utf-8") as stream:
        stream.write("3")


def window(target, work, stored=False):
    """Runs work(), a function that returns at least seconds, user and system of its client; returns all figures."""
    target.settle()
    quiesce(target.pid)
    before_stored = target.stored() if stored else 0
    reset_peak(target.pid)
    daemon, (busy, stolen) = process_cpu(target.pid), machine_cpu()
    begin = time.monotonic()
    figures = work()
    figures["window_seconds"] = time.monotonic() - begin
    at_end = process_cpu(target.pid)
    busy_end, stolen_end = machine_cpu()
    settle_begin = time.monotonic()
    target.settle()
    quiesce(target.pid)
    figures["daemon"] = at_end - daemon
    figures["daemon_after"] = process_cpu(target.pid) - at_end
    figures["settle_seconds"] = time.monotonic() - settle_begin
    figures["machine"] = busy_end - busy
    figures["stolen"] = stolen_end - stolen
    figures["peak_rss"], figures["anon_rss"] = memory(target.pid)
    if stored:
        figures["stored_grown"] = target.stored() - before_stored
    return figures


def stream(order):
    """Runs the client on one order."""
    argv = [sys.executable, "-B", os.path.join(HERE, "client.py")]
    out = subprocess.run(argv, input=json.dumps(order), capture_output=True, text=True, timeout=WORK_MAX_S, check=False)
    if out.returncode != 0:
        raise Failure(out.stderr.strip()[-300:])
    return json.loads(out.stdout.splitlines()[-1])


def command(argv, cwd="/", env=None):
    """Runs a program; its wall time, and the processor time of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    out = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=WORK_MAX_S, check=False)
    seconds = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if out.returncode != 0:
        raise Failure(f"{' '.join(argv[:3])}: exit {out.returncode}: {out.stderr.strip()[-300:]}")
    return {"seconds": seconds, "user": after.ru_utime - before.ru_utime, "system": after.ru_stime - before.ru_stime,
            "stdout": out.stdout}


def timed(action, *args):
    """Times a call made by the harness itself, programs that it runs included."""
    owners = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before = [resource.getrusage(who) for who in owners]
    begin = time.monotonic()
    action(*args)
    seconds = time.monotonic() - begin
    after = [resource.getrusage(who) for who in owners]
    return {"seconds": seconds, "user": sum(b.ru_utime - a.ru_utime for a, b in zip(before, after)),
            "system": sum(b.ru_stime - a.ru_stime for a, b in zip(before, after))}
