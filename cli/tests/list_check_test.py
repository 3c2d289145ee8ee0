"""`thole list` and `thole check` on segments in every state."""

import json
import os
import shutil
import struct
import threading
import unittest

from thole_command import DEMO_MEMBERS, PREFIX, CommandTest, run


class ListAndCheck(CommandTest):
    def entry(self, name):
        """What `thole list` says about one segment."""
        everything = self.output(run("list", "--json"))
        found = [entry for entry in everything if entry["name"] == name]
        self.assertEqual(len(found), 1, f"{name} in {everything}")
        return found[0]

    def test_missing_segment(self):
        self.fails(run("list", "no-such-segment"), 3, "no-such-segment")
        self.fails(run("check", "no-such-segment"), 3, "no-such-segment")
        self.fails(run("check", "no-such-segment", "--repair"), 3, "no-such-segment")
        self.fails(run("check", "--file", self.path("missing")), 3, "missing")
        self.assertFalse(os.path.exists(PREFIX + "no-such-segment"), "--repair created it")

    def test_live_segment(self):
        with self.running_demo() as (_, name):
            entry = self.entry(name)
            self.assertEqual((entry["state"], entry["channels"]), ("ok", 2))
            self.assertGreater(entry["alive"], 0)
            self.assertGreater(entry["used_bytes"], 0)
            report = self.output(run("list", name, "--json"))
            self.assertEqual({c["name"] for c in report["channels"]}, {"work", "results"})
            self.assertTrue(all(c["acknowledged"] for c in report["channels"]))
            self.assertEqual(
                {b["name"] for b in report["buffers"]},
                {"catalog", "control", "position-0", "position-1"},
            )
            names = {p["name"] for p in report["participants"]}
            self.assertIn("supervisor", names)
            for text in (run("list").stdout, run("list", name).stdout):
                self.assertIn(name, text)
            check = run("check", name, "--json")
            self.assertIn(check.returncode, (0, 1), "a live segment may be in the middle of steps")
            self.assertGreater(json.loads(check.stdout)["live_participants"], 0)

    def test_looking_takes_no_seat(self):
        with self.running_demo("--kill-every-ms", "0") as (_, name):
            seats = self.output(run("list", name, "--json"))["participants"]
            for _ in range(5):
                run("check", name)
                run("list", name)
            again = self.output(run("list", name, "--json"))["participants"]
            self.assertEqual(*([(p["slot"], p["generation"]) for p in list] for list in (seats, again)))

    def test_dead_segment_is_listed_checked_and_repaired(self):
        name = self.dead_segment(self.segment_name("dead"))
        with open(PREFIX + name, "rb") as file:
            before = file.read()
        entry = self.entry(name)
        self.assertEqual((entry["alive"], entry["dead"]), (0, DEMO_MEMBERS))
        check = run("check", name, "--json")
        self.assertEqual(json.loads(check.stdout)["dead_participants"], DEMO_MEMBERS)
        self.assertIn("dead participants wait for repair", check.stderr)
        with open(PREFIX + name, "rb") as file:
            self.assertEqual(file.read(), before, "list or check wrote to the segment")

        repaired = self.output(run("check", name, "--repair", "--json"))
        self.assertEqual((repaired["dead_participants"], repaired["repaired"]), (0, DEMO_MEMBERS))
        self.assertEqual((repaired["finding_count"], repaired["orphan_bytes"]), (0, 0))
        self.assertGreater(repaired["held_bytes"], 0)
        self.assertGreaterEqual(repaired["used_bytes"], repaired["held_bytes"])  # and headers
        again = self.output(run("check", name, "--repair", "--json"))
        self.assertEqual((again["repaired"], again["finding_count"]), (0, 0))
        self.assertIn("participants repaired", run("check", name).stdout)

    def test_copied_segment(self):
        name = self.dead_segment(self.segment_name("copied"))
        run("check", name, "--repair")
        shutil.copy(PREFIX + name, self.path("copy"))
        checked = self.output(run("check", "--file", self.path("copy"), "--json"))
        self.assertEqual((checked["finding_count"], checked["live_participants"]), (0, 0))
        os.chmod(self.path("copy"), 0o400)
        self.assertEqual(run("check", "--file", self.path("copy")).returncode, 0)

    def test_damaged_heap_is_found(self):
        name = self.dead_segment(self.segment_name("damaged"))
        run("check", name, "--repair")
        with open(PREFIX + name, "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(size - 4096)
            file.write(b"\xff" * 4096)  # the end of the chain of blocks
        checked = self.output(run("check", name, "--json"), code=1)
        self.assertGreater(checked["finding_count"], 0)
        self.assertEqual(len(checked["findings"]), checked["finding_count"])
        self.assertIn("invariant", checked["findings"][0])

    def test_damaged_header(self):
        name = self.dead_segment(self.segment_name("header"))
        with open(PREFIX + name, "r+b") as file:
            file.seek(300)
            file.write(b"\xff" * 8)  # a root
        self.assertEqual(self.entry(name)["state"], "damaged")
        self.fails(run("list", name), 1, "damaged")
        self.fails(run("check", name), 1, "damaged")
        self.fails(run("check", name, "--repair"), 1, "damaged")

    def test_truncated_segment(self):
        name = self.dead_segment(self.segment_name("short"))
        os.truncate(PREFIX + name, 1 << 20)
        self.assertEqual(self.entry(name)["state"], "damaged")
        self.fails(run("check", name), 1, "cut")

    def test_segment_that_is_cut_while_it_is_looked_at(self):
        name = self.dead_segment(self.segment_name("shrinking"))
        size = os.path.getsize(PREFIX + name)
        cutting = threading.Event()

        def cut():  # and made long again: zeros, or beyond the end, at any moment of a look
            while not cutting.is_set():
                os.truncate(PREFIX + name, 0)
                os.truncate(PREFIX + name, size)
                with open(PREFIX + name, "r+b") as file:
                    file.write(head)

        with open(PREFIX + name, "rb") as file:
            head = file.read(1 << 20)
        cutter = threading.Thread(target=cut)
        cutter.start()
        try:
            for _ in range(40):
                self.assertIn(run("list", "--json").returncode, (0,))
                self.assertIn(run("list", name).returncode, (0, 1))
                self.assertIn(run("check", name).returncode, (0, 1))
        finally:
            cutting.set()
            cutter.join()

    def test_other_layout_version(self):
        name = self.dead_segment(self.segment_name("version"))
        with open(PREFIX + name, "r+b") as file:
            file.seek(8)
            file.write(struct.pack("<I", 999))
        self.assertEqual(self.entry(name)["state"], "other version")
        self.fails(run("list", name), 6, "999")
        self.fails(run("check", name), 6, "999")
        self.fails(run("check", name, "--repair"), 6, "999")

    def test_what_is_no_segment(self):
        cases = {
            "empty": lambda path: write(path, b""),
            "short": lambda path: write(path, b"THOLESEG"),
            "text": lambda path: write(path, b"hello " * 1000),
            "random": lambda path: write(path, os.urandom(1 << 20)),
            "folder": os.mkdir,
            "fifo": os.mkfifo,
            "link": lambda path: os.symlink("/etc/passwd", path),
        }
        for kind, make in cases.items():
            with self.subTest(kind=kind):
                name = self.segment_name(kind)
                make(PREFIX + name)
                self.assertEqual(self.entry(name)["state"], "foreign")
                self.fails(run("list", name), 1, "thole segment")
                self.fails(run("check", name), 1)
                self.fails(run("check", "--file", PREFIX + name), 1)
                remove_any(PREFIX + name)

    def test_plain_list_shows_what_is_wrong(self):
        name = self.segment_name("plain")
        write(PREFIX + name, b"x")
        line = [line for line in run("list").stdout.splitlines() if name in line]
        self.assertEqual(len(line), 1)
        self.assertIn("foreign", line[0])


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def remove_any(path):
    os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)


if __name__ == "__main__":
    unittest.main()
