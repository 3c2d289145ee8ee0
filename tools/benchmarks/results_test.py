"""Whether medians, dropped rounds, ratios, goals and the table are what they should be."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from benchmarks import results  # noqa: E402
from benchmarks.results import Round  # noqa: E402
from benchmarks.works import WORKS, Goal, Work  # noqa: E402


def a_round(line_ns, work="w", **systems):
    made = Round(work, line_ns)
    for system, samples in systems.items():
        made.take(system, {"metric": "cpu", "unit": "ns", "samples": samples})
    return made


class Median(unittest.TestCase):
    def test_is_the_middle_of_an_odd_number(self):
        self.assertEqual(results.median([9, 1, 5]), 5)

    def test_is_the_mean_of_the_two_in_the_middle(self):
        self.assertEqual(results.median([9, 1, 5, 6]), 5.5)


class Keep(unittest.TestCase):
    def test_drops_what_is_slower_than_twice_the_best(self):
        rounds = [a_round(100), a_round(200), a_round(201), a_round(900)]
        kept, dropped = results.keep(rounds)
        self.assertEqual([each.line_ns for each in kept], [100, 200])
        self.assertEqual(dropped, 2)

    def test_of_nothing_is_nothing(self):
        self.assertEqual(results.keep([]), ([], 0))


class Summarise(unittest.TestCase):
    def test_gathers_the_samples_of_all_rounds(self):
        rounds = [a_round(1, a=[4.0]), a_round(1, a=[1.0]), a_round(1, a=[2.0])]
        self.assertEqual(
            results.summarise(rounds),
            [
                {
                    "work": "w",
                    "system": "a",
                    "metric": "cpu",
                    "unit": "ns",
                    "median": 2.0,
                    "min": 1.0,
                    "max": 4.0,
                    "samples": [4.0, 1.0, 2.0],
                }
            ],
        )

    def test_keeps_works_and_metrics_together_whatever_order_they_were_run_in(self):
        first = a_round(1, work="v", a=[1], b=[1])
        first.take("a", {"metric": "wall", "unit": "ns", "samples": [1]})
        second = a_round(1, work="w", b=[1], a=[1])
        third = a_round(1, work="v", b=[1], a=[1])
        entries = results.summarise([first, second, third])
        self.assertEqual(
            [(e["work"], e["metric"], e["system"]) for e in entries],
            [
                ("v", "cpu", "a"),
                ("v", "cpu", "b"),
                ("v", "wall", "a"),
                ("w", "cpu", "b"),
                ("w", "cpu", "a"),
            ],
        )

    def test_believes_a_line_that_names_another_system(self):
        made = Round("w", 1)
        made.take("a", {"system": "bare", "metric": "cpu", "unit": "ns", "samples": [3]})
        self.assertEqual(results.summarise([made])[0]["system"], "bare")


class Ratio(unittest.TestCase):
    def test_is_the_median_of_the_ratios_within_a_round(self):
        # Of the medians it would be 2 / 10.
        rounds = [a_round(1, a=[1], b=[2]), a_round(1, a=[2], b=[10]), a_round(1, a=[9], b=[10])]
        self.assertEqual(results.ratio(rounds, "w", "cpu", "a", "b"), 0.5)

    def test_needs_a_round_that_has_both(self):
        rounds = [a_round(1, a=[1]), a_round(1, b=[1]), a_round(1, work="v", a=[1], b=[1])]
        self.assertIsNone(results.ratio(rounds, "w", "cpu", "a", "b"))

    def test_to_nothing_at_all_does_not_count(self):
        rounds = [a_round(1, a=[1], b=[0]), a_round(1, a=[0], b=[2])]
        self.assertEqual(results.ratio(rounds, "w", "cpu", "a", "b"), 0)


class Goals(unittest.TestCase):
    WORK = Work("p", "w", {}, goals=(Goal(0.5, "b", system="a"), Goal(0.5, "c", system="a")))

    def verdict(self, **systems):
        return [fine for _, _, fine in results.judge([a_round(1, **systems)], self.WORK)]

    def test_are_reached_at_the_limit_and_missed_above(self):
        self.assertEqual(self.verdict(a=[5], b=[10], c=[9]), [True, False])

    def test_are_unknown_without_the_other_system(self):
        self.assertEqual(self.verdict(a=[5], b=[10]), [True, None])

    def test_are_printed_with_their_ratio(self):
        lines = results.verdicts([a_round(1, a=[5], b=[10], c=[8])], [self.WORK])
        self.assertRegex(lines[2], r"w, cpu: a <= 0.5 x b +0.50  reached$")
        self.assertRegex(lines[3], r"w, cpu: a <= 0.5 x c +0.62  MISSED$")


class Table(unittest.TestCase):
    def test_shows_median_range_and_ratio(self):
        rounds = [a_round(1, thole=[10.0], b=[40.0]), a_round(1, thole=[20.0], b=[80.0])]
        lines = results.table(rounds, results.summarise(rounds))
        self.assertRegex(lines[1], r"^w: cpu, ns +median +min - max  thole is$")
        self.assertRegex(lines[2], r"^  thole +15\.0 +10\.0 - 20\.0$")
        self.assertRegex(lines[3], r"^  b +60\.0 +40\.0 - 80\.0  0\.25 x of it$")

    def test_writes_numbers_with_three_digits(self):
        self.assertEqual(
            [results.number(v) for v in (1.234, 12.34, 123.4, 12345.6)],
            ["1.23", "12.3", "123", "12,346"],
        )


class Works(unittest.TestCase):
    def test_have_names_of_their_own_and_goals_that_can_be_judged(self):
        self.assertEqual(len({work.name for work in WORKS}), len(WORKS))
        for work in WORKS:
            for goal in work.goals:
                self.assertIn(goal.system, work.programs)
                self.assertIn(goal.against, work.programs)


if __name__ == "__main__":
    unittest.main()
