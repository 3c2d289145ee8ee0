"""Runs every stepper or simulator test of a build and gathers what they found in one table.

Imported by tools/step and tools/sim, which say what there is to count.
"""

import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def programs(build, suffix):
    found = glob.glob(os.path.join(build, "**", f"*{suffix}"), recursive=True)
    return sorted(path for path in found if os.path.isfile(path) and os.access(path, os.X_OK))


def run(program, arguments):
    """The program's exit status and its results: a list of one object per operation or program."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "result.json")
        done = subprocess.run(
            [program, *arguments, "--json", file],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            with open(file, encoding="utf-8") as text:
                return done.returncode, json.load(text)
        except (OSError, ValueError):
            print(done.stdout[-4000:], file=sys.stderr)
            return done.returncode or 1, []


def main(suffix, what, columns, bad, description):
    """columns: (key, title) of the numbers to show and to add up; bad: the key that must stay 0."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog="Further options go to the programs, e.g. --seconds 5 --seed 7.",
    )
    parser.add_argument(
        "--build", default=os.path.join(TOP, "build", "release"), help="the build tree"
    )
    parser.add_argument("--only", default="", help="part of a program's name, e.g. alloc")
    parser.add_argument("--filter", default="", help=f"part of the name of a {what}")
    parser.add_argument("--json", help="write everything to this file")
    options, arguments = parser.parse_known_args()

    found = [p for p in programs(options.build, suffix) if options.only in os.path.basename(p)]
    if not found:
        print(
            f"no *{suffix} in {options.build}; build first: cmake --preset release && "
            "cmake --build build/release",
            file=sys.stderr,
        )
        return 2
    print(f"{what:60}" + "".join(f"{title:>14}" for _, title in columns))
    everything, broken = [], []
    for program in found:
        if options.filter:
            listed = subprocess.run(
                [program, *arguments, "--list"], stdout=subprocess.PIPE, text=True
            ).stdout
            if options.filter not in listed:
                continue
        status, results = run(
            program, arguments + (["--filter", options.filter] if options.filter else [])
        )
        for result in results:
            print(
                f"{result[what]:60}" + "".join(f"{result[key]:14}" for key, _ in columns),
                flush=True,
            )
            for failure in result["failures"][:3]:
                print(f"  FAILED {failure['where']}\n    {failure['text']}")
        if status != 0 and not any(result[bad] for result in results):
            print(f"  FAILED {os.path.relpath(program)} ended with status {status}")
        if status != 0:
            broken.append(program)
        everything += results
    totals = {key: sum(result[key] for result in everything) for key, _ in columns}
    print(f"{f'{len(everything)} {what}s':60}" + "".join(f"{totals[key]:14}" for key, _ in columns))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({f"{what}s": everything, "totals": totals}, file, indent=1)
    return 1 if broken or not everything else 0
