#!/usr/bin/env python3
"""Seeds bugs, one at a time, and demands that the named check catches each.

    tools/seeded.py                all of tools/seeded/*.json
    tools/seeded.py --only shm     those of one file; --only shm-3 one of them
    tools/seeded.py --json FILE    the results as JSON too

An entry is {"id", "what", "file", "find", "replace", "caught_by"}: the text `find` must occur exactly once in `file`, and
`caught_by` is a regular expression for names of tests, as for ctest -R. An optional "preset" names a build other than
release. The tree is copied to build/seeded, never touched itself. Before anything is seeded the same tests must pass.
"""

import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORK = os.path.join(TOP, "build", "seeded")
TREE = os.path.join(WORK, "tree")
KEYS = {"id", "what", "file", "find", "replace", "caught_by"}


def command(*arguments, **options):
    environment = dict(os.environ, CCACHE_BASEDIR=TREE, CCACHE_NOHASHDIR="1")
    return subprocess.run(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        **options,
    )


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def copy_tree():
    """Makes TREE equal to what git knows of, without touching files that did not change."""
    names = subprocess.run(
        ["git", "-C", TOP, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    wanted = {name for name in names if name and os.path.isfile(os.path.join(TOP, name))}
    if not os.path.isdir(os.path.join(TREE, ".git")):
        subprocess.run(
            ["git", "init", "-q", TREE], check=True
        )  # the style checks ask git for files
    for folder, folders, files in os.walk(TREE):
        if ".git" in folders:
            folders.remove(".git")
        for file in files:
            path = os.path.join(folder, file)
            if os.path.relpath(path, TREE) not in wanted:
                os.remove(path)
    for name in wanted:
        source, target = os.path.join(TOP, name), os.path.join(TREE, name)
        with open(source, "rb") as file:
            data = file.read()
        if os.path.exists(target):
            with open(target, "rb") as file:
                if file.read() == data:
                    continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


class Build:
    """A build tree of the copy, for one preset."""

    def __init__(self, preset, parts):
        self.folder = os.path.join(WORK, preset)
        self.arguments = ["--preset", preset, *parts]
        self.configure()
        listed = command("ninja", "-C", self.folder, "-t", "targets", "all").stdout
        self.targets = set(re.findall(r"^([^:/\s]+): phony$", listed, re.M))

    def configure(self):
        configured = command("cmake", "-S", TREE, "-B", self.folder, *self.arguments)
        if configured.returncode != 0:
            sys.exit(f"the copy cannot be configured:\n{configured.stdout[-3000:]}")

    def tests(self, pattern):
        listed = command("ctest", "--test-dir", self.folder, "-N", "-R", pattern).stdout
        return re.findall(r"^ *Test +#\d+: (.*)$", listed, re.M)

    def make(self, tests):
        targets = sorted(set(tests) & self.targets)
        return command("cmake", "--build", self.folder, "--target", *targets) if targets else None

    def run(self, pattern):
        return command(
            "ctest",
            "--test-dir",
            self.folder,
            "-R",
            pattern,
            "--stop-on-failure",
            "--output-on-failure",
            "--no-tests=error",
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


def seed(entry, build):
    """The outcome of one entry: caught, SURVIVED, or what is wrong with the entry itself."""
    path = os.path.join(TREE, entry["file"])
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
        built = build.make(build.tests(entry["caught_by"]))
        if built is not None and built.returncode != 0:
            print(built.stdout[-2000:])
            return "INVALID: does not build"
        return "caught" if build.run(entry["caught_by"]).returncode != 0 else "SURVIVED"
    finally:
        write(path, original)
        if is_build_file:
            build.configure()


def sound(chosen, builds, parts):
    """Whether the tests pass while nothing is seeded: otherwise they would catch anything."""
    for preset, pattern in sorted({(e.get("preset", "release"), e["caught_by"]) for e in chosen}):
        build = builds.setdefault(preset, None) or Build(preset, parts)
        builds[preset] = build
        tests = build.tests(pattern)
        built = build.make(tests)
        if built is not None and built.returncode != 0:
            print(f"does not build without a bug:\n{built.stdout[-3000:]}")
            return False
        done = build.run(pattern)
        if done.returncode != 0:
            print(f"'{pattern}' fails without a bug, or matches no test:\n{done.stdout[-3000:]}")
            return False
    return True


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="a file of tools/seeded without .json, or an id")
    parser.add_argument("--parts", help="folders to build, as for THOLE_PARTS; default: all")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    chosen = entries(options.only)
    if not chosen:
        print("nothing to seed", file=sys.stderr)
        return 2
    copy_tree()
    builds = {}
    parts = [f"-DTHOLE_PARTS={options.parts}"] if options.parts else ["-UTHOLE_PARTS"]
    if not sound(chosen, builds, parts):
        return 1
    rows = []
    for entry in chosen:
        started = time.monotonic()
        outcome = seed(entry, builds[entry.get("preset", "release")])
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
