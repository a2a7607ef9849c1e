# SPDX-License-Identifier: MIT
"""Work that fio does best: the job files in jobs/ with this run's sizes put in."""

import configparser
import json
import os

from e2e import measure
from e2e.item import Item
from e2e.resources import Failure

JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jobs")
RANDOM_FILES = 4


def render(scene, name, numjobs=1, **changes):
    """A copy of a job file with other sizes; only keys that the file has itself, or job counts, change."""
    parser = configparser.ConfigParser(allow_no_value=True, interpolation=None, strict=True)
    parser.optionxform = str
    source = os.path.join(JOBS, f"{name}.fio")
    if not parser.read(source, encoding="utf-8"):
        raise Failure(f"there is no {source}")
    section = parser["global"]
    for key, new in changes.items():
        if key not in section:
            raise Failure(f"{source} has no {key}")
        section[key] = str(new)
    section["numjobs"] = str(numjobs)
    section["group_reporting"] = "1"
    path = os.path.join(scene.shm, f"{name}.fio")
    with open(path, "w", encoding="utf-8") as stream:
        parser.write(stream, space_around_delimiters=False)
    return path


def percentiles(latency):
    """Those that are worth keeping of fio's list."""
    return {name: ns for name, ns in latency.get("percentile", {}).items() if float(name) in (50, 90, 99, 99.9)}


def fio(target, path):
    """Runs a job file; figures of its one group, the time of the last fsync included."""
    argv = ["fio", f"--directory={target.data}", "--output-format=json", "--eta=never", path]
    figures = measure.command(argv, cwd=os.path.dirname(path))
    text = figures.pop("stdout")
    job = json.loads(text[text.index("{"):])["jobs"][0]
    if job["error"] != 0:
        raise Failure(f"{path}: fio reports error {job['error']}")
    side = job["write"] if job["write"]["total_ios"] else job["read"]
    job_seconds = job["job_runtime"] / 1e3  # without fio's own start, which is longer than some of the work
    figures.update(user=job["usr_cpu"] / 100 * job_seconds, system=job["sys_cpu"] / 100 * job_seconds,
                   bytes=side["io_bytes"], ops=side["total_ios"], wall_seconds=figures["seconds"],
                   seconds=side["runtime"] / 1e3, latency_ns=percentiles(side["clat_ns"]),
                   sync_ns=percentiles(job["sync"]["lat_ns"]))
    return figures


def random_files(scene, target):
    """The four files under the 4K work, whole and settled; laid out once a round."""
    size = scene.plan.random_bytes
    if os.path.exists(os.path.join(target.data, "random.0.0")):
        return
    scene.stamp(scene.unique, "random")
    piece = scene.unique.size // RANDOM_FILES
    measure.stream({"op": "write", "payload": scene.unique.path, "block": 1 << 20, "jobs": [
        {"path": os.path.join(target.data, f"random.{number}.0"), "offset": number * piece, "length": size}
        for number in range(RANDOM_FILES)]})
    target.settle()


def known_files(scene, target):
    """The same, read once: other targets' turns may have emptied the caches."""
    random_files(scene, target)
    measure.stream({"op": "read", "block": 1 << 20, "jobs": [
        {"path": os.path.join(target.data, f"random.{number}.0"), "length": scene.plan.random_bytes}
        for number in range(RANDOM_FILES)]})


def image(scene, target):
    """A disk image, settled and read once."""
    path = os.path.join(target.data, "image.0.0")
    if not os.path.exists(path):
        scene.stamp(scene.compressible, "image")
        measure.stream({"op": "write", "payload": scene.compressible.path, "block": 1 << 20, "jobs": [
            {"path": path, "offset": 0, "length": scene.plan.image_bytes}]})
        target.settle()
    measure.stream({"op": "read", "block": 1 << 20, "jobs": [{"path": path, "length": scene.plan.image_bytes}]})


def random_item(name, title, jobs, cold=False):
    """One of the 4K rows."""

    def run(scene, target):
        plan = scene.plan
        return fio(target, render(scene, name, jobs, size=plan.random_bytes, io_size=plan.random_io_bytes,
                                  runtime=plan.fio_seconds))

    suffix = "" if jobs == 1 else f"-{jobs}"
    count = "1 job" if jobs == 1 else f"{jobs} jobs"
    return Item(name + suffix, f"{title}, {count}", "random", "IOPS", run,
                prepare=random_files if cold else known_files, cold=cold)


def dedupe_item(percent):
    """fio's own duplicates, drawn from a working set."""

    def run(scene, target):
        return fio(target, render(scene, f"dedupe{percent}", size=scene.plan.stream_bytes))

    return Item(f"fio-dedupe{percent}", f"fio, dedupe_percentage={percent}, working set", "stream", "MB/s", run,
                stored=True)


def image_item(size):
    """Overwrites in a disk image."""
    name = f"image-{size}"

    def run(scene, target):
        plan = scene.plan
        return fio(target, render(scene, name, size=plan.image_bytes, io_size=plan.image_io_bytes,
                                  runtime=plan.fio_seconds))

    return Item(name, f"disk image, {size.upper()} overwrites, fdatasync every 32", "random", "IOPS", run,
                prepare=image, stored=True)


def latency_item(percentile, label):
    """Percentiles of fsync; the work runs once, for the first of them."""

    def run(scene, target):
        key = (scene.round, target.name)
        memory = scene.__dict__.setdefault("fsync_runs", {})
        if key not in memory:
            memory[key] = fio(target, render(scene, "fsync-latency", io_size=scene.plan.fsync_writes * 4096,
                                             runtime=scene.plan.fio_seconds))
        figures = dict(memory[key])
        wanted = [ns for name, ns in figures["sync_ns"].items() if abs(float(name) - percentile) < 1e-6]
        if not wanted:
            raise Failure(f"fio gave no {label} of fsync")
        figures["latency_us"] = wanted[0] / 1e3
        return figures

    return Item(f"fsync-{label}", f"fsync after a 4K append, {label}", "other", "us", run, derived=percentile != 50)


def items():
    """In order."""
    found = [dedupe_item(50), dedupe_item(80)]
    for jobs in (1, 4):
        found += [
            random_item("randread", "4K random read, cold", jobs, cold=True),
            random_item("randread-direct", "4K random read, direct", jobs, cold=True),
            random_item("randwrite", "4K random write", jobs),
            random_item("randwrite-fsync", "4K random write, fsync each", jobs),
            random_item("randwrite-direct", "4K random write, direct", jobs),
            random_item("randwrite-direct-fsync", "4K random write, direct, fsync each", jobs),
        ]
    found += [latency_item(50, "p50"), latency_item(99, "p99"), latency_item(99.9, "p99.9")]
    return found + [image_item("4k"), image_item("64k")]
