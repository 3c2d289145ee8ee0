#!/usr/bin/env python3
"""Every step of every step table is died at by a crash test.

    tools/crash_points.py --build build/release

A test dies at a step if its source names the step, or if a parameter of it does: crash tests are made over the points that a
first run came by, so their names are asked of the programs themselves (--gtest_list_tests).
"""

import argparse
import glob
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tidy_rules.source import COMPONENTS, Project  # noqa: E402
from tidy_rules.steps import tables  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def names_of(part, step):
    """The step as it may stand in a source or in the name of a test."""
    short = step[len(part) + 1 :] if step.startswith(part + ".") else step
    return {f'"{short}"', f'"{part}.{short}"'}, {
        text.replace(".", "_") for text in (short, f"{part}.{short}")
    }


def listed_tests(build, part):
    """Names of all parameters of a component's crash tests, as a set."""
    names = set()
    for program in glob.glob(os.path.join(build, part, "**", "*crash*_test"), recursive=True):
        if os.access(program, os.X_OK) and os.path.isfile(program):
            done = subprocess.run(
                [program, "--gtest_list_tests"], stdout=subprocess.PIPE, text=True
            )
            for line in done.stdout.split("\n"):
                if line.startswith("  "):
                    names.update(line.split("#")[0].split("/")[1:])
    return {name.strip() for name in names}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", default=os.path.join(TOP, "build", "release"))
    options = parser.parse_args()
    project = Project.of_tree(TOP)
    steps, missing = 0, []
    for part in COMPONENTS:
        # The steps of the floor are taken in every component's operations.
        parts = list(COMPONENTS) if part == "shm" else [part]
        listed = set().union(*(listed_tests(options.build, p) for p in parts))
        tests = "\n".join(f.text for f in project.cpp() if f.part in parts and f.is_proof)
        for source in project.product():
            if source.part != part:
                continue
            for step, (line, _) in tables(source).items():
                steps += 1
                quoted, parameters = names_of(part, step)
                named = any(name in tests for name in quoted)
                if not named and not any(
                    p == n or n.endswith("_" + p) for p in parameters for n in listed
                ):
                    missing.append(f"{source.path}:{line}: no crash test dies at {step}")
    print("\n".join(missing + [f"{steps} steps, {len(missing)} that no crash test dies at"]))
    return 1 if missing or not steps else 0


if __name__ == "__main__":
    sys.exit(main())
