# SPDX-License-Identifier: MIT
"""The machine and the programs of a run, so that figures can be judged later."""

import os
import platform
import re
import shutil
import subprocess

from e2e.resources import call

VERSIONS = {"fio": ["fio", "--version"], "bindfs": ["bindfs", "--version"], "btrfs": ["mkfs.btrfs", "--version"],
            "duperemove": ["duperemove", "--version"], "zfs-fuse": ["dpkg-query", "-W", "-f", "${Version}", "zfs-fuse"],
            "git": ["git", "--version"], "libfuse": ["pkg-config", "--modversion", "fuse3"],
            "rocksdb": ["dpkg-query", "-W", "-f", "${Version}", "librocksdb-dev"]}


def _first(path, pattern, default="unknown"):
    try:
        with open(path, encoding="utf-8") as stream:
            found = re.search(pattern, stream.read(), re.M)
    except OSError:
        return default
    return found.group(1).strip() if found else default


def _version(argv):
    if shutil.which(argv[0]) is None:
        return None
    out = subprocess.run(argv, capture_output=True, text=True, check=False)
    lines = (out.stdout + out.stderr).strip().splitlines()
    return lines[0][:60] if out.returncode == 0 and lines else None


def _disk(path):
    number = os.stat(path).st_dev
    base = os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    model = _first(os.path.join(base, "device/model"), r"(.*)", "")
    return " ".join(part for part in (os.path.basename(base), model) if part)


def describe(work, foldfs):
    """A flat dictionary of strings and numbers."""
    memory = int(_first("/proc/meminfo", r"^MemTotal:\s+(\d+)", "0"))
    return {
        "processor": _first("/proc/cpuinfo", r"^model name\s*:\s*(.*)$", platform.machine()),
        "processors": os.cpu_count(),
        "memory_bytes": memory * 1024,
        "kernel": platform.release(),
        "system": _first("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)'),
        "virtual": "hypervisor" in _first("/proc/cpuinfo", r"^flags\s*:\s*(.*)$", ""),
        "disk": _disk(work),
        "filesystem": call("stat", "-f", "-c", "%T", work).strip(),
        "load_before": os.getloadavg()[0],
        "foldfs": (call(foldfs, "version", check=False) or "unknown").strip().splitlines()[0],
        "versions": {name: _version(argv) for name, argv in VERSIONS.items()},
    }


def sentence(machine):
    """The same for people."""
    versions = ", ".join(f"{name} {text.split()[-1] if name != 'fio' else text}"
                         for name, text in machine["versions"].items() if text)
    return (f"{machine['processor']}{' (virtual machine)' if machine['virtual'] else ''}, {machine['processors']} "
            f"processors, {machine['memory_bytes'] / (1 << 30):.0f} GiB memory; {machine['system']}, kernel "
            f"{machine['kernel']}; disk {machine['disk']}, {machine['filesystem']}; load before the run "
            f"{machine['load_before']:.1f}; {machine['foldfs']}; {versions}")
