"""Runs the programs of works, round by round."""

import json
import os
import subprocess
import sys

from . import results, works

SECONDS_MAX = 300  # of one program


class Runner:
    def __init__(self, build, quick):
        self.folder = os.path.join(build, "bench")
        self.quick = quick
        self.failures = []

    def path(self, program):
        return os.path.join(self.folder, program.path)

    def run(self, program):
        """The lines that a program printed, as objects."""
        command = [self.path(program), *program.arguments]
        command += program.quick if self.quick else ()
        try:
            done = subprocess.run(
                command,
                env=os.environ | dict(program.environment),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SECONDS_MAX,
            )
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            if done.returncode == 0 and lines:
                return lines
            self.failures.append(f"{' '.join(command)}: status {done.returncode}")
        except ValueError:
            self.failures.append(f"{' '.join(command)}: {done.stdout.strip()[-400:]}")
        except subprocess.TimeoutExpired:
            self.failures.append(f"{' '.join(command)}: not done in {SECONDS_MAX} seconds")
        print(f"FAILED {self.failures[-1]}", flush=True)
        return []

    def cache_line(self):
        lines = self.run(works.LIMITS.programs["the machine"].with_arguments("--line-only"))
        return lines[0]["samples"][0] if lines else float("inf")

    def round(self, work, backwards):
        before = self.cache_line()
        made = results.Round(work.name, before)
        systems = [item for item in work.programs.items() if os.path.exists(self.path(item[1]))]
        lines = {system: self.run(p) for system, p in (systems[::-1] if backwards else systems)}
        for system, _ in systems:
            for line in lines[system]:
                made.take(system, line)
        made.line_ns = max(before, self.cache_line())
        return made


def measure(runner, chosen, repetitions):
    """Rounds, one of each work in turn; fewer when somebody interrupts."""
    rounds = []
    try:
        for repetition in range(repetitions):
            for work in chosen:
                rounds.append(runner.round(work, backwards=repetition % 2 == 1))
            print(f"repetition {repetition + 1} of {repetitions} is done", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted: what follows is of fewer rounds", file=sys.stderr)
    return rounds
