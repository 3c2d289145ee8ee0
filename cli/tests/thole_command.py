"""What the tests of the command share: running it, and segments in every state."""

import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

THOLE = os.environ.get("THOLE", "build/release/cli/thole")
PREFIX = "/dev/shm/thole."


def run(*arguments, **options):
    return subprocess.run(
        [THOLE, *arguments], capture_output=True, text=True, timeout=120, **options
    )


def wait_until(condition, what, seconds=30):
    """Looks at `condition` until it holds; what it gives."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)  # tidy: sleep: looks again, decides by the condition
    raise AssertionError(f"{what}: not within {seconds} s")


class CommandTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="thole-test-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def tree(self, name, sizes):
        """A folder with files of these sizes, all different."""
        top = self.path(name)
        for number, size in enumerate(sizes):
            folder = os.path.join(top, f"folder-{number % 3}")
            os.makedirs(folder, exist_ok=True)
            line = f"line of file {number}\n".encode()
            with open(os.path.join(folder, f"file-{number}"), "wb") as file:
                file.write((line * (size // len(line) + 1))[:size])
        os.makedirs(top, exist_ok=True)
        return top

    def segment_name(self, kind):
        name = f"test-{os.getpid()}-{kind}"
        self.addCleanup(lambda: remove(PREFIX + name))
        return name

    def fails(self, result, code, *words):
        """One sentence on stderr with these words, nothing on stdout, this exit code."""
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertTrue(result.stderr.startswith("thole: "), result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def output(self, result, code=0):
        self.assertEqual(result.returncode, code, result.stderr + result.stdout)
        self.assertEqual(result.stdout.count("\n"), 1, "more than one line of JSON")
        return json.loads(result.stdout)

    @contextlib.contextmanager
    def running_demo(self, *arguments):
        """A demonstration that is under way: its process and the name of its segment."""
        tree = self.tree("running", [5_000] * 50)
        process = subprocess.Popen(
            [THOLE, "demo", "--input", tree, "--seconds", "100", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        name = f"demo-{process.pid}"
        self.addCleanup(lambda: remove(PREFIX + name))
        try:
            wait_until(lambda: under_way(name), "messages and all members in the demonstration")
            yield process, name
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=60)

    def dead_segment(self, name):
        """A segment whose participants were all killed at once while they worked."""
        with self.running_demo("--kill-every-ms", "0") as (process, running):
            process.send_signal(signal.SIGKILL)  # the others die with it
            process.wait()
            wait_until(lambda: not alive(running), "the death of all participants")
            os.rename(PREFIX + running, PREFIX + name)
        return name


def remove(path):
    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
        os.remove(path)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.rmdir(path)


DEMO_MEMBERS = 7  # two feeders, four workers, and the supervisor, which also collects


def listed(name):
    """What `thole list` says about one segment; nothing as long as there is none."""
    result = run("list", name, "--json")
    return json.loads(result.stdout) if result.stdout else None


def under_way(name):
    report = listed(name)
    return (
        report is not None
        and sum(channel["sent"] for channel in report["channels"]) > 100
        and len(report["participants"]) >= DEMO_MEMBERS  # the last worker may join late
    )


def alive(name):
    return [p for p in listed(name)["participants"] if p["state"] != "dead"]


def segments_of(pid):
    return glob.glob(f"{PREFIX}demo-{pid}")
