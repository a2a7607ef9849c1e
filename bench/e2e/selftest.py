# SPDX-License-Identifier: MIT
"""The harness checks itself, without root and without a mount: data, ratios, tables, job files, clean-up."""

import contextlib
import glob
import io
import os
import tempfile
import unittest
import zlib

from e2e import dataset, document, fiojobs, item, plan, report, resources, stages
from e2e.summary import Summary, daemon


def sample(name, target, number, figure, **more):
    """A canned measurement of 1 GB in one second."""
    return dict({"round": number, "item": name, "target": target, "unit": "MB/s", "value": figure, "seconds": 1.0,
                 "bytes": 10 ** 9, "user": 0.1, "system": 0.2, "daemon": 0.5, "daemon_after": 0.25, "peak_rss": 1 << 20,
                 "stolen": 0.0}, **more)


def canned():
    """Three rounds, the machine twice as fast in the last one."""
    samples = []
    for number, speed in enumerate((1.0, 1.1, 2.0)):
        samples.append(sample("write-unique", "foldfs", number, 800 * speed))
        samples.append(sample("write-unique", "ext4", number, 1000 * speed))
        samples.append(sample("write-unique", "bindfs", number, 400 * speed, stored_grown=1 << 20))
    samples.append({"round": 0, "item": "write-unique", "target": "btrfs", "unit": "MB/s", "error": "no room"})
    return {
        "plan": {"text": "a run"}, "began": "today", "took_seconds": 60, "skipped": {"zfs-fuse": "not here"},
        "machine": {"processor": "p", "virtual": False, "processors": 2, "memory_bytes": 1 << 30, "system": "s",
                    "kernel": "k", "disk": "d", "filesystem": "f", "load_before": 0.0, "foldfs": "v", "versions": {}},
        "targets": [{"name": n, "title": n} for n in ("foldfs", "ext4", "bindfs", "btrfs")],
        "items": [{"name": "write-unique", "title": "write", "group": "stream", "unit": "MB/s", "more_is_better": True,
                   "derived": False}],
        "samples": samples, "stats": [],
    }


