# SPDX-License-Identifier: MIT
"""The run: rounds, in each all items in order, each item on all targets one after the other, in changing order."""

import argparse
import dataclasses
import datetime
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import time

from e2e import dataset, document, fiojobs, item, machine, measure, peers, plan, plot, report, resources, stages, streams
from e2e import targets, trees
from e2e.summary import Summary

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROBLEMS = (resources.Failure, OSError, subprocess.SubprocessError, ValueError)


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures foldfs beside its peers.")
    parser.add_argument("mode", nargs="?", default="quick", choices=[*plan.PLANS, "stages", "render"],
                        help="sizes of the run; stages: profile foldfs; render: table and plots of old results")
    parser.add_argument("--rounds", type=int, help="rounds to take the median of")
    parser.add_argument("--stream-mib", type=int, help="size of the sequential files")
    parser.add_argument("--targets", default="*", help="patterns, comma list: foldfs,ext4,bindfs,zfs-fuse,btrfs")
    parser.add_argument("--work", default="*", help="patterns of items, comma list; what they need must be in it")
    parser.add_argument("--dir", default="/var/tmp", help="where stores lie (default %(default)s)")
    parser.add_argument("--out", help="where results go (default bench/results/MODE)")
    parser.add_argument("--foldfs", default=os.path.join(TOP, "build/release/foldfs"), help="binary to measure")
    parser.add_argument("--mkfs-options", default="", help="options of foldfs mkfs, separated by blanks")
    parser.add_argument("--mount-options", default="", help="mount options of foldfs, comma list")
    parser.add_argument("--page", help="page to put the tables into (render), such as docs/PERFORMANCE.md")
    parser.add_argument("--list", action="store_true", help="list items and targets")
    return parser.parse_args()


def chosen(patterns, name):
    """True if a comma list of patterns has the name."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns.split(","))


def all_items():
    """Every item in the order of a round."""
    return streams.items() + fiojobs.items() + trees.items() + streams.last_items()


def make_targets(args, work, sizes):
    """(usable targets, {name: why not})."""
    image = 24 * sizes.stream_bytes + 8 * (sizes.image_bytes + 4 * sizes.random_bytes) + (4 << 30)
    every = [targets.Foldfs(work, args.foldfs, args.mkfs_options.split(), args.mount_options),
             targets.Ext4(work, image), targets.Bindfs(work), peers.ZfsFuse(work, image), peers.Btrfs(work, image)]
    usable, skipped = [], {}
    for target in every:
        if not chosen(args.targets, target.name):
            continue
        why = target.why_not()
        if why is None:
            usable.append(target)
        else:
            skipped[target.name] = why
            print(f"bench: {target.name} is skipped: {why}")
    return usable, skipped


def make_payloads(sizes, shm):
    """What sequential work writes, on tmpfs."""
    room = os.statvfs(shm)
    need = 2 * sizes.stream_bytes + sizes.tree_files * 24000
    if room.f_bavail * room.f_frsize < need:
        raise resources.Failure(f"/dev/shm has no room for {need >> 20} MiB of test data")
    scene = item.Scene(sizes, shm)
    scene.unique = dataset.Payload(os.path.join(shm, "unique"), sizes.stream_bytes, dataset.random_block())
    scene.compressible = dataset.Payload(os.path.join(shm, "compressible"), sizes.stream_bytes,
                                         dataset.compressible_block())
    return scene


def make_scene(sizes, shm):
    """Payloads and trees."""
    scene = make_payloads(sizes, shm)
    scene.tree = os.path.join(shm, "tree")
    scene.tree_bytes = dataset.make_tree(scene.tree, sizes.tree_files)
    scene.tar = os.path.join(shm, "tree.tar")
    dataset.make_tar(scene.tar, scene.tree)
    scene.repository = dataset.make_repository(os.path.join(shm, "repository.git"), os.path.join(shm, "git"),
                                               sizes.git_files)
    shutil.rmtree(os.path.join(shm, "git"))
    return scene


def one(scene, work, target):
    """One item on one target: a sample."""
    sample = {"round": scene.round, "item": work.name, "target": target.name, "unit": work.unit}
    try:
        if work.prepare is not None:
            work.prepare(scene, target)
        if work.cold:
            target.cool()
        figures = measure.window(target, lambda: work.run(scene, target), work.stored)
        figures.pop("stdout", None)
        if work.check is not None:
            work.check(scene, target)
        sample.update(figures, value=item.value(work, figures))
    except PROBLEMS as problem:
        sample["error"] = str(problem)[:500] + target.last_words()
    return sample


def show(work, sample):
    """One line on the terminal."""
    if "error" in sample:
        print(f"  {work.name:24} {sample['target']:9} failed: {sample['error']}", flush=True)
        return
    print(f"  {work.name:24} {sample['target']:9} {report.number(sample['value']):>7} {work.unit:5} client "
          f"{sample['user'] + sample['system']:.2f} s, daemon {sample['daemon']:.2f} + {sample['daemon_after']:.2f} s",
          flush=True)


def run_rounds(scene, items, usable, rounds, results):
    """All samples, appended to results as they come."""
    for scene.round in range(rounds):
        print(f"round {scene.round + 1} of {rounds}", flush=True)
        for target in usable:
            target.create()
        for turn, work in enumerate(items):
            if work.before is not None:
                work.before(scene)
            at = (scene.round + turn) % len(usable)
            for target in usable[at:] + usable[:at]:
                if work.applies is None or work.applies(target):
                    sample = one(scene, work, target)
                    show(work, sample)
                    results["samples"].append(sample)
        for target in usable:
            try:
                results["stats"].append({"round": scene.round, "target": target.name, "stats": target.stats()})
            except PROBLEMS as problem:
                print(f"bench: {target.name}: {problem}", file=sys.stderr)
            target.destroy()


def save(results, folder):
    """JSON, table and plots."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as stream:
        json.dump(results, stream, indent=0)
        stream.write("\n")
    render(folder)


