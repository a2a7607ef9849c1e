# SPDX-License-Identifier: MIT
"""Where the daemon's processor time goes: perf samples of the large-file paths, sorted into stages.

A sample belongs to the first frame, from the innermost outwards, that a stage claims; a page fault or a copy in the
kernel so counts for the stage that caused it. Times are the shares of the daemon's own clock in the same window.
"""

import collections
import json
import os
import re
import shutil
import signal
import subprocess
import time

from e2e import measure, streams, summary
from e2e.resources import Failure

FREQUENCY = 1499
STAGES = [
    ("decompress", r"LZ4_decompress|ZSTD_decompress|fold_codec_decompress|fold_reader_decode"),
    ("compress", r"LZ4_|ZSTD_|fold_codec_compress|fold_entropy"),
    ("hash", r"XXH|fold_hasher|SHA256|blake3|fold_dedup_fingerprint"),
    ("verify", r"fold_compare|fold_store_compare|fold_reader_compare"),
    ("scan", r"fold_cdc|fold_cut|fold_zero|fold_data_run|fold_ingest_cut"),
    ("checksum", r"fold_crc32|fold_rec_payload_crc|crc32"),
    ("probe", r"fold_probe|fold_filter|fold_regions|fold_line|fold_locality|fold_openindex|fold_index|fold_store_find|"
              r"fold_dedup|look_up|find_twins"),
    ("catalog", r"fold_kv|rocksdb|fold_txn|fold_journal|fold_edit|fold_page|fold_recipe|fold_catalog|fold_commit"),
    ("append", r"fold_segment|fold_appender|fold_store_put|fold_barrier|fold_seal|window_append|f(data)?sync"),
    ("find and map", r"fold_read_|fold_reader|fold_segmap|fold_segset|fold_forward|fold_store_view|fold_gate"),
    ("requests", r"fuse_|op_\w+|serve|fold_loop|fold_buf|fold_slices|fold_data_|fold_budget"),
]
COMPILED = [(name, re.compile(pattern)) for name, pattern in STAGES]
ORDER = ["requests", "scan", "hash", "probe", "verify", "compress", "decompress", "checksum", "append", "catalog",
         "find and map", "other"]


def local_labels(binary):
    """Assembly labels without a name of their own, and the function each lies in; ambiguous ones are left out."""
    out = subprocess.run(["nm", "-n", binary], capture_output=True, text=True, check=False).stdout
    owners, current = {}, None
    for line in out.splitlines():
        name = line.split()[-1]
        if name.startswith("..@"):
            owners.setdefault(name, set()).add(current)
        elif re.match(r"fold_", name):
            current = name
    return {name: next(iter(found)) for name, found in owners.items() if len(found) == 1}


def stage_of(frames, labels):
    """The stage of one stack, innermost frame first."""
    for frame in frames:
        frame = labels.get(frame, frame)
        for name, pattern in COMPILED:
            if pattern.search(frame):
                return name
    return "other"


def shares(data, labels):
    """Stage -> share of all samples, and the number of samples."""
    out = subprocess.run(["perf", "script", "-i", data, "--no-inline", "-F", "ip,sym"], capture_output=True, text=True,
                         check=False).stdout
    counts, frames = collections.Counter(), []
    for line in out.splitlines() + [""]:
        if line.strip():
            frames.append(line.split(None, 1)[1].strip() if " " in line.strip() else "")
        elif frames:
            counts[stage_of(frames, labels)] += 1
            frames = []
    total = sum(counts.values())
    return {name: n / total for name, n in counts.items()}, total


def profiled(target, work, folder, labels):
    """One window under perf: figures, shares by stage, samples."""
    data = os.path.join(folder, "perf.data")
    perf = subprocess.Popen(["perf", "record", "-q", "-F", str(FREQUENCY), "--call-graph", "dwarf,16384", "-p",
                             str(target.pid), "-o", data], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1.0)  # perf attaches to every thread first
        figures = measure.window(target, work)
    finally:
        perf.send_signal(signal.SIGINT)
        perf.wait(60)
    found, samples = shares(data, labels)
    os.unlink(data)
    return figures, found, samples


def paths(scene, target):
    """(title, prepare, work) of each path, in the order that makes each find what it needs."""

    def fresh(payload):
        return lambda: (scene.stamp(payload, f"stages {time.monotonic()}"), target.settle())

    def nothing():
        target.settle()

    return [
        ("unique", fresh(scene.unique), lambda: streams.write("unique", "a")(scene, target)),
        ("stored already", nothing, lambda: streams.write("unique", "b")(scene, target)),
        ("compressible 2:1", fresh(scene.compressible), lambda: streams.write("compressible", "c")(scene, target)),
        ("read cold", target.cool, lambda: streams.read("a")(scene, target)),
        ("read cold, LZ4", target.cool, lambda: streams.read("c")(scene, target)),
    ]


def run(scene, target, binary, folder, runs=2):
    """All paths; returns {title: {"cpu": core-s/GB, "stages": {stage: core-s/GB}, "samples": n}}."""
    if shutil.which("perf") is None:
        raise Failure("perf is not installed (package linux-perf)")
    labels = local_labels(binary)
    target.create()
    streams.write("unique", "warm")(scene, target)  # pools and files exist from here on
    results = {}
    for title, prepare, work in paths(scene, target):
        cpu, stages, samples, byte_count = 0.0, collections.Counter(), 0, 0
        for _ in range(runs):
            prepare()
            figures, found, count = profiled(target, work, folder, labels)
            used = summary.daemon(figures)
            for name, share in found.items():
                stages[name] += share * used
            cpu += used
            samples += count
            byte_count += figures["bytes"]
        per_gb = 1e9 / byte_count
        results[title] = {"cpu": cpu * per_gb, "samples": samples,
                          "stages": {name: used * per_gb for name, used in stages.items()}}
        print(f"  {title}: {cpu * per_gb:.2f} core-s/GB, {samples} samples", flush=True)
    return results


def markdown(results):
    """The table, one column a path."""
    titles = list(results)
    lines = ["| stage, daemon core-s/GB | " + " | ".join(titles) + " |", "|---|" + "---:|" * len(titles)]
    for stage in ORDER:
        row = [results[t]["stages"].get(stage, 0.0) for t in titles]
        if any(v >= 0.005 for v in row):
            lines.append(f"| {stage} | " + " | ".join(f"{v:.2f}" if v >= 0.005 else "-" for v in row) + " |")
    lines.append("| **all** | " + " | ".join(f"**{results[t]['cpu']:.2f}**" for t in titles) + " |")
    return "\n".join(lines) + "\n"


def save(results, folder):
    """JSON and table."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "stages.json"), "w", encoding="utf-8") as stream:
        json.dump(results, stream, indent=1)
        stream.write("\n")
    with open(os.path.join(folder, "stages.md"), "w", encoding="utf-8") as stream:
        stream.write(markdown(results))
