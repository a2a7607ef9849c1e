# SPDX-License-Identifier: MIT
"""Trees of mixed files to copy around, the same for the same seed."""

import os
import random
import stat

WORDS = ("alpha beta gamma delta epsilon return static const struct include define while for if else void int "
         "char size_t uint64_t error lock open close read write sync index segment chunk recipe").split()


def text(rng, size):
    """Something like source text of about `size` bytes."""
    lines, total = [], 0
    while total < size:
        line = " " * rng.choice((0, 4, 4, 8)) + " ".join(rng.choices(WORDS, k=rng.randint(2, 12))) + ";\n"
        lines.append(line)
        total += len(line)
    return "".join(lines).encode()[:size]


def content(rng, shared):
    """One file's bytes: text, random bytes, parts of what other files have, zeros, or nothing."""
    kind = rng.random()
    size = int(rng.lognormvariate(8.5, 1.4))
    size = min(size, 3 << 20)
    if kind < 0.03:
        return b""
    if kind < 0.55:
        return text(rng, size)
    if kind < 0.80:
        return rng.randbytes(size)
    if kind < 0.95:
        start = rng.randrange(len(shared))
        return rng.randbytes(rng.randrange(100)) + shared[start:start + 4 * size]
    return b"\0" * size + rng.randbytes(100)


def make(top, files, seed=1):
    """Fills the new directory `top` with `files` files and some links, special files and odd modes."""
    rng = random.Random(seed)
    shared = rng.randbytes(4 << 20)
    os.makedirs(top)
    dirs, made = [top], []
    while len(made) < files:
        if rng.random() < 0.04 and len(dirs) < files / 10:
            path = os.path.join(rng.choice(dirs), "dir%d" % len(dirs))
            if path.count("/") - top.count("/") < 8:
                os.mkdir(path)
                dirs.append(path)
        path = os.path.join(rng.choice(dirs), "f%05d%s" % (len(made), rng.choice((".c", ".h", ".bin", "", ".o"))))
        kind = rng.random()
        if kind < 0.03 and made:
            os.symlink(os.path.relpath(rng.choice(made), os.path.dirname(path)), path)
        elif kind < 0.05 and made:
            os.link(rng.choice(made), path, follow_symlinks=False)
        elif kind < 0.06:
            with open(path, "wb") as out:
                out.truncate(rng.randrange(1 << 22))
                out.seek(rng.randrange(1 << 21))
                out.write(text(rng, 5000))
        else:
            with open(path, "wb") as out:
                out.write(content(rng, shared))
            os.chmod(path, rng.choice((0o644, 0o644, 0o755, 0o600, 0o444)))
        if not os.path.islink(path):
            os.utime(path, ns=(rng.randrange(10**18), rng.randrange(10**18)))
        made.append(path)
    return top


def special(top, as_root=True):
    """Fills the new directory `top` with everything rsync can carry: odd names, devices, holes, links, ACLs."""
    os.makedirs(top)
    odd = [b"new\nline", b"\xff\xfe raw", "\u00fcml\u00e4ut \u20ac".encode(), b"x" * 255, b" lead", b"trail ",
           b"-dash", b"quote'\"", b"back\\slash", b"*?[glob]", b"\x01\x7f"]
    top_b = os.fsencode(top)
    for i, name in enumerate(odd):
        with open(os.path.join(top_b, name), "wb") as out:
            out.write(b"content %d\n" % i * (i * 100 + 1))
        os.utime(os.path.join(top_b, name), ns=(10**18 + i, 10**18 + 123456789 + i))
    os.makedirs(os.path.join(top_b, b"dir \xfe", b"y" * 255))
    if as_root:
        os.mknod(os.path.join(top, "null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(os.path.join(top, "loop"), stat.S_IFBLK | 0o660, os.makedev(4095, 1048575))
        os.mknod(os.path.join(top, "sock"), stat.S_IFSOCK | 0o600)
        os.chown(os.path.join(top, "null"), 1234, 4321)
    os.mkfifo(os.path.join(top, "fifo"))
    for i in range(5):
        os.link(os.path.join(top, "-dash"), os.path.join(top, "hard%d" % i))
    os.symlink("target\n" + "t" * 4000, os.path.join(top, "long-link"))
    os.symlink("nowhere", os.path.join(top, "dangling"))
    with open(os.path.join(top, "sparse"), "wb") as out:
        out.seek(100 << 20)
        out.write(b"end of a hole")
        out.truncate(200 << 20)
    with open(os.path.join(top, "set-ids"), "wb") as out:
        out.write(b"#!/bin/true\n")
    os.chmod(os.path.join(top, "set-ids"), 0o6755)
    os.mkdir(os.path.join(top, "sticky"))
    os.chmod(os.path.join(top, "sticky"), 0o3777)
    os.setxattr(os.path.join(top, "sparse"), "user.note", b"\0binary\xff" * 20)
    if as_root:
        os.setxattr(os.path.join(top, "sparse"), "trusted.note", b"t")
    return top
