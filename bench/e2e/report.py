# SPDX-License-Identifier: MIT
"""Markdown tables of a run: figures with their ratios, processor time, memory and bytes, aims."""

from e2e import machine
from e2e.aims import AIMS
from e2e.summary import client, daemon

MIB = 1 << 20


def number(figure):
    """Three digits that matter."""
    if figure is None:
        return "-"
    size = abs(figure)
    if size >= 10000:
        return f"{figure / 1000:.1f}k"
    if size >= 100:
        return f"{figure:.0f}"
    if size >= 10:
        return f"{figure:.1f}"
    return f"{figure:.2f}" if size >= 0.1 or size == 0 else f"{figure:.3f}"


def table(head, rows):
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def cell(summary, item, target):
    """The figure, and its ratios to ext4 and to bindfs."""
    figure = summary.median(item, target)
    if figure is None:
        return "-"
    text = f"**{number(figure)}**" if target == "foldfs" else number(figure)
    ratios = [summary.ratio(item, target, base) if target != base else None for base in ("ext4", "bindfs")]
    if any(r is not None for r in ratios):
        text += " (" + " / ".join(number(r) for r in ratios) + ")"
    return text


def figures(summary):
    """The main table."""
    rows = [[f"{item['title']}, {item['unit']}" + (" *" if not item["more_is_better"] else "")]
            + [cell(summary, name, t) for t in summary.targets] for name, item in summary.items.items()]
    return table(["work"] + [summary.titles[t] for t in summary.targets], rows)


def processor(summary):
    """Client and daemon apart."""
    rows = []
    for name, item in summary.items.items():
        if item["derived"]:
            continue
        row = [f"{item['title']}, core-s per {summary.cpu_unit(name)}"]
        for target in summary.targets:
            ours, theirs = summary.cpu(name, target, client), summary.cpu(name, target, daemon)
            if ours is None:
                row.append("-")
            else:
                row.append(number(ours) if target in ("ext4", "btrfs") else f"{number(ours)} + {number(theirs)}")
        rows.append(row)
    return table(["work"] + [summary.titles[t] for t in summary.targets], rows)


def space(summary):
    """Growth of the stored bytes and peak memory."""
    rows = []
    for name, item in summary.items.items():
        row, some = [item["title"]], False
        for target in summary.targets:
            grown = summary.median(name, target, lambda s: s.get("stored_grown"))
            peak = summary.median(name, target, lambda s: s["peak_rss"])
            some = some or grown is not None
            text = "-" if grown is None else number(grown / MIB)
            row.append(text + (f" ({number(peak / MIB)})" if peak else ""))
        if some:
            rows.append(row)
    return table(["work"] + [summary.titles[t] for t in summary.targets], rows)


def aims(summary):
    """Which aims this run reaches."""
    rows = []
    for aim in AIMS:
        figure = aim.measured(summary)
        verdict = "not measured" if figure is None else "met" if aim.met(figure) else "missed"
        rows.append([aim.work, aim.text(), number(figure), verdict])
    return table(["work", "aim", "measured", ""], rows)


def foreign_load(summary):
    """Share of the processors that neither client nor daemon used while foldfs was measured."""
    busy = own = room = 0.0
    for sample in summary.results["samples"]:
        if sample["target"] == "foldfs" and "window_seconds" in sample:
            busy += sample["machine"]
            own += sample["user"] + sample["system"] + sample["daemon"]
            room += sample["window_seconds"] * summary.results["machine"]["processors"]
    return max(0.0, busy - own) / room if room else None


def noise(summary):
    """How much the rounds disagree, and what else ran."""
    spreads = [summary.spread(i, t) for i in summary.items for t in summary.targets]
    spreads = sorted(s for s in spreads if s is not None)
    stolen = sum(s.get("stolen", 0) for s in summary.results["samples"])
    if not spreads:
        return "No figures."
    foreign = foreign_load(summary)
    load = "" if foreign is None else f"other processes and the kernel's own threads took {foreign:.0%} of the processors; "
    return (f"Noise: {load}rounds of one figure differ by +-{spreads[len(spreads) // 2]:.0%} (median of all figures; worst "
            f"{spreads[-1]:.0%}); {stolen:.1f} processor seconds were stolen by the hypervisor during measurements.")


def markdown(summary):
    """The whole table file."""
    results = summary.results
    lines = [f"# Results: {results['plan']['text']}", "", f"Machine: {machine.sentence(results['machine'])}.", "",
             f"Begun {results['began']}, took {results['took_seconds'] / 60:.0f} minutes. {noise(summary)}", "",
             "Each figure is a median over the rounds; in brackets the median ratio to ext4 / to bindfs within a round.",
             "Lines with * are times: less is better, in the ratios too. Write figures include the last fsync.", ""]
    lines += figures(summary)
    lines += ["## Aims", ""] + aims(summary)
    lines += ["## Processor time: client + daemon", "",
              "GB are 10^9 bytes. The daemon's share includes what it does after the client ended, until it rests.", ""]
    lines += processor(summary)
    lines += ["## Stored bytes", "", "Growth by the work in MiB of the host's disk; in brackets the daemon's peak "
              "resident memory in MiB, pages of a mapped store included.", ""]
    lines += space(summary)
    for name, why in results["skipped"].items():
        lines.append(f"Skipped: {name}: {why}.")
    for sample in summary.errors:
        lines.append(f"Failed: {sample['item']} on {sample['target']}, round {sample['round']}: {sample['error']}")
    return "\n".join(lines).rstrip() + "\n"
