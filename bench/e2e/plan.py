# SPDX-License-Identifier: MIT
"""Sizes of a run: what `quick` and `full` mean, in one table."""

import dataclasses

MIB = 1 << 20


@dataclasses.dataclass
class Plan:
    """Everything that scales; sizes in bytes, times in seconds."""

    mode: str
    rounds: int
    stream_bytes: int  # one sequential file
    random_bytes: int  # one of the four files under 4K random work
    random_io_bytes: int  # how much of it one random job touches
    image_bytes: int  # the disk image that is updated in place
    image_io_bytes: int
    tree_files: int
    git_files: int
    fio_seconds: int  # no fio job runs longer
    fsync_writes: int


PLANS = {
    "quick": Plan("quick", rounds=3, stream_bytes=256 * MIB, random_bytes=32 * MIB, random_io_bytes=16 * MIB,
                  image_bytes=128 * MIB, image_io_bytes=16 * MIB, tree_files=4000, git_files=800, fio_seconds=3,
                  fsync_writes=500),
    "full": Plan("full", rounds=3, stream_bytes=1024 * MIB, random_bytes=128 * MIB, random_io_bytes=128 * MIB,
                 image_bytes=1024 * MIB, image_io_bytes=128 * MIB, tree_files=20000, git_files=4000, fio_seconds=10,
                 fsync_writes=4000),
}


def describe(plan):
    """One sentence for the head of a report."""
    return (f"{plan.mode}: median of {plan.rounds} rounds; streams of {plan.stream_bytes // MIB} MiB, 4K work on files "
            f"of {plan.random_bytes // MIB} MiB, an image of {plan.image_bytes // MIB} MiB, {plan.tree_files} small "
            f"files, fio jobs of at most {plan.fio_seconds} s")
