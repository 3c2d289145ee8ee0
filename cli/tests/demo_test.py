"""`thole demo` on trees of every shape, and its end by a signal."""

import itertools
import os
import signal
import subprocess
import time
import unittest

from thole_command import THOLE, CommandTest, run, segments_of, wait_until

KEYS = set(
    "files bytes seconds messages_per_s kills feeder_kills worker_kills kills_inside_calls redelivered duplicates lost "
    "leaked_bytes audit_findings".split()
)


class Demo(CommandTest):
    def demo(self, tree, *arguments):
        result = run("demo", "--input", tree, "--json", *arguments)
        report = self.output(result)
        self.assertEqual(set(report), KEYS)
        for key in ("lost", "leaked_bytes", "audit_findings"):
            self.assertEqual(report[key], 0, result.stderr)
        self.assertEqual(report["kills"], report["feeder_kills"] + report["worker_kills"])
        self.assertLessEqual(report["kills_inside_calls"], report["kills"])
        self.assertLessEqual(report["redelivered"], report["kills"])
        return report

    def test_small_files_survive_kills(self):
        sizes = [0, 1, 100, 4095, 4096, 65_536] + [n * 97 for n in range(194)]
        report = self.demo(self.tree("small", sizes), "--seconds", "3")
        self.assertGreaterEqual(report["files"], 200)
        self.assertGreater(report["feeder_kills"], 0)
        self.assertGreater(report["worker_kills"], 0)
        self.assertGreater(report["kills_inside_calls"], 0)
        self.assertGreater(report["messages_per_s"], 0)
        self.assertTrue(self.is_sum_of_two_feeders(report, sizes), report)
        self.assertGreaterEqual(report["seconds"], 3)

    def is_sum_of_two_feeders(self, report, sizes):
        """Whether the bytes are those of some first files of each feeder, over and over."""
        order = sorted(range(len(sizes)), key=lambda n: f"folder-{n % 3}/file-{n}")
        rows = [[sizes[n] for n in order[feeder::2]] for feeder in (0, 1)]
        totals = []
        for row in rows:
            firsts = [0, *itertools.accumulate(row)]
            totals.append(lambda n, f=firsts: n // (len(f) - 1) * f[-1] + f[n % (len(f) - 1)])
        files = report["files"]
        return any(totals[0](n) + totals[1](files - n) == report["bytes"] for n in range(files + 1))

    def test_few_large_files(self):
        mebibyte = 1 << 20
        tree = self.tree("large", [24 * mebibyte, 30 * mebibyte + 1, 100 * mebibyte - 1])
        report = self.demo(tree, "--seconds", "3")
        self.assertGreater(report["bytes"], 0)
        self.assertGreater(report["kills"], 0)

    def test_one_feeder_and_one_worker(self):
        report = self.demo(
            self.tree("narrow", [10_000] * 7), "--seconds=1", "--feeders=1", "--workers=1"
        )
        self.assertGreater(report["files"], 0)

    def test_more_feeders_than_files(self):
        report = self.demo(
            self.tree("few", [100, 200]), "--seconds=1", "--feeders=8", "--workers=8"
        )
        self.assertGreater(report["files"], 0)

    def test_nobody_is_killed_when_not_asked_to(self):
        report = self.demo(
            self.tree("calm", [3_000] * 20), "--seconds=1", "--kill-every-ms=0", "--seed=7"
        )
        self.assertEqual((report["kills"], report["redelivered"], report["duplicates"]), (0, 0, 0))
        self.assertGreater(report["files"], 0)

    def test_empty_tree_ends_at_once(self):
        began = time.monotonic()
        report = self.demo(self.tree("empty", []))
        self.assertEqual((report["files"], report["bytes"], report["kills"]), (0, 0, 0))
        self.assertLess(time.monotonic() - began, 10)

    def test_links_and_special_files_are_not_followed(self):
        tree = self.tree("links", [1_000])
        os.symlink(tree, os.path.join(tree, "loop"))
        os.symlink("/etc/passwd", os.path.join(tree, "passwd"))
        os.mkfifo(os.path.join(tree, "fifo"))
        report = self.demo(tree, "--seconds=1")
        self.assertEqual(report["bytes"], report["files"] * 1_000)

    def test_names_with_odd_bytes(self):
        tree = self.tree("odd", [10])
        for name in (b"new\nline", b"\xff\xfe", b"\x1b[31m", "é ü".encode()):
            with open(os.path.join(tree.encode(), name), "wb") as file:
                file.write(name)
        self.assertGreater(self.demo(tree, "--seconds=1")["files"], 0)

    def test_file_that_changes_is_left_out(self):
        tree = self.tree("changing", [500_000] * 20)
        process = subprocess.Popen(
            [THOLE, "demo", "--input", tree, "--seconds", "3"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: segments_of(process.pid), "the segment")
        changing = os.path.join(tree, "folder-0", "file-0")
        while process.poll() is None:
            with open(changing, "ab") as file:
                file.write(b"more\n")
        out, err = process.communicate()
        self.assertEqual(process.returncode, 0, out + err)
        self.assertRegex(out, r"left out +1 ")
        self.assertIn("the promise held", out)

    def test_ends_early_and_cleanly_by_a_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number), self.running_demo() as (process, _):
                process.send_signal(number)
                out, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 0, out + err)
                self.assertIn("the promise held", out)
                self.assertEqual(segments_of(process.pid), [])

    def test_leaves_no_segment_and_no_process(self):
        process = subprocess.Popen(
            [THOLE, "demo", "--input", self.tree("gone", [1_000]), "--seconds", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: children_of(f"demo-{process.pid}"), "the children")
        self.assertEqual(process.wait(timeout=60), 0)
        self.assertEqual(segments_of(process.pid), [])
        self.assertEqual(children_of(f"demo-{process.pid}"), [])

    def test_children_die_with_the_supervisor(self):
        with self.running_demo() as (process, name):
            process.kill()
            process.wait()
            wait_until(lambda: not children_of(name), "the end of the children")

    def test_progress_goes_to_stderr(self):
        result = run("demo", "--input", self.tree("progress", [1_000] * 9), "--seconds", "2")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, r"1\.\d s  [\d,]+ files .*kills")
        self.assertNotIn("kills (", result.stdout)


def children_of(segment):
    """Processes whose command line names the segment."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if segment.encode() in file.read().split(b"\0"):
                        found.append(int(entry))
            except OSError:
                pass
    return found


if __name__ == "__main__":
    unittest.main()
