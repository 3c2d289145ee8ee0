#!/usr/bin/env python3
"""Seeds bugs, one at a time, and demands that the named check catches each.

    tools/seeded.py                all of tools/seeded/*.json
    tools/seeded.py --only shm     those of one file; --only shm-3 one of them
    tools/seeded.py --json FILE    the results as JSON too
    tools/seeded.py --self-test    only whether each entry still fits the sources

An entry is {"id", "what", "file", "find", "replace", "caught_by"}: the text `find` must occur exactly once in `file`, and
`caught_by` is a regular expression for names of tests, as for ctest -R. An optional "preset" names a build other than
release, and "arguments" are for the one program that `caught_by` then names: a simulator asked for a number of runs does
the same on a busy machine. The tree is copied to build/seeded, never touched itself. Before anything is seeded the same
tests must pass: an entry whose test does not is INVALID.
"""

import argparse
import glob
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from trees import TOP, Build, Tree, read, write  # noqa: E402

TREE = Tree(os.path.join(TOP, "build", "seeded", "tree"))
KEYS = {"id", "what", "file", "find", "replace", "caught_by"}


def tests(build, pattern):
    listed = build.ctest("-N", "-R", pattern).stdout
    return re.findall(r"^ *Test +#\d+: (.*)$", listed, re.M)


def key_of(entry):
    """What is built and run for an entry: its build, its tests, their arguments."""
    return entry.get("preset", "release"), entry["caught_by"], tuple(entry.get("arguments", ()))


def run(build, pattern, arguments):
    if arguments:
        return build.tree.command(build.programs()[pattern][0], *arguments)
    return build.ctest(
        "-R", pattern, "--stop-on-failure", "--output-on-failure", "--no-tests=error"
    )


def entries(only):
    chosen = []
    for path in sorted(glob.glob(os.path.join(TOP, "tools", "seeded", "*.json"))):
        group = os.path.splitext(os.path.basename(path))[0]
        for entry in json.loads(read(path)):
            if not KEYS <= set(entry):
                sys.exit(f"{path}: an entry lacks {sorted(KEYS - set(entry))}")
            if not only or only in (group, entry["id"]):
                chosen.append(entry)
    if len({entry["id"] for entry in chosen}) != len(chosen):
        sys.exit("two entries have the same id")
    return chosen


def self_test(chosen):
    """Entries whose text is gone, or stands twice, since the sources changed."""
    stale = []
    for entry in chosen:
        path = os.path.join(TOP, entry["file"])
        count = read(path).count(entry["find"]) if os.path.isfile(path) else 0
        if count != 1:
            stale.append(f"{entry['id']}: its text occurs {count} times in {entry['file']}")
    print("\n".join(stale) or f"{len(chosen)} entries fit the sources")
    return 1 if stale else 0


def seed(entry, build):
    """The outcome of one entry: caught, SURVIVED, or what is wrong with the entry itself."""
    path = TREE.path(entry["file"])
    if not os.path.isfile(path):
        return "INVALID: no such file"
    original = read(path)
    count = original.count(entry["find"])
    if count != 1:
        return f"INVALID: the text occurs {count} times"
    write(path, original.replace(entry["find"], entry["replace"]))
    is_build_file = entry["file"].endswith((".cmake", "CMakeLists.txt"))
    try:
        if is_build_file:
            build.configure()
        built = build.make(tests(build, entry["caught_by"]))
        if built is not None and built.returncode != 0:
            print(built.stdout[-2000:])
            return "INVALID: does not build"
        _, pattern, arguments = key_of(entry)
        return "caught" if run(build, pattern, arguments).returncode != 0 else "SURVIVED"
    finally:
        write(path, original)
        if is_build_file:
            build.configure()


def unsound(chosen, builds, parts):
    """The keys of tests that fail while nothing is seeded: they would catch anything."""
    found = set()
    for preset, pattern, arguments in sorted({key_of(entry) for entry in chosen}):
        build = builds.setdefault(preset, None) or Build(TREE, preset, parts)
        builds[preset] = build
        built = build.make(tests(build, pattern))
        if built is not None and built.returncode != 0:
            sys.exit(f"does not build without a bug:\n{built.stdout[-3000:]}")
        done = run(build, pattern, arguments)
        if done.returncode != 0:
            print(f"'{pattern}' fails without a bug, or matches no test:\n{done.stdout[-3000:]}")
            found.add((preset, pattern, arguments))
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="a file of tools/seeded without .json, or an id")
    parser.add_argument("--parts", help="folders to build, as for THOLE_PARTS; default: all")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    chosen = entries(options.only)
    if not chosen:
        print("nothing to seed", file=sys.stderr)
        return 2
    if options.self_test:
        return self_test(chosen)
    TREE.copy()
    builds = {}
    parts = [f"-DTHOLE_PARTS={options.parts}"] if options.parts else ["-UTHOLE_PARTS"]
    unusable = unsound(chosen, builds, parts)
    rows = []
    for entry in chosen:
        started = time.monotonic()
        outcome = "INVALID: its test fails without a bug"
        if key_of(entry) not in unusable:
            outcome = seed(entry, builds[key_of(entry)[0]])
        rows.append(
            {
                **{key: entry[key] for key in ("id", "what", "file", "caught_by")},
                "outcome": outcome,
                "seconds": round(time.monotonic() - started, 1),
            }
        )
        print(f"{entry['id']}: {outcome} in {rows[-1]['seconds']} s", flush=True)
    print(f"\n{'id':14} {'seconds':>8}  {'outcome':10} {'by':34} what")
    for row in rows:
        print(
            f"{row['id']:14} {row['seconds']:8}  {row['outcome']:10} {row['caught_by'][:34]:34} {row['what']}"
        )
    caught = sum(row["outcome"] == "caught" for row in rows)
    print(f"{caught} of {len(rows)} seeded bugs caught")
    if options.json:
        write(options.json, json.dumps(rows, indent=1) + "\n")
    return 0 if caught == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
