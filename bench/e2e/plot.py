# SPDX-License-Identifier: MIT
"""SVG bar charts of a run, by gnuplot: dark on white, one chart a question."""

import os
import shutil
import subprocess

from e2e.summary import client, daemon

COLOURS = {"foldfs": "#1b4f9c", "ext4": "#444444", "bindfs": "#9a9a9a", "zfs-fuse": "#c0651a", "btrfs": "#3d8b4f"}
HEAD = """set terminal svg size {width},{height} font "DejaVu Sans,13" background "#ffffff" linewidth 1
set output "{out}"
set title "{title}" noenhanced textcolor rgb "#111111"
set style data histograms
set style fill solid 1.0 noborder
set boxwidth 0.9
set grid ytics linetype 1 linecolor rgb "#dddddd"
set border 3 linecolor rgb "#333333"
set tics nomirror textcolor rgb "#111111"
set xtics scale 0 rotate by {turn} noenhanced
set ylabel "{label}" textcolor rgb "#111111"
set key outside top right textcolor rgb "#111111"
set bmargin {bottom}
"""


def quoted(text):
    """A string for gnuplot's data and titles."""
    return '"' + text.replace("\\", "").replace('"', "'") + '"'


def draw(folder, name, title, label, head, rows, logarithmic=False, stacked=False, colours=None):
    """Writes NAME.svg; rows are (label, values), None values stay empty."""
    rows = [(text, values) for text, values in rows if any(v is not None for v in values)]
    if not rows:
        return None
    out = os.path.join(folder, f"{name}.svg")
    lines = ["$data << END"]
    lines += [quoted(text) + " " + " ".join("NaN" if v is None else f"{v:.6g}" for v in values) for text, values in rows]
    longest = max(len(text) for text, _ in rows)
    bottom = longest * (0.5 if stacked else 0.3) + 2
    width = max(760, 220 + 26 * len(rows) * (1 if stacked else max(2, len(head) // 2)))
    lines += ["END", HEAD.format(width=width, height=int(340 + 16 * bottom), bottom=bottom, out=out,
                                 title=title, label=label, turn="90 right" if stacked else "-30 left")]
    lines.append("set style histogram rowstacked" if stacked else "set style histogram clustered gap 1")
    lines.append("set logscale y" if logarithmic else "set yrange [0:*]")
    colours = colours or [COLOURS.get(h, "#7a4fa0") for h in head]
    plots = [f'$data using {n + 2}{":xtic(1)" if n == 0 else ""} title {quoted(h)} linecolor rgb "{colours[n]}"'
             for n, h in enumerate(head)]
    lines.append("plot " + ", ".join(plots))
    made = subprocess.run(["gnuplot"], input="\n".join(lines) + "\n", text=True, capture_output=True, check=False)
    if made.returncode != 0 or not os.path.exists(out):
        print(f"bench: gnuplot: {made.stderr.strip()[-300:]}")
        return None
    return out


def grouped(summary, wanted):
    """Rows of the items that wanted(item) picks, one value a target."""
    return [(name, [summary.median(name, t) for t in summary.targets])
            for name, item in summary.items.items() if wanted(item)]


def processor_rows(summary):
    """Per target and stream item: client, daemon."""
    rows = []
    for name in ("write-unique", "write-stored", "write-compressible", "read-cold", "read-cold-compressed",
                 "read-warm"):
        if name not in summary.items:
            continue
        for target in summary.targets:
            ours, theirs = summary.cpu(name, target, client), summary.cpu(name, target, daemon)
            if ours is not None:
                rows.append((f"{name}: {target}", [ours, theirs]))
    return rows


def draw_all(summary, folder):
    """All charts; the paths of those that were made."""
    if shutil.which("gnuplot") is None:
        print("bench: no plots: gnuplot is not installed")
        return []
    targets = summary.targets
    made = [
        draw(folder, "streams", "Sequential work, 1 MiB requests (more is better)", "MB/s", targets,
             grouped(summary, lambda i: i["group"] == "stream")),
        draw(folder, "random", "4 KiB and disk image work (more is better, logarithmic)", "requests/s", targets,
             grouped(summary, lambda i: i["group"] == "random"), logarithmic=True),
        draw(folder, "trees", "Small files (less is better, logarithmic)", "seconds", targets,
             grouped(summary, lambda i: i["group"] == "tree"), logarithmic=True),
        draw(folder, "latency", "fsync after a 4 KiB append (less is better, logarithmic)", "microseconds", targets,
             grouped(summary, lambda i: i["unit"] == "us"), logarithmic=True),
        draw(folder, "processor", "Processor time (less is better)", "core-s/GB", ["client", "daemon"],
             processor_rows(summary), stacked=True, colours=["#9a9a9a", "#1b4f9c"]),
        draw(folder, "stored", "Growth of the stored bytes (less is better)", "MiB", targets,
             [(name, [None if g is None else max(g, 0) / (1 << 20) for g in
                               (summary.median(name, t, lambda s: s.get("stored_grown")) for t in targets)])
              for name, item in summary.items.items() if item["group"] in ("stream", "tree")]),
    ]
    return [path for path in made if path]
