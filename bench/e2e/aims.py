# SPDX-License-Identifier: MIT
"""The aims of the data path, each as something a run can answer."""

import dataclasses
from typing import Optional

from e2e.summary import daemon

OURS, DISK, NOOP, PEER = "foldfs", "ext4", "bindfs", "zfs-fuse"


@dataclasses.dataclass
class Aim:
    """`limit` is compared with the paired ratio of foldfs to `base`; without a base, with the daemon's core-s/GB."""

    work: str
    item: str
    limit: float
    base: Optional[str] = None
    base_item: Optional[str] = None
    at_least: bool = True

    def measured(self, summary):
        """The figure, None if the run does not have it."""
        if self.base is None:
            return summary.cpu(self.item, OURS, daemon)
        base_target = OURS if self.base == "itself" else self.base
        return summary.ratio(self.item, OURS, base_target, self.base_item)

    def text(self):
        """The aim in words."""
        sign = ">=" if self.at_least else "<="
        if self.base is None:
            return f"daemon {sign} {self.limit:g} core-s/GB"
        base = "its own figure of 1 job" if self.base == "itself" else self.base
        plain = "'s plain write" if self.base_item and self.base != "itself" else ""
        return f"{sign} {self.limit:g}x {base}{plain}"

    def met(self, figure):
        """Whether the figure reaches the aim."""
        return figure >= self.limit if self.at_least else figure <= self.limit


AIMS = [
    Aim("write unique", "write-unique", 0.8, DISK),
    Aim("write unique", "write-unique", 2.0, NOOP),
    Aim("write unique", "write-unique", 0.8, at_least=False),
    Aim("write stored data", "write-stored", 1.3, DISK, "write-unique"),
    Aim("write stored data", "write-stored", 0.7, at_least=False),
    Aim("write compressible", "write-compressible", 0.6, DISK),
    Aim("read cold, uncompressed", "read-cold", 0.9, DISK),
    Aim("read cold, uncompressed", "read-cold", 0.45, at_least=False),
    Aim("read cold, compressed", "read-cold-compressed", 0.9, DISK),
    Aim("read warm", "read-warm", 0.95, DISK),
    Aim("4K random write, buffered", "randwrite", 2.0, NOOP),
    Aim("4K random write, fsync each", "randwrite-fsync", 0.7, DISK),
    Aim("4K random read, cold", "randread", 1.5, NOOP),
    Aim("cp -r in", "tree-in", 1.5, DISK, at_least=False),
    Aim("cp -r out", "tree-out", 1.5, DISK, at_least=False),
    Aim("rm -rf", "tree-remove", 1.0, DISK, at_least=False),
    Aim("write unique, 2 jobs", "write-unique-2", 1.6, "itself", "write-unique"),
]
AIMS += [Aim(f"against {PEER}: {item}", item, 5.0, PEER) for item in
         ("write-unique", "write-stored", "write-compressible", "randwrite", "randwrite-fsync")]
AIMS += [Aim(f"against {PEER}: {item}", item, 2.0, PEER) for item in
         ("read-cold", "read-cold-compressed", "read-warm", "randread")]
