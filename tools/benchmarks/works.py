"""What tools/bench measures. A work joins by one entry in WORKS.

A program prints one line of JSON for each metric: {"metric": .., "unit": .., "samples": [..]}, and "system" where that is not
the one it was started for. Paths are relative to the folder bench of the build tree.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    path: str
    arguments: tuple = ()
    environment: tuple = ()  # of (name, value)
    quick: tuple = ()  # arguments of a run that only shows that everything works

    def with_arguments(self, *arguments):
        return Program(self.path, self.arguments + arguments, self.environment, self.quick)


@dataclass(frozen=True)
class Goal:
    """`system` takes at most `limit` times what `against` takes."""

    limit: float
    against: str
    metric: str = "cpu"
    system: str = "thole"


@dataclass(frozen=True)
class Work:
    part: str  # what is given on the command line
    name: str
    programs: dict  # system -> Program
    goals: tuple = ()
    chart: str = ""  # the metric that is drawn, if any


def _heap(name, *arguments, environment=()):
    return Program(f"alloc/alloc_bench_{name}", arguments, environment, ("--quick",))


THOLE = {
    "thole": _heap("thole"),
    "thole, batch of 1": _heap("thole", "--batch", "1"),
    "thole, no magazines": _heap("thole", "--batch", "0"),
}
BOOST = {"Boost": _heap("boost")}
# No flushes: what is left is what the death of a process asks for.
PMEMOBJ = {
    "pmemobj": _heap("pmemobj", environment=(("PMEM_IS_PMEM_FORCE", "1"), ("PMEM_NO_FLUSH", "1")))
}
PRIVATE = {name: _heap(name) for name in ("glibc", "jemalloc", "mimalloc")}
HEAPS = THOLE | BOOST | PMEMOBJ | PRIVATE


def _alloc(name, heaps, *arguments, **further):
    # The name of the work comes before the options of the system.
    programs = {
        system: Program(p.path, arguments + p.arguments, p.environment, p.quick)
        for system, p in heaps.items()
    }
    return Work("alloc", name, programs, **further)


def _replacement(name, work, goals):
    """One process, two at once, and how long single calls take."""
    twice = Goal(0.25, "Boost", "wall")
    return [
        _alloc(name, HEAPS, work, goals=goals, chart="cpu"),
        _alloc(
            f"{name}, two at once",
            HEAPS,
            work,
            "--processes",
            "2",
            goals=(twice,),
            chart="wall",
        ),
        _alloc(f"{name}, single calls", HEAPS, work, "--mode", "latency"),
    ]


def _footprint(name, work):
    return _alloc(f"{name}, memory", HEAPS, work, "--mode", "footprint", chart="resident of live")


def _thole_bench(part):
    program = Program("thole_bench", ("--json", "--repetitions", "1", "--only", part))
    return Work(part, part, {"thole": program})


PAIRS = "allocate and free 64 B"
SMALL = "replace one of 10,000 of 16 B to 4 KiB"
SIZES = "replace one of 1,000 of 16 B to 1 MiB"
HAND_OVER = "one allocates, another frees"
TWO = ("hand-over", "--processes", "2")

LIMITS = Work("limits", "the machine", {"the machine": Program("limits_bench")})
WORKS = [
    *_replacement(
        PAIRS,
        "pairs",
        (
            Goal(0.10, "Boost"),
            Goal(1.5, "glibc"),
            Goal(0.5, "Boost", system="thole, no magazines"),
        ),
    ),
    *_replacement(SMALL, "small", (Goal(0.2, "Boost"), Goal(0.8, "glibc"))),
    *_replacement(SIZES, "all-sizes", (Goal(1.0, "glibc"), Goal(1.0, "jemalloc"))),
    _alloc(HAND_OVER, THOLE | BOOST, *TWO, goals=(Goal(0.15, "Boost"),), chart="cpu"),
    _alloc(f"{HAND_OVER}, single calls", THOLE | BOOST, *TWO, "--mode", "latency"),
    _footprint(SMALL, "small"),
    _footprint(SIZES, "all-sizes"),
    _alloc("a process was killed", {"thole": _heap("thole")}, "recovery"),
    _thole_bench("queue"),
    _thole_bench("comm"),
]
PARTS = list(dict.fromkeys(work.part for work in WORKS))
# Debian packages of the systems that are not ours, and of the charts.
PEER_PACKAGES = [
    "libboost-dev",
    "libpmemobj-dev",
    "libjemalloc-dev",
    "libmimalloc-dev",
    "python3-matplotlib",
]
