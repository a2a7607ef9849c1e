# SPDX-License-Identifier: MIT
"""The data that is written, made before any clock starts, the same for every target.

A payload is a file on tmpfs that clients map: writing from it costs no generator. Payloads hold a 64-bit stamp in every
512 bytes; new stamps make the whole payload new to any deduplicating filesystem (no chunk is shorter than a stamp's
distance) in a fraction of the time that new bytes would take.
"""

import array
import mmap
import os
import random
import subprocess
import tarfile

STAMP_STRIDE = 512
BLOCK = 32 << 20
LITERAL, COPY = 24, 40  # of each 64 bytes: fresh ones, and ones repeated from nearby (LZ4: 2 : 1)


class Payload:
    """One mapped file of test data."""

    def __init__(self, path, size, block):
        self.path = path
        self.size = size
        self.seed = None
        with open(path, "wb") as stream:
            for start in range(0, size, len(block)):
                stream.write(block[:size - start])

    def stamp(self, seed):
        """Makes the content a new one, decided by `seed` alone."""
        if seed == self.seed:
            return
        count = self.size // STAMP_STRIDE
        stamps = array.array("Q", random.Random(f"stamp {seed}").randbytes(8 * count))
        with open(self.path, "r+b") as stream, mmap.mmap(stream.fileno(), self.size) as mapped:
            view = memoryview(mapped).cast("Q")
            view[::STAMP_STRIDE // 8] = memoryview(stamps)
            view.release()
        self.seed = seed

    def matches(self, path, offset=0, length=None):
        """True if the file holds these bytes of the payload."""
        length = self.size if length is None else length
        with open(self.path, "rb") as ours, open(path, "rb", buffering=0) as theirs:
            ours.seek(offset)
            while length > 0:
                wanted = ours.read(min(length, 1 << 20))
                if theirs.read(len(wanted)) != wanted:
                    return False
                length -= len(wanted)
            return theirs.read(1) == b""


def random_block():
    """Bytes that no codec shortens."""
    return os.urandom(BLOCK)


def compressible_block():
    """Bytes that LZ4 halves: short matches a few hundred bytes back, as in structured data."""
    rng = random.Random("compressible")
    fresh = os.urandom(BLOCK // 64 * LITERAL)
    out = bytearray(os.urandom(1024))
    at = 0
    while len(out) < BLOCK:
        out += fresh[at:at + LITERAL]
        start = len(out) - rng.randrange(COPY, 960)
        out += out[start:start + COPY]
        at += LITERAL
    # A stamp replaces 8 bytes of a fresh run, so the block keeps its ratio.
    return bytes(out[1024:1024 + BLOCK // 2])


WORDS = ("the of file data index block chunk return static struct const int size offset length error value page read "
         "write commit table entry segment record hash filter cache lock thread queue buffer copy move name path key "
         "tree node leaf root list head tail next open close flush sync mount volume store recipe extent hole zero").split()


def _small_file(rng, earlier):
    """Content of one small file: text mostly, some noise, now and then one that was there before."""
    kind = rng.random()
    if earlier and kind < 0.1:
        return earlier[rng.randrange(len(earlier))]
    size = min(65536, int(rng.lognormvariate(7.8, 1.1)))
    if kind < 0.25:
        return rng.randbytes(size)
    text = " ".join(rng.choices(WORDS, k=size // 6 + 1))
    return f"{rng.getrandbits(64):x} {text}\n".encode()[:size]


def make_tree(root, files, seed="tree"):
    """A deterministic tree of small files, 50 to a directory; returns their bytes."""
    rng = random.Random(seed)
    earlier, total = [], 0
    for number in range(files):
        group = number // 50
        folder = os.path.join(root, f"part{group // 20:02d}", f"dir{group:03d}")
        if number % 50 == 0:
            os.makedirs(folder)
        content = _small_file(rng, earlier)
        if len(earlier) < 500:
            earlier.append(content)
        total += len(content)
        with open(os.path.join(folder, f"file{number:05d}.c"), "wb") as stream:
            stream.write(content)
    return total


def make_tar(path, root):
    """An archive of the tree with fixed owner and times."""

    def plain(member):
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = 1700000000
        return member

    with tarfile.open(path, "w") as archive:
        archive.add(root, "tree", filter=plain)


def make_repository(path, work, files):
    """A bare git repository of five commits over a small tree; returns its path."""
    stamp = "1700000000 +0000"
    env = dict(os.environ, GIT_AUTHOR_NAME="bench", GIT_AUTHOR_EMAIL="bench@localhost", GIT_COMMITTER_NAME="bench",
               GIT_COMMITTER_EMAIL="bench@localhost", GIT_AUTHOR_DATE=stamp, GIT_COMMITTER_DATE=stamp,
               GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")

    def git(*argv):
        subprocess.run(["git", *argv], env=env, check=True, capture_output=True)

    git("init", "-q", "-b", "main", work)
    for commit in range(5):
        make_tree(os.path.join(work, f"step{commit}"), files // 5, seed=f"git {commit}")
        git("-C", work, "add", "-A")
        git("-C", work, "commit", "-q", "-m", f"step {commit}")
    git("clone", "-q", "--bare", work, path)
    return path
