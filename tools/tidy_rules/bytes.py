"""`Data` structs: bytes in shared memory, pinned down."""

import re

from tidy_rules.source import Problem, rule


def data_structs(project):
    """(source, name, scope) of every struct that lies in shared memory."""
    for source in project.product():
        for scope in source.scopes:
            if scope.kind == "type":
                match = re.search(
                    r"\b(?:struct|class|union)\b(?:\s+alignas\s*\([^()]*\))?(?:\s*\[\[\w+\]\])?\s+(\w+Data)\b",
                    scope.header,
                )
                if match:
                    yield source, match.group(1), scope


def pinned_size(source, name):
    """The size that a static_assert states, as text; None when there is none."""
    match = re.search(
        r"\bsizeof\s*\(\s*" + name + r"(?:\s*<[^()]*>)?\s*\)\s*==\s*([^;&|)]+)", source.code
    )
    return match.group(1).strip() if match else None


GOOD = (
    "struct alignas(64) CellData {\n  Word64 state;  // bool is for comments\n  uint32_t sizes[kA * kB];\n  LoanData loan;\n};\n"
    "static_assert(sizeof(CellData) == 64 && std::has_unique_object_representations_v<CellData>);\n"
)


@rule(
    "pins",
    "a Data struct states its size and that it has no padding",
    bad=[
        {
            "queue/include/thole/queue/x.h": "struct CellData {\n  uint64_t a;\n};\nstatic_assert(sizeof(CellData) == 8);\n"
        },
        {
            "queue/include/thole/queue/x.h": "template <class T>\nstruct CellData {\n  T a;\n};\nstatic_assert(std::has_unique_object_representations_v<CellData<int>>);\n"
        },
    ],
    good=[
        {"queue/include/thole/queue/x.h": GOOD},
        {"queue/tests/x.cc": "struct FakeData { int a; };\n"},
    ],
)
def pins(project):
    for source, name, scope in data_structs(project):
        line = source.line_at(scope.start)
        if pinned_size(source, name) is None:
            yield Problem(source.path, line, f"{name} has no static_assert on its sizeof")
        if not re.search(
            r"has_unique_object_representations_v<\s*(?:\w+::)*" + name + r"\b", source.code
        ):
            yield Problem(
                source.path,
                line,
                f"{name} has no static_assert on has_unique_object_representations_v",
            )


FORBIDDEN = [
    (r"\bbool\b", "bool"),
    (r"\bsize_t\b", "size_t"),
    (r"\bvirtual\b", "virtual"),
    (r"[\w>]\s*\*+\s*(?:const\s+)?\w+\s*(?:\[|=|;|\{)", "a pointer"),
    (r"[\w>]\s*&\s*\w+\s*;", "a reference"),
    (r"\bstd::(?!atomic\b|byte\b|array\b|u?int\d+_t\b)\w+", "a type of the standard library"),
    (
        r"\b(?:int|long|short|unsigned|wchar_t|time_t|pid_t|float|double|u?intptr_t|ptrdiff_t|ssize_t)\b",
        "a type whose width or bits may vary",
    ),
]


@rule(
    "field",
    "a Data struct is made of fixed-width integers and words only",
    bad=[
        {"queue/src/x.h": "struct XData {\n  " + field + "\n};\n"}
        for field in (
            "char* name;",
            "bool open;",
            "size_t n;",
            "virtual void F();",
            "int x;",
            "std::string s;",
            "Word64& w;",
        )
    ],
    good=[
        {"queue/include/thole/queue/x.h": GOOD},
        {
            "queue/src/x.h": "struct XData {\n  Word64 a;\n  uint64_t Size(bool b) const { int x = 1; return a; }\n  static constexpr int kN = 3;\n};\n"
        },
    ],
)
def fields(project):
    for source, name, scope in data_structs(project):
        body = source.bare[scope.start + 1 : scope.end]
        for inner in [s for s in source.scopes if s.parent is scope and s.kind != "type"]:
            # A function's header and body say nothing about the bytes.
            start, end = inner.head_start - scope.start - 1, inner.end - scope.start
            if inner.kind == "function" and "virtual" not in inner.header:
                body = body[:start] + re.sub(r"[^\n]", " ", body[start:end]) + body[end:]
        position = scope.start + 1
        for statement in re.split(r"(?<=[;{}])", body):
            plain = re.sub(r"\[[^\]]*\]", "[]", statement)
            is_field = "(" not in re.sub(r"alignas\s*\([^()]*\)", "", plain) and not re.match(
                r"\s*(?:static|using|friend|enum|struct|class|template)\b", plain
            )
            for pattern, what in FORBIDDEN:
                if (is_field or what == "virtual") and re.search(pattern, plain):
                    start = position + len(statement) - len(statement.lstrip())
                    yield Problem(source.path, source.line_at(start), f"{name} holds {what}")
                    break
            position += len(statement)


LISTED = re.compile(r"^//   ([A-Z]\d{1,2})\s+\S")
INVARIANTS = "// Bytes.\n// Invariants (audit cites the numbers)\n//   A1  one\n//       of two lines\n//   A2  two\n//\n"


def invariants(source):
    """{number: line} of the list that begins with `// Invariants` in a head comment."""
    found, inside = {}, False
    for number, line in enumerate(source.lines, 1):
        if line.startswith("// Invariants"):
            inside = True
        elif inside and not line.startswith("//  "):
            break
        elif inside and LISTED.match(line):
            found[LISTED.match(line).group(1)] = number
    return found


@rule(
    "invariant",
    "every numbered invariant is checked by an audit, every finding cites one",
    bad=[
        {
            "alloc/include/thole/alloc/heap_data.h": INVARIANTS,
            "alloc/src/audit.cc": 'void F() { findings.Add("A1", 0, "x"); }\n',
        },
        {
            "alloc/include/thole/alloc/heap_data.h": INVARIANTS,
            "alloc/src/audit.cc": 'auto a = {"A1", "A2"}; void F() { found.Add("A3", 0, "x"); }\n',
        },
    ],
    good=[
        {
            "alloc/include/thole/alloc/heap_data.h": INVARIANTS,
            "alloc/src/audit.cc": 'void F() { Add("A1", 0, "x");\n  Mismatch("A2"); }\n',
        }
    ],
)
def audited(project):
    listed, cited = {}, {}
    for source in project.product():
        for name, line in invariants(source).items():
            listed[name] = (source.path, line)
        for match in re.finditer(r'(\.Add\(\s*)?"([A-Z]\d{1,2})"', source.code):
            if source.path.endswith(".cc") or match.group(1):
                place = (source.path, source.line_at(match.start()), bool(match.group(1)))
                cited.setdefault(match.group(2), []).append(place)
    for name, (path, line) in listed.items():
        if name not in cited:
            yield Problem(path, line, f"no audit cites invariant {name}")
    for name, places in cited.items():
        for path, line, is_finding in places:
            if is_finding and name not in listed:
                yield Problem(path, line, f"invariant {name} stands in no list")
