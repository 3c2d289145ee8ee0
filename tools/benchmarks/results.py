"""What was measured: which rounds count, medians, ratios, and how they are written."""

from dataclasses import dataclass, field

SLOW = 2.0  # a round counts unless its cache line took more than so many times the best one


def median(values):
    """The middle one; the mean of the two in the middle of an even number."""
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


@dataclass
class Round:
    """One repetition of one work: all its systems, and the slower of the cache lines around it."""

    work: str
    line_ns: float
    samples: dict = field(default_factory=dict)  # (system, metric, unit) -> list of numbers

    def take(self, system, line):
        """Adds what a program printed about one metric."""
        key = (line.get("system", system), line["metric"], line["unit"])
        self.samples.setdefault(key, []).extend(line["samples"])


def keep(rounds):
    """(rounds that count, number of dropped ones)"""
    if not rounds:
        return [], 0
    best = min(each.line_ns for each in rounds)
    kept = [each for each in rounds if each.line_ns <= SLOW * best]
    return kept, len(rounds) - len(kept)


def summarise(rounds):
    """[{work, system, metric, unit, median, min, max, samples}] in the order in which they came."""
    together = {}
    for each in rounds:
        for (system, metric, unit), samples in each.samples.items():
            together.setdefault((each.work, metric, unit, system), []).extend(samples)
    order = {work: number for number, work in enumerate(dict.fromkeys(r.work for r in rounds))}
    metrics = {key[:2]: number for number, key in reversed(list(enumerate(together)))}
    keys = sorted(together, key=lambda key: (order[key[0]], metrics[key[:2]]))
    return [
        {
            "work": work,
            "system": system,
            "metric": metric,
            "unit": unit,
            "median": median(together[work, metric, unit, system]),
            "min": min(together[work, metric, unit, system]),
            "max": max(together[work, metric, unit, system]),
            "samples": together[work, metric, unit, system],
        }
        for work, metric, unit, system in keys
    ]


def ratio(rounds, work, metric, system, against):
    """How many times what `against` takes `system` takes: the median of the rounds that have both. None without any."""
    ratios = []
    for each in rounds:
        values = {key[0]: samples for key, samples in each.samples.items() if key[1] == metric}
        if each.work != work or system not in values or against not in values:
            continue
        # A call may be so quick that the clock sees nothing of it.
        if median(values[against]) > 0:
            ratios.append(median(values[system]) / median(values[against]))
    return median(ratios) if ratios else None


def judge(rounds, work):
    """(goal, ratio or None, whether it is reached or None) of each goal of a work."""
    for goal in work.goals:
        reached = ratio(rounds, work.name, goal.metric, goal.system, goal.against)
        yield goal, reached, None if reached is None else reached <= goal.limit


def number(value):
    """Three digits that count, no exponent."""
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def table(rounds, summary, reference="thole"):
    """Lines of text: medians, their range, and the ratio to what `reference` takes of each metric."""
    lines, shown = [], None
    for entry in summary:
        head = (entry["work"], entry["metric"], entry["unit"])
        if head != shown:
            shown = head
            title = f"{entry['work']}: {entry['metric']}, {entry['unit']}"
            lines += ["", f"{title:66}{'median':>10}  {'min - max':>20}  {reference} is"]
        share = ratio(rounds, entry["work"], entry["metric"], reference, entry["system"])
        span = f"{number(entry['min'])} - {number(entry['max'])}"
        times = "" if share is None or entry["system"] == reference else f"{share:.2f} x of it"
        lines.append(
            f"  {entry['system']:64}{number(entry['median']):>10}  {span:>20}  {times}".rstrip()
        )
    return lines


def verdicts(rounds, works):
    """Lines of text: each goal, and whether it is reached in these rounds."""
    lines = []
    for work in works:
        for goal, reached, fine in judge(rounds, work):
            said = "not measured" if reached is None else f"{reached:.2f}  "
            said += "" if reached is None else "reached" if fine else "MISSED"
            what = f"{work.name}, {goal.metric}: {goal.system} <= {goal.limit:g} x {goal.against}"
            lines.append(f"  {what:96}{said}")
    return ["", "goals", *lines] if lines else []
