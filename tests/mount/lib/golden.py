# SPDX-License-Identifier: MIT
"""Golden stores: small stores kept in tests/golden as a program of the past left them, each with a description of what it must
show for ever. Here is what the script that makes them and the test that opens them share."""

import base64
import hashlib
import json
import lzma
import os
import stat
import subprocess

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "golden")


def names():
    """All golden stores."""
    return sorted(f[:-len(".tar.xz")] for f in os.listdir(FOLDER) if f.endswith(".tar.xz"))


def unpack(name, store):
    """Puts a golden store into the new directory `store`."""
    os.mkdir(store, 0o700)
    subprocess.run(["tar", "-xJf", os.path.join(FOLDER, name + ".tar.xz"), "-C", store], check=True, timeout=120)


def pack(store, name):
    """Keeps a store that is not mounted; the database's logs for people and the socket are left out."""
    subprocess.run(["tar", "--format=gnu", "--sparse", "--sort=name", "--numeric-owner", "--exclude=./*/LOG*",
                    "--exclude=./run/*", "-I", "xz -9e", "-cf", os.path.join(FOLDER, name + ".tar.xz"), "-C", store, "."],
                   check=True, timeout=120)


def manifest(name):
    """The description of a golden store."""
    with lzma.open(os.path.join(FOLDER, name + ".json.xz"), "rt") as file:
        return json.load(file)


def keep_manifest(name, what):
    """Writes the description."""
    with lzma.open(os.path.join(FOLDER, name + ".json.xz"), "wt", preset=9) as out:
        json.dump(what, out, indent=1)


def describe_one(path):
    """What a path shows: type, mode, owner, times, links, content, attributes."""
    st = os.lstat(path)
    out = {"ino": st.st_ino, "mode": st.st_mode, "uid": st.st_uid, "gid": st.st_gid, "nlink": st.st_nlink,
           "mtime": st.st_mtime_ns, "ctime": st.st_ctime_ns, "rdev": st.st_rdev}
    if not stat.S_ISDIR(st.st_mode):
        out["size"] = st.st_size
    if stat.S_ISLNK(st.st_mode):
        out["target"] = os.readlink(path).decode("latin-1")
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb") as file:
            out["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    xattrs = {}
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        xattrs[name] = base64.b64encode(os.getxattr(path, name, follow_symlinks=False)).decode()
    if xattrs:
        out["xattrs"] = xattrs
    return out


def describe(top):
    """All of a tree: path to description, in a fixed order; of each directory also the order in which its entries are listed,
    which offsets kept by programs rely on."""
    top = os.fsencode(top)
    out = {".": describe_one(top)}
    todo = [b""]
    while todo:
        folder = todo.pop()
        listed = os.listdir(os.path.join(top, folder))
        digest = hashlib.sha256(b"\0".join(listed)).hexdigest()
        out[(folder or b".").decode("latin-1")]["order"] = digest
        for name in sorted(listed):
            rel = os.path.join(folder, name)
            out[rel.decode("latin-1")] = describe_one(os.path.join(top, rel))
            if stat.S_ISDIR(out[rel.decode("latin-1")]["mode"]):
                todo.append(rel)
    return out
