"""A copy of the project that may be changed, and builds of it. Used by tools/seeded.py and tools/mutants."""

import json
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


class Tree:
    """A copy of what git knows of, in `folder`. Nothing outside of it is ever changed."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def command(self, *arguments, **options):
        environment = dict(os.environ, CCACHE_BASEDIR=self.folder, CCACHE_NOHASHDIR="1")
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

    def copy(self):
        """Makes the copy equal to the project, without touching files that did not change."""
        names = subprocess.run(
            ["git", "-C", TOP, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\0")
        wanted = {name for name in names if name and os.path.isfile(os.path.join(TOP, name))}
        if not os.path.isdir(self.path(".git")):
            # The style checks ask git for files.
            subprocess.run(["git", "init", "-q", self.folder], check=True)
        for folder, folders, files in os.walk(self.folder):
            if folder == self.folder:
                folders[:] = [name for name in folders if name not in (".git", "build")]
            for file in files:
                path = os.path.join(folder, file)
                if os.path.relpath(path, self.folder) not in wanted:
                    os.remove(path)
        for name in wanted:
            source, target = os.path.join(TOP, name), self.path(name)
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
    """A build of a tree, for one preset, where a developer has it too: so ccache knows what others compiled."""

    def __init__(self, tree, preset, parts):
        self.tree = tree
        self.folder = tree.path(os.path.join("build", preset))
        self.arguments = ["--preset", preset, *parts]
        self.configure()
        listed = tree.command("ninja", "-C", self.folder, "-t", "targets", "all").stdout
        self.targets = set(re.findall(r"^([^:/\s]+): phony$", listed, re.M))

    def configure(self):
        tree = self.tree
        configured = tree.command("cmake", "-S", tree.folder, "-B", self.folder, *self.arguments)
        if configured.returncode != 0:
            sys.exit(f"the copy cannot be configured:\n{configured.stdout[-3000:]}")

    def make(self, tests, *options):
        """Builds those of the tests that are programs; None if there are none."""
        # The test fuzz_X_replay is the program X_replay.
        names = set(tests) | {test.removeprefix("fuzz_") for test in tests}
        targets = sorted(names & self.targets)
        if not targets:
            return None
        return self.tree.command("cmake", "--build", self.folder, *options, "--target", *targets)

    def programs(self):
        """The command line of each test that is a program of ours; None if it is not built yet."""
        listed = json.loads(self.ctest("--show-only=json-v1").stdout)["tests"]
        return {
            test["name"]: test.get("command") for test in listed if test["name"] in self.targets
        }

    def ctest(self, *arguments):
        return self.tree.command("ctest", "--test-dir", self.folder, *arguments)
