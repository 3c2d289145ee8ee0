"""Bad command lines: a sentence on stderr that says what was found, nothing on stdout, exit code 2."""

import os
import subprocess
import unittest

from thole_command import PREFIX, THOLE, CommandTest, run


class CommandLine(CommandTest):
    def test_no_subcommand_names_those_there_are(self):
        self.fails(run(), 2, "`thole demo`", "`thole list`", "`thole check`")

    def test_unknown_subcommand(self):
        self.fails(run("frobnicate"), 2, "frobnicate", "--help")

    def test_unknown_option(self):
        for command in ("demo", "list", "check"):
            self.fails(run(command, "--frobnicate"), 2, "--frobnicate", f"thole {command} --help")

    def test_missing_value(self):
        self.fails(run("demo", "--seconds"), 2, "--seconds needs a value")
        self.fails(run("demo", "--workers="), 2, "--workers needs a value")
        self.fails(run("check", "--file"), 2, "--file")

    def test_value_that_is_the_next_option(self):
        self.fails(run("demo", "--workers", "--json"), 2, "--workers", "'--json'")

    def test_numbers_out_of_range_say_the_range(self):
        cases = [
            ("--seconds", "0", "1 to 86400"),
            ("--seconds", "-5", "1 to 86400"),
            ("--seconds", "86401", "1 to 86400"),
            ("--seconds", "1e3", "1 to 86400"),
            ("--kill-every-ms", "-1", "0 to 60000"),
            ("--workers", "0", "1 to 64"),
            ("--workers", "65", "1 to 64"),
            ("--feeders", "0", "1 to 16"),
            ("--feeders", "99999999999999999999999", "1 to 16"),
            ("--seed", "18446744073709551616", "0 to 18446744073709551615"),
            ("--workers", "four", "1 to 64"),
            ("--workers", "4 ", "1 to 64"),
            ("--workers", "0x4", "1 to 64"),
        ]
        for option, value, expected in cases:
            with self.subTest(option=option, value=value):
                self.fails(run("demo", f"{option}={value}"), 2, option, f"'{value}'", expected)

    def test_option_given_twice(self):
        self.fails(run("demo", "--seconds", "1", "--seconds", "2"), 2, "more than once")

    def test_word_too_many(self):
        self.fails(run("list", "one", "two"), 2, "two")
        self.fails(run("demo", "one"), 2, "one")

    def test_check_needs_one_segment(self):
        self.fails(run("check"), 2, "name", "--file")
        self.fails(run("check", "one", "--file", "two"), 2, "both")
        self.fails(run("check", ""), 2, "name")
        self.fails(run("list", ""), 2, "empty")

    def test_names_that_cannot_be(self):
        for name in ("a/b", "../x", "x" * 64, "line\nbreak", "bell\a"):
            with self.subTest(name=name):
                self.fails(run("list", name), 2)
                self.fails(run("check", name), 2)

    def test_name_that_is_not_utf8(self):
        self.fails(run("list", b"\xff\xfe"), 2)

    def test_control_bytes_do_not_reach_the_terminal(self):
        result = run("list", "\x1b[31mred")
        self.fails(result, 2)
        self.assertNotIn("\x1b", result.stderr)

    def test_input_that_is_no_folder(self):
        self.fails(run("demo", "--input", self.path("missing")), 3, "missing")
        with open(self.path("file"), "w") as file:
            file.write("x")
        self.fails(run("demo", "--input", self.path("file")), 2, "not a folder")
        self.fails(run("demo", "--input", ""), 2, "--input")

    @unittest.skipIf(os.geteuid() == 0, "the superuser may read everything")
    def test_input_without_permission(self):
        os.mkdir(self.path("closed"), 0)
        self.fails(run("demo", "--input", self.path("closed")), 5, "no permission")

    def test_failures_leave_no_segment(self):
        before = set(os.listdir("/dev/shm"))
        run("demo", "--input", self.path("missing"))
        run("demo", "--workers", "0")
        own = PREFIX.rsplit("/", 1)[1] + "demo-"
        left = {name for name in set(os.listdir("/dev/shm")) - before if name.startswith(own)}
        pids = {name[len(own) :] for name in left}
        self.assertFalse([pid for pid in pids if not os.path.exists(f"/proc/{pid}")])

    def test_help_and_version_go_to_stdout(self):
        for arguments in (["--help"], ["demo", "--help"], ["list", "-h"], ["check", "-h"]):
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn("--", result.stdout)
        for option in ("--input", "--seconds", "--kill-every-ms", "--workers", "--feeders", "--seed"):
            self.assertIn(option, run("demo", "--help").stdout)
        self.assertRegex(run("--version").stdout, r"^thole \d+\.\d+\.\d+\n$")

    def test_output_that_cannot_be_written_is_an_error(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run(
                [THOLE, "list", "--json"], stdout=full, stderr=subprocess.PIPE, text=True
            )
        self.assertEqual(result.returncode, 1)
        self.assertIn("could not be written", result.stderr)


if __name__ == "__main__":
    unittest.main()
