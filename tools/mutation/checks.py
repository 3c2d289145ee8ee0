"""Which sources are mutated, and which tests must notice, the quickest kind first."""

import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass

# What a death may interrupt, and what repairs it. No audits, no formats, nothing that only prints.
SOURCES = {
    "shm": [
        "shm/include/thole/shm/transaction.h",
        "shm/src/attachment.cc",
        "shm/src/lane_state.h",
        "shm/src/loan_table.cc",
        "shm/src/owner_lock.cc",
        "shm/src/recover.cc",
        "shm/src/seat.cc",
        "shm/src/transaction.cc",
        "shm/src/wait_list.cc",
    ],
    "alloc": [
        "alloc/src/edit.h",
        "alloc/src/free_lists.cc",
        "alloc/src/heap.cc",
        "alloc/src/moves.cc",
        "alloc/src/persistent_tlsf_allocator.cc",
        "alloc/src/recover.cc",
    ],
    "registry": [
        "registry/src/entry_fields.h",
        "registry/src/entry_moves.cc",
        "registry/src/entry_moves.h",
        "registry/src/name_source.cc",
        "registry/src/recover.cc",
        "registry/src/settle.cc",
        "registry/src/sweep.cc",
    ],
    "queue": [
        "queue/src/queue_handle.cc",
        "queue/src/queue_ring.cc",
        "queue/src/queue_wait.cc",
        "queue/src/recover.cc",
        "queue/src/return_list.cc",
    ],
    "comm": [
        "comm/src/channel_state.cc",
        "comm/src/message_handle.cc",
        "comm/src/system_state.cc",
        "comm/src/zero_copy_writer.cc",
    ],
}

# A mutant that asks for memory without end must not have that of the machine.
LIMITS = ["prlimit", "--data=4294967296", "--core=0"]

UNIT, CRASH, STEP, SIMULATED, PROCESSES, WEAK = range(6)


def kind_of(name):
    if name.endswith("_step_test"):
        return STEP
    if name.endswith("_sim_test"):
        return SIMULATED
    if "crash" in name:
        return CRASH
    return PROCESSES if re.search(r"_(storm|processes?|stopped)_", name) else UNIT


@dataclass
class Check:
    name: str
    program: str
    kind: int
    arguments: list
    seconds: float = 0.0  # what it takes while nothing is wrong

    @property
    def label(self):
        return self.name + (" --weak" if self.kind == WEAK else "")

    @property
    def depends_on_luck(self):
        """Whether real processes are scheduled by the kernel: the others do the same each time."""
        return self.kind in (UNIT, CRASH, PROCESSES)

    @property
    def patience(self):
        """When it is called hanging. A mutant that makes a test hang is noticed by that."""
        return 20 + 6 * self.seconds


def tests_of(build, component):
    """Name and command line of the component's tests that are programs; benchmarks judge nothing."""
    wanted = re.compile(rf"{component}_(?:.*_)?(?:prop)?test")
    return {name: line for name, line in build.programs().items() if wanted.fullmatch(name)}


def knows_weak_orders(program):
    return subprocess.run([program, "--weak", "--list"], capture_output=True).returncode == 0


def asked(found, mutant):
    """A weaker order shows only where orders are simulated, or where the compiler makes use of it."""
    kinds = (
        (WEAK, STEP) if mutant.operator == "order" else (UNIT, CRASH, STEP, SIMULATED, PROCESSES)
    )
    return [check for kind in kinds for check in found if check.kind == kind]


def asked_above(found, mutant):
    """What is asked of the component above, which stands on all others: not what depends on luck."""
    return [check for check in asked(found, mutant) if check.kind != PROCESSES]


def checks_of(build, component, seconds, *options):
    """Builds the component's tests. In the order in which they are asked; None if they do not build."""
    built = build.make(tests_of(build, component), *options)
    if built is None or built.returncode != 0:
        return None, built.stdout if built else "no tests"
    found = []
    for name, command in tests_of(build, component).items():
        kind = kind_of(name)
        arguments = ["--gtest_fail_fast", "--gtest_brief=1"]
        if kind in (STEP, SIMULATED):
            arguments = ["--seconds", str(seconds), "--seed", "1"]
        found.append(Check(name, command[0], kind, arguments))
        if kind == SIMULATED and knows_weak_orders(command[0]):
            found.append(Check(name, command[0], WEAK, ["--weak", *arguments]))
    return sorted(found, key=lambda check: (check.kind, check.name)), ""


@dataclass
class Outcome:
    failed: bool
    seconds: float
    evidence: str


def run(check, folder, patience):
    """Runs it in a process group of its own, of which nothing is left afterwards."""
    started = time.monotonic()
    with tempfile.TemporaryFile(mode="w+", errors="replace") as output:
        child = subprocess.Popen(
            [*LIMITS, check.program, *check.arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = child.wait(patience)
        except subprocess.TimeoutExpired:
            status = None
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        output.seek(0)
        said = output.read()
    if status == 0:
        return Outcome(False, time.monotonic() - started, "")
    pattern = r"^.*(?:Failure|FAILED|Check failed|DCHECK|violat|finding|not repaired).*$"
    line = re.search(pattern, said, re.M)
    evidence = "hangs" if status is None else line.group().strip() if line else f"status {status}"
    return Outcome(True, time.monotonic() - started, evidence[:200])
