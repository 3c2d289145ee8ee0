"""Who may include whom, memory orders, and what has no place in the library at all."""

import re

from tidy_rules.source import COMPONENTS, PROGRAMS, Problem, rule

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)


@rule(
    "arrow",
    "an include goes with the arrows",
    bad=[
        {"queue/src/x.cc": '#include "thole/alloc/heap.h"\n'},
        {"shm/src/x.cc": "#include <thole/queue/ring.h>\n"},
        {"alloc/src/x.cc": '#include "thole/shm/testing/scenario.h"\n'},
        {"comm/src/x.cc": '#include "../../queue/src/ring.h"\n'},
    ],
    good=[
        {
            "comm/src/x.cc": '#include "thole/queue/ring.h"\n#include "x.h"\n',
            "queue/tests/x.cc": '#include "thole/shm/testing/scenario.h"\n',
            "queue/src/y.cc": '// #include "thole/alloc/heap.h"\n',
        }
    ],
)
def arrows(project):
    for source in project.cpp():
        for match in INCLUDE.finditer(source.code):
            path = match.group(1)
            line = source.line_at(match.start(1))
            if ".." in path.split("/"):
                yield Problem(
                    source.path, line, f"'{path}' climbs; include by the name below include/"
                )
            if not path.startswith("thole/") or path.count("/") < 2:
                continue
            target = path.split("/")[1]
            if target not in COMPONENTS:
                yield Problem(source.path, line, f"there is no component '{target}'")
            elif source.part in COMPONENTS and target not in COMPONENTS[source.part] | {
                source.part
            }:
                yield Problem(source.path, line, f"{source.part} must not know {target}")
            elif source.part in COMPONENTS and not source.is_proof and "/testing/" in path:
                yield Problem(source.path, line, "shipped code must not need test support")
            elif (
                source.part in PROGRAMS
                and source.part == "cli"
                and "/testing/" in path
                and not source.is_proof
            ):
                yield Problem(source.path, line, "the command must not need test support")


ORDER = re.compile(r"\bmemory_order(?:_|::)(?:relaxed|acquire|release|acq_rel|seq_cst|consume)\b")
ATOMIC_CALL = re.compile(
    r"(?:\.|->)(load|store|exchange|fetch_add|fetch_sub|fetch_or|fetch_and|fetch_xor|compare_exchange_weak|compare_exchange_strong)\s*\("
)
EDGE = re.compile(r"^([A-Z]{1,2}\d{1,2}|[A-Z]-[a-z])\b")


# A file may give an order a name, for a reason that all its uses share: they still cite it.
NAMED_ORDER = re.compile(
    r"\bconstexpr\s+(?:auto|std::memory_order)\s+(k\w+)\s*=\s*std::memory_order"
)


def _with_reasons(project):
    """All but tests, where the default order costs nothing and hides nothing."""
    for source in project.cpp():
        if source.part not in ("fuzz", "proptests") and "/tests/" not in source.path:
            yield source


def order_names(source):
    return [match.group(1) for match in NAMED_ORDER.finditer(source.bare)]


def _statement_lines(source, position):
    """First and last line of the statement around a position, with the brace that closes its block right after it."""
    text = source.bare
    start = max(text.rfind(c, 0, position) for c in ";{}") + 1
    while start < position and text[start].isspace():
        start += 1
    end = min([e for e in (text.find(c, position) for c in ";{}") if e >= 0], default=position)
    closing = re.compile(r";\s*\}").match(text, end)
    return source.line_at(start), source.line_at(closing.end() - 1 if closing else end)


def _reason(source, position):
    first, last = _statement_lines(source, position)
    for number in range(first, last + 1):
        comment = source.comments[number - 1].lstrip("/ ")
        if comment and not comment.startswith(("NOLINT", "clang-format")):
            return comment
    return None


