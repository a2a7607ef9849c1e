# SPDX-License-Identifier: MIT
"""Medians and ratios of a run's samples.

A ratio is taken within a round, between two targets that did the same work minutes apart at most, and the median is
taken of these ratios: what the machine did between rounds cancels.
"""

import statistics


class Summary:
    """Read-only view of one results.json."""

    def __init__(self, results):
        self.results = results
        self.targets = [t["name"] for t in results["targets"]]
        self.titles = {t["name"]: t["title"] for t in results["targets"]}
        self.items = {i["name"]: i for i in results["items"]}
        self._samples = {}
        self.errors = []
        for sample in results["samples"]:
            key = sample["item"], sample["target"]
            if "error" in sample:
                self.errors.append(sample)
            else:
                self._samples.setdefault(key, {})[sample["round"]] = sample

    def rounds(self, item, target):
        """Samples of an item on a target, by round."""
        return self._samples.get((item, target), {})

    def median(self, item, target, figure=lambda sample: sample["value"]):
        """Median of a figure, None without samples."""
        found = [figure(s) for s in self.rounds(item, target).values()]
        found = [f for f in found if f is not None]
        return statistics.median(found) if found else None

    def ratio(self, item, target, base, base_item=None, figure=lambda sample: sample["value"]):
        """Median of the rounds' ratios target : base, None where either is missing."""
        ours, theirs = self.rounds(item, target), self.rounds(base_item or item, base)
        found = [figure(ours[r]) / figure(theirs[r]) for r in ours if r in theirs and figure(theirs[r])]
        return statistics.median(found) if found else None

    def spread(self, item, target):
        """Half the distance of the extremes over the median: how far to trust it."""
        found = [s["value"] for s in self.rounds(item, target).values()]
        middle = statistics.median(found) if found else 0
        return (max(found) - min(found)) / 2 / middle if middle else None

    def cpu(self, item, target, owner):
        """Processor seconds per GB (of 10^9 bytes), or per 1000 operations or files, or in all."""

        def figure(sample):
            return owner(sample) / scale(sample)[0]

        return self.median(item, target, figure)

    def cpu_unit(self, item):
        """What cpu() divides by."""
        for target in self.targets:
            for sample in self.rounds(item, target).values():
                return scale(sample)[1]
        return ""


def scale(sample):
    """(divisor, its name) that fits the work."""
    if sample.get("files"):
        return sample["files"] / 1e3, "1000 files"
    if sample.get("bytes") and sample["unit"] == "MB/s":
        return sample["bytes"] / 1e9, "GB"
    if sample.get("ops"):
        return sample["ops"] / 1e3, "1000 requests"
    return 1.0, "run"


def client(sample):
    """Processor seconds of the program that asks."""
    return sample["user"] + sample["system"]


def daemon(sample):
    """Processor seconds of the daemon, what it did after the end included."""
    return sample["daemon"] + sample["daemon_after"]
