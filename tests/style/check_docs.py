# SPDX-License-Identifier: MIT
"""Documents tell the truth: named paths exist; --help, man pages and the option table list the same options."""

import glob
import os
import re
import shutil
import subprocess

import tree

FOLDFS = os.environ.get("FOLDFS", os.path.join(tree.TOP, "build/release/foldfs"))
FOLDERS = "asm|meta|hashing|chunker|fs|tests|bench|docs|scripts|\\.ci"
PATH = re.compile(rf"(?<![\w/.-])((?:{FOLDERS})/[\w./*{{}},-]*[\w*}}/])(?![\w<])")
SUFFIXES = ("", ".c", ".h", ".md", ".py", ".asm")
PAGES = {"mkfs": "mkfs.foldfs.8", "mount": "mount.foldfs.8"}


def expand(name):
    """{a,b} as a shell would."""
    match = re.search(r"\{([^{}]*)\}", name)
    if match is None:
        return [name]
    return [n for part in match.group(1).split(",")
            for n in expand(name[:match.start()] + part + name[match.end():])]


def check_paths(page):
    """Every path of the tree that a document names leads somewhere."""
    for number, line in enumerate(tree.read(page).splitlines(), 1):
        for name in PATH.findall(line):
            for one in expand(name.rstrip(".,")):
                if not any(glob.glob(os.path.join(tree.TOP, one + suffix)) for suffix in SUFFIXES):
                    tree.complain(page, number, f"there is no {one}")


def help_of(*words):
    """What foldfs WORDS --help prints."""
    out = subprocess.run([FOLDFS, *words, "--help"], capture_output=True, text=True, timeout=30, check=False)
    if out.returncode != 0:
        tree.complain("fs/cli", 0, f"foldfs {' '.join(words)} --help ends with {out.returncode}")
    return out.stdout


def listed_options(text):
    """Long options of a help text."""
    return set(re.findall(r"^  (?:-\w, )?--([\w-]+)", text, re.M))


def check_verb(verb):
    """One verb against its page, both ways."""
    page = "docs/man/" + PAGES.get(verb, f"foldfs-{verb}.8")
    if not os.path.exists(os.path.join(tree.TOP, page)):
        tree.complain(page, 0, f"the verb {verb} has no man page")
        return
    text = tree.read(page)
    documented = set(re.findall(r"^\.It (?:Fl \w , )?Fl -([\w-]+)", text, re.M))
    offered = listed_options(help_of(verb))
    for name in sorted(offered - documented):
        tree.complain(page, 0, f"--{name} is in 'foldfs {verb} --help' only")
    for name in sorted(documented - offered):
        tree.complain(page, 0, f"--{name} is not in 'foldfs {verb} --help'")
    if verb not in tree.read("docs/man/foldfs.8"):
        tree.complain("docs/man/foldfs.8", 0, f"the verb {verb} is not mentioned")


def check_mount_options():
    """options.def, the help and the man page of mount."""
    page = tree.read("docs/man/mount.foldfs.8")
    table = re.findall(r'^FOLD_OPT_(\w+)\("([^"]+)"', tree.read("fs/options.def"), re.M)
    served = {name for kind, name in table if kind not in ("REFUSE", "IGNORE")}
    others = {name for kind, name in table if kind in ("REFUSE", "IGNORE")}
    body = help_of("mount").split("Mount options:")[-1]
    helped = set(re.findall(r"^  ([a-z_]+)[= ]", body, re.M))
    documented = set()
    for line in re.findall(r"^\.It Cm (.*)$", page, re.M):
        documented |= set(re.findall(r"[a-z_]+", line.split(" Ns ")[0]))
    for name in sorted(served ^ helped):
        tree.complain("fs/options.def", 0, f"{name} is in only one of options.def and --help")
    for name in sorted(served ^ documented):
        tree.complain("docs/man/mount.foldfs.8", 0, f"{name} is in only one of options.def and the man page")
    for name in sorted(others):
        if not re.search(rf"(?<![\w-]){re.escape(name.rstrip('=*'))}", page):
            tree.complain("docs/man/mount.foldfs.8", 0, f"{name} is accepted or refused, but not mentioned")


def check_render():
    """The pages are valid mdoc, where groff is there to ask."""
    if shutil.which("groff") is None:
        return
    for path in sorted(glob.glob(os.path.join(tree.TOP, "docs/man/*.8"))):
        out = subprocess.run(["groff", "-mdoc", "-Tutf8", "-ww", path], capture_output=True, text=True, check=False)
        if out.stderr.strip():
            tree.complain(os.path.relpath(path, tree.TOP), 0, out.stderr.strip().splitlines()[0])


def main():
    """Checks documents and pages."""
    for page in tree.files(".md", ".8"):
        check_paths(page)
    verbs = re.findall(r"^FOLD_VERB\((\w+)\)", tree.read("fs/cli/verbs.def"), re.M)
    for verb in verbs:
        check_verb(verb)
    for name in re.findall(r"^  (\w+) ", help_of(), re.M):
        if name not in verbs + ["help", "version"]:
            tree.complain("fs/cli/verbs.def", 0, f"--help lists an unknown verb {name}")
    check_mount_options()
    check_render()
    if len(verbs) < 5:
        tree.complain("fs/cli/verbs.def", 0, "the table of verbs could not be read")
    tree.finish()


main()
