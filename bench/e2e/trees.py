# SPDX-License-Identifier: MIT
"""Many small files, with the programs that people use: cp, rm, tar, git."""

import os
import shutil

from e2e import measure
from e2e.item import Item
from e2e.resources import Failure


def copy_in(scene, target):
    """cp -r from tmpfs."""
    return dict(measure.command(["cp", "-r", scene.tree, os.path.join(target.data, "tree")]), bytes=scene.tree_bytes,
                files=scene.plan.tree_files)


def copy_out(scene, target):
    """cp -r to tmpfs."""
    return dict(measure.command(["cp", "-r", os.path.join(target.data, "tree"), os.path.join(scene.shm, "out")]),
                bytes=scene.tree_bytes, files=scene.plan.tree_files)


def same(scene, target):
    """What came out is what went in."""
    try:
        measure.command(["diff", "-r", scene.tree, os.path.join(scene.shm, "out")])
    except Failure as problem:
        raise Failure(f"{target.name}: the tree that was read differs: {problem}") from problem
    shutil.rmtree(os.path.join(scene.shm, "out"))


def clear_out(scene, _target):
    """No left-over of a failed copy."""
    shutil.rmtree(os.path.join(scene.shm, "out"), ignore_errors=True)


def walk(_scene, target):
    """Has the caches know all names; other targets' turns may have emptied them."""
    for folder, _, names in os.walk(os.path.join(target.data, "tree")):
        for name in names:
            os.lstat(os.path.join(folder, name))


def remove(scene, target):
    """rm -rf."""
    return dict(measure.command(["rm", "-rf", os.path.join(target.data, "tree")]), files=scene.plan.tree_files)


def untar(scene, target):
    """tar -x of the same tree."""
    folder = os.path.join(target.data, "untar")
    os.mkdir(folder)
    return dict(measure.command(["tar", "-xf", scene.tar, "-C", folder]), bytes=scene.tree_bytes,
                files=scene.plan.tree_files)


def clone(scene, target):
    """git clone over the git protocol's own path: objects in, work tree out."""
    env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
    return measure.command(["git", "clone", "-q", "--no-local", scene.repository, os.path.join(target.data, "clone")],
                           env=env)


def items():
    """In order."""
    return [
        Item("tree-in", "cp -r in, small files", "tree", "s", copy_in, stored=True),
        Item("tree-out", "cp -r out, cold", "tree", "s", copy_out, prepare=clear_out, cold=True, check=same),
        Item("tree-remove", "rm -rf", "tree", "s", remove, prepare=walk),
        Item("untar", "untar", "tree", "s", untar, stored=True),
        Item("git-clone", "git clone", "tree", "s", clone, stored=True),
    ]
