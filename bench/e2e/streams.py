# SPDX-License-Identifier: MIT
"""Sequential work: large files written and read in requests of 1 MiB, with one and several jobs."""

import os

from e2e import measure
from e2e.item import Item
from e2e.resources import Failure

BLOCK = 1 << 20


def paths(target, name, jobs):
    """One file per job."""
    return [os.path.join(target.data, f"{name}.{number}") for number in range(jobs)]


def parts(size, jobs):
    """(offset, length) of each job's share."""
    share = size // jobs
    return [(number * share, share) for number in range(jobs)]


def write(payload_name, name, jobs=1):
    """Writes a payload into new files, fsync included."""

    def run(scene, target):
        payload = getattr(scene, payload_name)
        shares = zip(paths(target, name, jobs), parts(payload.size, jobs))
        return measure.stream({"op": "write", "payload": payload.path, "block": BLOCK, "jobs": [
            {"path": path, "offset": offset, "length": length} for path, (offset, length) in shares]})

    return run


def read(name, jobs=1):
    """Reads them again."""

    def run(scene, target):
        shares = zip(paths(target, name, jobs), parts(scene.plan.stream_bytes, jobs))
        return measure.stream({"op": "read", "block": BLOCK, "jobs": [
            {"path": path, "length": length} for path, (_, length) in shares]})

    return run


def warm(name, jobs=1):
    """Has the caches hold the files; other targets' turns may have emptied them."""
    work = read(name, jobs)

    def prepare(scene, target):
        work(scene, target)

    return prepare


def check(payload_name, *names, jobs=1):
    """The files hold what was written; a fast wrong answer is no result."""

    def run(scene, target):
        payload = getattr(scene, payload_name)
        for name in names:
            for path, (offset, length) in zip(paths(target, name, jobs), parts(payload.size, jobs)):
                if not payload.matches(path, offset, length):
                    raise Failure(f"{path} does not hold what was written")

    return run


def stamp(payload_name, seed):
    """New payload content before an item."""

    def run(scene):
        scene.stamp(getattr(scene, payload_name), seed)

    return run


def delete(name):
    """Removes one large file."""

    def run(_scene, target):
        return measure.timed(os.unlink, paths(target, name, 1)[0])

    return run


def space_pass(_scene, target):
    """The pass after the fact of a target that does not deduplicate inline."""
    return measure.timed(target.space_pass)


def remount(_scene, target):
    """Mounts a store that holds everything the round has written, until it answers."""
    return measure.timed(target.mount)


def unmounted(_scene, target):
    """Ready for a mount."""
    target.settle()
    target.unmount()
    measure.drop_caches()


def items():
    """All of it, in order: later ones read what earlier ones wrote."""
    return [
        Item("write-unique", "write unique, incompressible", "stream", "MB/s", write("unique", "unique"),
             before=stamp("unique", "unique"), stored=True),
        Item("write-stored", "write stored data, just written", "stream", "MB/s", write("unique", "again"),
             stored=True),
        Item("write-stored-cold", "write stored data, store cold", "stream", "MB/s", write("unique", "cold"), cold=True,
             stored=True, check=check("unique", "unique", "again", "cold")),
        Item("space-pass", "dedup after the fact", "other", "s", space_pass, stored=True,
             applies=lambda target: target.name == "btrfs"),
        Item("read-cold", "read cold, incompressible", "stream", "MB/s", read("unique"), cold=True),
        Item("read-warm", "read warm, incompressible", "stream", "MB/s", read("unique"),
             prepare=warm("unique"), check=check("unique", "unique")),
        Item("write-compressible", "write unique, 2:1 compressible", "stream", "MB/s", write("compressible", "half"),
             before=stamp("compressible", "half"), stored=True),
        Item("read-cold-compressed", "read cold, 2:1 compressible", "stream", "MB/s", read("half"), cold=True,
             check=check("compressible", "half")),
        Item("write-unique-2", "write unique, 2 jobs", "stream", "MB/s", write("unique", "two", 2),
             before=stamp("unique", "two"), stored=True),
        Item("write-unique-4", "write unique, 4 jobs", "stream", "MB/s", write("unique", "four", 4),
             before=stamp("unique", "four"), stored=True),
        Item("write-stored-4", "write stored data, 4 jobs", "stream", "MB/s", write("unique", "fourth", 4), stored=True,
             check=check("unique", "four", "fourth", jobs=4)),
        Item("read-cold-4", "read cold, 4 jobs", "stream", "MB/s", read("four", 4), cold=True),
        Item("read-warm-4", "read warm, 4 jobs", "stream", "MB/s", read("four", 4),
             prepare=warm("four", 4)),
    ]


def last_items():
    """What comes at the end of a round."""
    return [
        Item("mount", "mount, store as the round left it", "other", "ms", remount, prepare=unmounted,
             applies=lambda target: target.mountable()),
        Item("delete", "delete a large file", "other", "ms", delete("half"), stored=True),
    ]