class Data(unittest.TestCase):
    """What is written."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        """A file of this test."""
        return os.path.join(self.folder.name, name)

    def content(self, name):
        """Its bytes."""
        with open(self.path(name), "rb") as stream:
            return stream.read()

    def test_stamps_change_every_stride_and_repeat_for_a_seed(self):
        payload = dataset.Payload(self.path("p"), 1 << 20, os.urandom(65536))
        payload.stamp("one")
        first = self.content("p")
        payload.stamp("two")
        second = self.content("p")
        step = dataset.STAMP_STRIDE
        same = [at for at in range(0, len(first), step) if first[at:at + step] == second[at:at + step]]
        self.assertEqual(same, [])
        blocks = [first[at:at + step] for at in range(0, len(first), step)]
        self.assertEqual(len(set(blocks)), len(blocks))
        payload.stamp("one")
        self.assertEqual(self.content("p"), first)

    def test_a_wrong_byte_is_seen(self):
        payload = dataset.Payload(self.path("p"), 1 << 20, os.urandom(65536))
        data = bytearray(self.content("p"))
        with open(self.path("q"), "wb") as stream:
            stream.write(data)
        self.assertTrue(payload.matches(self.path("q")))
        data[777777] ^= 1
        with open(self.path("q"), "wb") as stream:
            stream.write(data)
        self.assertFalse(payload.matches(self.path("q")))
        self.assertFalse(payload.matches(self.path("q"), 0, 4096))

    def test_compressible_data_is(self):
        block = dataset.compressible_block()[:1 << 20]
        ratio = len(block) / len(zlib.compress(block, 1))
        self.assertTrue(1.7 < ratio < 2.6, ratio)

    def test_trees_are_the_same_each_time(self):
        self.assertEqual(dataset.make_tree(self.path("a"), 120), dataset.make_tree(self.path("b"), 120))
        names = [sorted(os.path.relpath(p, self.path(top)) for p in glob.glob(self.path(top) + "/**", recursive=True))
                 for top in ("a", "b")]
        self.assertEqual(names[0], names[1])
        one = "part00/dir001/file00077.c"
        self.assertEqual(self.content("a/" + one), self.content("b/" + one))


class Figures(unittest.TestCase):
    """What is made of the samples."""

    def test_ratios_are_paired(self):
        summary = Summary(canned())
        self.assertAlmostEqual(summary.ratio("write-unique", "foldfs", "ext4"), 0.8)
        self.assertAlmostEqual(summary.ratio("write-unique", "foldfs", "bindfs"), 2.0)
        self.assertAlmostEqual(summary.median("write-unique", "foldfs"), 880)
        self.assertAlmostEqual(summary.cpu("write-unique", "foldfs", daemon), 0.75)
        self.assertIsNone(summary.ratio("write-unique", "btrfs", "ext4"))

    def test_the_report_says_what_failed_and_what_is_missing(self):
        text = report.markdown(Summary(canned()))
        self.assertIn("Failed: write-unique on btrfs, round 0: no room", text)
        self.assertIn("Skipped: zfs-fuse: not here", text)
        self.assertIn("| write, MB/s | **880** (0.80 / 2.00) | 1100 (- / 2.50) | 440 (0.40 / -) | - |", text)
        self.assertIn("| write unique | >= 0.8x ext4 | 0.80 | met |", text)
        self.assertIn("| write unique | daemon <= 0.8 core-s/GB | 0.75 | met |", text)

    def test_stages_go_to_the_innermost_claim(self):
        self.assertEqual(stages.stage_of(["asm_exc_page_fault", "XXH3_update", "fold_ingest_cut"], {}), "hash")
        self.assertEqual(stages.stage_of(["memcpy", "fold_segment_append", "fold_appender_put"], {}), "append")
        self.assertEqual(stages.stage_of(["..@5.loop", "x"], {"..@5.loop": "fold_compare_avx2"}), "verify")
        self.assertEqual(stages.stage_of(["nothing"], {}), "other")


class Page(unittest.TestCase):
    """Tables in a page."""

    def test_splice(self):
        with tempfile.TemporaryDirectory() as folder:
            page, table = os.path.join(folder, "p.md"), os.path.join(folder, "t.md")
            with open(page, "w", encoding="utf-8") as stream:
                stream.write("a\n<!-- table begin -->\nold\n<!-- table end -->\nb\n")
            with open(table, "w", encoding="utf-8") as stream:
                stream.write("# Head\n\n## Part\n\\1\n")
            document.splice(page, "table", document.read(table))
            with open(page, encoding="utf-8") as stream:
                self.assertEqual(stream.read(), "a\n<!-- table begin -->\n**Head**\n\n### Part\n\\1\n<!-- table end -->\nb\n")
            with self.assertRaises(resources.Failure):
                document.splice(page, "other", "x")


class Jobs(unittest.TestCase):
    """The fio job files."""

    def test_every_job_file_renders(self):
        with tempfile.TemporaryDirectory() as folder:
            scene = item.Scene(plan.PLANS["quick"], folder)
            names = sorted(os.path.basename(p)[:-4] for p in glob.glob(os.path.join(fiojobs.JOBS, "*.fio")))
            self.assertGreater(len(names), 8)
            for name in names:
                with open(fiojobs.render(scene, name, 4, size=4096), encoding="utf-8") as stream:
                    text = stream.read()
                self.assertIn("size=4096\n", text)
                self.assertIn("numjobs=4\n", text)
                self.assertIn("randrepeat=0\n", text)

    def test_a_key_that_the_job_lacks_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(resources.Failure):
                fiojobs.render(item.Scene(plan.PLANS["quick"], folder), "dedupe50", io_size=1)


class CleanUp(unittest.TestCase):
    """Everything is undone, the last first, whatever fails."""

    def test_unwind(self):
        seen = []
        stack = resources.Stack()
        stack.push(seen.append, 1)
        stack.push(lambda: (_ for _ in ()).throw(OSError("broken")))
        stack.push(seen.append, 2)
        with contextlib.redirect_stderr(io.StringIO()) as said:
            stack.unwind()
        self.assertEqual(seen, [2, 1])
        self.assertIn("broken", said.getvalue())


if __name__ == "__main__":
    unittest.main()