def render(folder):
    """Table and plots of the JSON that lies there."""
    with open(os.path.join(folder, "results.json"), encoding="utf-8") as stream:
        summary = Summary(json.load(stream))
    with open(os.path.join(folder, "table.md"), "w", encoding="utf-8") as stream:
        stream.write(report.markdown(summary))
    made = plot.draw_all(summary, folder)
    print(f"results: {folder}/results.json, {folder}/table.md and {len(made)} plots")
    return summary


def profile(args, stack, sizes, work, shm):
    """Where the daemon's processor time goes."""
    target = targets.Foldfs(work, args.foldfs, args.mkfs_options.split(), args.mount_options)
    stack.push(target.destroy)
    try:
        found = stages.run(make_payloads(sizes, shm), target, args.foldfs, shm)
    except PROBLEMS as problem:
        raise resources.Failure(f"{problem}{target.last_words()}") from problem
    folder = args.out or os.path.join(TOP, "bench/results/stages")
    stages.save(found, folder)
    print(stages.markdown(found), end="")
    return 0


def run(args, stack):
    """Everything between the command line and the results."""
    sizes = dataclasses.replace(plan.PLANS.get(args.mode, plan.PLANS["quick"]))
    sizes.rounds = args.rounds or sizes.rounds
    sizes.stream_bytes = args.stream_mib * plan.MIB if args.stream_mib else sizes.stream_bytes
    sizes.image_bytes = min(sizes.image_bytes, sizes.stream_bytes)
    sizes.random_bytes = min(sizes.random_bytes, sizes.stream_bytes // 4)
    work = resources.work_folder(args.dir)
    stack.push(shutil.rmtree, work, True)
    shm = resources.work_folder("/dev/shm")
    stack.push(shutil.rmtree, shm, True)
    if args.mode == "stages":
        return profile(args, stack, sizes, work, shm)
    usable, skipped = make_targets(args, work, sizes)
    for target in usable:
        stack.push(target.destroy)
    items = [i for i in all_items() if chosen(args.work, i.name)]
    if not usable or not items:
        raise resources.Failure("nothing to measure")
    results = {
        "plan": dict(dataclasses.asdict(sizes), text=plan.describe(sizes)),
        "machine": machine.describe(work, args.foldfs),
        "began": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "options": {"mkfs": args.mkfs_options, "mount": args.mount_options},
        "targets": [{"name": t.name, "title": t.title} for t in usable],
        "skipped": skipped,
        "items": [{"name": i.name, "title": i.title, "group": i.group, "unit": i.unit,
                   "more_is_better": i.more_is_better, "derived": i.derived} for i in items],
        "samples": [], "stats": [],
    }
    begin = time.monotonic()
    scene = make_scene(sizes, shm)
    run_rounds(scene, items, usable, sizes.rounds, results)
    results["took_seconds"] = time.monotonic() - begin
    save(results, args.out or os.path.join(TOP, "bench/results", args.mode))
    failed = [s for s in results["samples"] if "error" in s and s["target"] == "foldfs"]
    return 1 if failed else 0


def main():
    """Returns the exit code; the clean-up runs whatever happened."""
    args = arguments()
    if args.list:
        for work in all_items():
            print(f"{work.name:24} {work.title} ({work.unit})")
        return 0
    if args.mode == "render":
        folder = args.out or os.path.join(TOP, "bench/results/full")
        render(folder)
        if args.page:
            document.update(args.page, os.path.abspath(folder))
        return 0
    stack = resources.Stack()
    resources.on_signals()
    try:
        return run(args, stack)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    except PROBLEMS as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    finally:
        stack.unwind()


if __name__ == "__main__":
    sys.exit(main())