@rule(
    "order",
    "a memory order has a reason beside it",
    bad=[
        {"alloc/src/x.cc": "void F() {\n  w.load(std::memory_order_acquire);\n}\n"},
        {
            "alloc/src/x.cc": "void F() {\n  // A1: reason above the statement\n  w.load(std::memory_order_acquire);\n}\n"
        },
        {"alloc/src/x.cc": "constexpr auto kA = std::memory_order_relaxed;\n"},
        {
            "alloc/src/x.cc": "// Why.\nconstexpr auto kA = std::memory_order_relaxed;\n"
            "void F() {\n  w.load(kA);\n}\n"
        },
        {
            "alloc/src/x.cc": "void F() {\n  G();  // other statement\n  w.store(1, std::memory_order_release);\n}\n"
        },
    ],
    good=[
        {
            "alloc/src/x.cc": "void F() {\n  w.load(std::memory_order_acquire);  // A1\n  w.compare_exchange_strong(a, b, std::memory_order_acquire,  // A1\n"
            "      std::memory_order_relaxed);\n  // w.load(std::memory_order_acquire)\n}\n"
        }
    ],
)
def orders(project):
    for source in _with_reasons(project):
        seen = set()
        named = order_names(source)
        pattern = re.compile("|".join([ORDER.pattern] + [rf"\b{name}\b" for name in named]))
        for match in pattern.finditer(source.bare):
            line = source.line_at(match.start())
            defined = NAMED_ORDER.search(source.bare_lines[line - 1])
            above = defined and line > 1 and source.comments[line - 2]
            if line not in seen and not above and _reason(source, match.start()) is None:
                seen.add(line)
                yield Problem(source.path, line, f"{match.group(0)} without a reason on the line")


@rule(
    "spelled-order",
    "an atomic operation spells its memory order",
    bad=[
        {"alloc/src/x.cc": "void F() { w.store(1); }\n"},
        {"shm/testing/src/x.cc": "int F() { return w->load(); }\n"},
    ],
    good=[
        {
            "alloc/src/x.cc": "void F() {\n  w.store(G(1),\n          std::memory_order_release);  // A1\n  std::exchange(a, b);\n  w.store(1, order);\n}\n"
        }
    ],
)
def spelled_orders(project):
    for source in _with_reasons(project):
        for match in ATOMIC_CALL.finditer(source.bare):
            depth, end = 1, match.end()
            while end < len(source.bare) and depth:
                depth += {"(": 1, ")": -1}.get(source.bare[end], 0)
                end += 1
            arguments = source.bare[match.end() : end]
            named = any(re.search(rf"\b{name}\b", arguments) for name in order_names(source))
            if not named and not re.search(r"\b\w*order\w*\b", arguments):
                yield Problem(
                    source.path,
                    source.line_at(match.start()),
                    f"{match.group(1)} without a memory order",
                )


def _known_edges(project):
    """Ids of the lists that begin with `// Edges` in a head comment."""
    known = set()
    for source in project.cpp():
        inside = False
        for line in source.lines:
            if re.match(r"\s*// Edges\b", line):
                inside = True
            elif inside and re.match(r"\s*//\s*$|\s*[^/\s]|\s*$", line):
                inside = False
            elif inside:
                match = re.match(r"\s*//\s+(\S+)", line)
                known.add(match.group(1))
    return known


@rule(
    "edge",
    "a cited edge stands in the list of some header",
    bad=[
        {
            "queue/src/x.cc": "// Edges (release -> acquire)\n//   Q1  a -> b\nvoid F() {\n  w.load(std::memory_order_acquire);  // Q7: nobody lists it\n}\n"
        }
    ],
    good=[
        {
            "queue/src/x.cc": "// Edges (release -> acquire)\n//   Q1  a -> b\n//   P-a c -> d\nvoid F() {\n  w.load(std::memory_order_acquire);  // Q1: bytes\n"
            "  w.load(std::memory_order_acquire);  // P-a\n  w.load(std::memory_order_relaxed);  // a hint\n}\n"
        }
    ],
)
def edges(project):
    known = _known_edges(project)
    for source in project.cpp():
        for number, comment in enumerate(source.comments, 1):
            if ORDER.search(source.bare_lines[number - 1]):
                match = EDGE.match(comment.lstrip("/ "))
                if match and match.group(1) not in known:
                    yield Problem(
                        source.path, number, f"edge {match.group(1)} stands in no list of edges"
                    )


