"""Whether the runner sees what its programs do."""

import contextlib
import io
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from benchmarks import runner  # noqa: E402
from benchmarks.works import Program, Work  # noqa: E402

LINE = '{"metric": "cpu", "unit": "ns", "samples": [3, 4]}'


def says(text, status=0):
    return Program("/bin/sh", ("-c", f"echo '{text}'; exit {status}"))


class Quiet(runner.Runner):
    """Knows its cache lines beforehand."""

    def __init__(self, lines=(1, 1), **options):
        super().__init__("/", **options)
        self.lines = list(lines)
        self.ran = []

    def run(self, program):
        self.ran.append(program)
        return super().run(program)

    def cache_line(self):
        return self.lines.pop(0)


class Run(unittest.TestCase):
    def setUp(self):
        self.runner = Quiet(quick=False)

    def lines_of(self, program):
        with contextlib.redirect_stdout(io.StringIO()):
            return self.runner.run(program)

    def test_reads_what_a_program_prints(self):
        self.assertEqual(self.lines_of(says(LINE))[0]["samples"], [3, 4])
        self.assertEqual(self.runner.failures, [])

    def test_fails_with_the_program(self):
        for program in (says(LINE, status=1), says("no JSON"), Program("/bin/true")):
            self.assertEqual(self.lines_of(program), [])
        self.assertEqual(len(self.runner.failures), 3)

    def test_passes_the_environment_and_the_arguments_of_a_quick_run(self):
        script = 'echo "{\\"metric\\": \\"$A$1\\", \\"unit\\": \\"\\", \\"samples\\": []}"'
        program = Program("/bin/sh", ("-c", script, "name"), (("A", "x"),), ("y",))
        self.assertEqual(self.lines_of(program)[0]["metric"], "x")
        self.runner.quick = True
        self.assertEqual(self.lines_of(program)[0]["metric"], "xy")


class Round(unittest.TestCase):
    WORK = Work("p", "w", {"a": says(LINE), "b": says(LINE + " "), "c": Program("/not/built")})

    def test_runs_what_is_built_forwards_and_backwards_and_shows_it_forwards(self):
        for backwards, order in ((False, ["a", "b"]), (True, ["b", "a"])):
            quiet = Quiet(quick=False)
            made = quiet.round(self.WORK, backwards)
            self.assertEqual(quiet.ran, [self.WORK.programs[system] for system in order])
            self.assertEqual([system for system, _, _ in made.samples], ["a", "b"])

    def test_has_the_slower_of_its_cache_lines(self):
        for lines in ([5, 9], [9, 5]):
            self.assertEqual(Quiet(lines, quick=False).round(self.WORK, False).line_ns, 9)


if __name__ == "__main__":
    unittest.main()
