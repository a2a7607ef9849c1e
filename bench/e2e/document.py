# SPDX-License-Identifier: MIT
"""Puts generated tables into a page, between markers, so that the page cannot drift from the results."""

import os
import re

from e2e.resources import Failure


def splice(page, name, text):
    """Replaces what stands between `<!-- NAME begin -->` and `<!-- NAME end -->`."""
    with open(page, encoding="utf-8") as stream:
        old = stream.read()
    pattern = re.compile(rf"(<!-- {re.escape(name)} begin -->\n).*?(<!-- {re.escape(name)} end -->)", re.S)
    if not pattern.search(old):
        raise Failure(f"{page} has no markers for {name}")
    new = pattern.sub(lambda m: m.group(1) + text.strip() + "\n" + m.group(2), old)
    with open(page, "w", encoding="utf-8") as stream:
        stream.write(new)


def read(path):
    """A generated table, its headings one level lower and without the first."""
    with open(path, encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    if lines and lines[0].startswith("# "):
        lines[0] = f"**{lines[0][2:]}**"
    return "\n".join("#" + line if line.startswith("## ") else line for line in lines)


def update(page, results):
    """Table and stages of the results that are there; returns what was put in."""
    done = []
    for name, path in (("table", os.path.join(results, "table.md")),
                       ("stages", os.path.join(os.path.dirname(results), "stages", "stages.md"))):
        if os.path.exists(path):
            splice(page, name, read(path))
            done.append(name)
    return done