def _forbid(pattern, message, where):
    def check(project):
        for source in project.cpp():
            if where(source):
                for match in re.finditer(pattern, source.bare):
                    yield Problem(
                        source.path, source.line_at(match.start()), message.format(match.group(0))
                    )

    return check


rule(
    "fence",
    "no fences: they are unknown to the thread sanitizer",
    bad=[{"queue/src/x.cc": "void F() { std::atomic_thread_fence(std::memory_order_seq_cst); }\n"}],
    good=[{"queue/src/x.cc": "// no atomic_thread_fence here\nvoid F() {}\n"}],
)(
    _forbid(
        r"\batomic_thread_fence\b|\b__sync_synchronize\b|\b_mm_mfence\b",
        "{}: use a seq_cst operation on a word instead",
        lambda s: True,
    )
)

rule(
    "pthread",
    "no lock or condition of the C library: its bytes hold pointers",
    bad=[
        {"shm/src/x.cc": "pthread_mutex_t lock;\n"},
        {"shm/src/x.cc": "sem_t* s = sem_open(n, 0);\n"},
    ],
    good=[{"shm/src/x.cc": "void F() { pthread_atfork(a, b, c); }\n"}],
)(
    _forbid(
        r"\bpthread_(?:mutex|cond|rwlock|barrier|spin|key|once)\w*|\bsem_(?:t|init|open|wait|post)\b",
        "{}: use an owner lock or a word",
        lambda s: s.part in COMPONENTS,
    )
)

rule(
    "cast",
    "only SegmentView makes a pointer from an offset",
    bad=[{"alloc/src/x.cc": "auto* p = reinterpret_cast<int*>(q);\n"}],
    good=[
        {
            "shm/include/thole/shm/segment_view.h": "auto* p = reinterpret_cast<int*>(q);\n",
            "alloc/tests/x.cc": "auto* p = reinterpret_cast<int*>(q);\n",
        }
    ],
)(
    _forbid(
        r"\breinterpret_cast\b",
        "{} outside segment_view.h",
        lambda s: not s.is_proof and not s.path.endswith("thole/shm/segment_view.h"),
    )
)

rule(
    "sleep",
    "nothing waits by sleeping for a while",
    bad=[
        {"alloc/tests/x.cc": "void F() { std::this_thread::sleep_for(d); }\n"},
        {"queue/src/x.cc": "void F() { usleep(5); }\n"},
    ],
    good=[{"alloc/tests/x.cc": "void F() { WaitWord(w, 1); }  // not sleep_for\n"}],
)(
    _forbid(
        r"\bsleep_for\b|\bsleep_until\b|\busleep\b|\bnanosleep\b",
        "{}: wait for what is awaited",
        lambda s: True,
    )
)


@rule(
    "memcpy",
    "words that recovery reads are never copied or filled as bytes",
    bad=[
        {"queue/src/x.cc": "void F() { memcpy(a, b, 8); }\n"},
        {"alloc/src/x.cc": "void F() { std::memset(a, 0, n); }\n"},
    ],
    good=[
        {
            "queue/src/x.cc": "void F() { std::memcpy(a, b, n); }  // payload\n",
            "comm/src/x.cc": "void F() { memcpy(a, b, n); }\n",
            "shm/src/x.cc": "void F() { memcpy(a, b, n); }  // local bytes\n",
        }
    ],
)
def memcpy(project):
    for source in project.product():
        if source.part == "comm":
            continue
        for match in re.finditer(r"\b(?:memcpy|memset|memmove|bzero)\b\s*\(", source.bare):
            first, last = _statement_lines(source, match.start())
            if not any(
                re.search(r"payload|local", source.lines[n - 1]) for n in range(first, last + 1)
            ):
                yield Problem(
                    source.path,
                    source.line_at(match.start()),
                    "bytes copied or filled; say on the line that they are payload or local",
                )
