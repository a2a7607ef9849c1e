# SPDX-License-Identifier: MIT
"""One line of the results: what is done, in which unit it counts, and on which state it starts."""

import dataclasses
from typing import Callable, Optional

RATES = ("MB/s", "IOPS")  # more is better; every other unit is a time, less is better


@dataclasses.dataclass
class Item:
    """`run(scene, target)` returns figures with `seconds`, `user`, `system`, and `bytes` or `ops` where they apply."""

    name: str
    title: str
    group: str  # stream, random, tree or other: decides table section and plot
    unit: str
    run: Callable
    prepare: Optional[Callable] = None  # off the clock, on each target
    before: Optional[Callable] = None  # off the clock, once for all targets: the payload
    cold: bool = False  # start with nothing cached
    stored: bool = False  # note by how much the stored bytes grow
    check: Optional[Callable] = None  # off the clock: the content is what was written
    applies: Optional[Callable] = None  # targets that can do it at all
    derived: bool = False  # another figure of work that an earlier item did: no processor time of its own

    @property
    def more_is_better(self):
        """Direction of the figure."""
        return self.unit in RATES


class Scene:
    """What all items share: the plan, the payloads and trees on tmpfs, the round."""

    def __init__(self, plan, shm):
        self.plan = plan
        self.shm = shm
        self.round = 0
        self.unique = None
        self.compressible = None
        self.tree = None
        self.tree_bytes = 0
        self.tar = None
        self.repository = None

    def stamp(self, payload, name):
        """New content for a payload, the same for all targets of this round."""
        payload.stamp(f"{self.round} {name}")


def value(item, figures):
    """The figure of an item in its unit."""
    if item.unit == "MB/s":
        return figures["bytes"] / figures["seconds"] / 1e6
    if item.unit == "IOPS":
        return figures["ops"] / figures["seconds"]
    if item.unit == "us":
        return figures["latency_us"]
    if item.unit == "ms":
        return figures["seconds"] * 1e3
    return figures["seconds"]
