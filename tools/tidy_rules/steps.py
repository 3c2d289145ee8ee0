"""Step tables and crash points name each other, and every table has one COMMIT."""

import re

from tidy_rules.source import Problem, rule

HEAD = re.compile(r"^\s*//\s+step\s{2,}\S")
ROW = re.compile(r"^\s*//\s+((?:[a-z][a-z0-9_]*\.)+\d+[a-z]?)\s{1,}(\S.*)$")
POINT = re.compile(r"\bTHOLE_CRASH_POINT\s*\(\s*([^)]*?)\s*\)")


def tables(source):
    """Rows {name: (line, text)} of all step tables of a file."""
    rows, inside, current = {}, False, None
    for number, line in enumerate(source.lines, 1):
        if HEAD.match(line):
            inside, current = True, None
            continue
        if not inside:
            continue
        row = ROW.match(line)
        if row:
            current = row.group(1)
            rows[current] = (number, row.group(2))
        elif re.match(r"^\s*//\s{5,}\S", line) and current:
            rows[current] = (rows[current][0], rows[current][1] + " " + line.strip("/ \t"))
        else:
            inside = False
    return rows


def points(source):
    """Crash points {name: line}; the name is None where it is no literal."""
    for match in POINT.finditer(source.code):
        line = source.line_at(match.start())
        if re.match(r"\s*#\s*define", source.lines[line - 1]):
            continue
        literal = re.fullmatch(r'"([^"]*)"', match.group(1))
        yield (literal.group(1) if literal else None), line


def _gather(project):
    rows, found = {}, {}
    for source in project.product():
        for name, (line, text) in tables(source).items():
            rows.setdefault(source.part, {}).setdefault(_full(source.part, name), []).append(
                (source.path, line, text)
            )
        for name, line in points(source):
            found.setdefault(source.part, []).append((name, source.path, line))
    return rows, found


def _full(part, name):
    """Tables may leave the component's name out."""
    return name if name.startswith(part + ".") else f"{part}.{name}"


TABLE = "// Edges\n//   step    dies after    log\n//   free.1  lock taken    empty\n//   free.2  COMMIT        empty\n//           more of it\n"


@rule(
    "step",
    "a step has a crash point, a crash point stands in a step table",
    bad=[
        {"alloc/src/x.cc": TABLE + 'void F() { THOLE_CRASH_POINT("alloc.free.1"); }\n'},
        {
            "alloc/src/x.cc": TABLE
            + 'void F() { THOLE_CRASH_POINT("alloc.free.1"); THOLE_CRASH_POINT("alloc.free.2"); THOLE_CRASH_POINT("alloc.free.3"); }\n'
        },
        {"alloc/src/x.cc": "void F(const char* n) { THOLE_CRASH_POINT(n); }\n"},
    ],
    good=[
        {
            "alloc/src/x.cc": TABLE
            + 'void F() { THOLE_CRASH_POINT("alloc.free.1"); THOLE_CRASH_POINT("free.2"); }\n'
        }
    ],
)
def steps(project):
    rows, found = _gather(project)
    for part in sorted(set(rows) | set(found)):
        names = {_full(part, name) for name, _, _ in found.get(part, []) if name is not None}
        for row, places in sorted(rows.get(part, {}).items()):
            if row not in names:
                yield Problem(*places[0][:2], f"step {row} has no THOLE_CRASH_POINT")
        for name, path, line in found.get(part, []):
            if name is None:
                yield Problem(path, line, "the name of a crash point must be a literal")
            elif _full(part, name) not in rows.get(part, {}):
                yield Problem(path, line, f"crash point {name} stands in no step table")


@rule(
    "commit",
    "the steps of one operation have one COMMIT, or none where each can be done again",
    bad=[
        {
            "alloc/src/x.cc": "//   step    dies after\n//   free.1  lock taken\n//   free.2  unlocked\n"
        },
        {
            "alloc/src/x.cc": "//   step    dies after\n//   free.1  COMMIT one\n//   free.2  COMMIT two\n"
        },
    ],
    good=[
        {"alloc/src/x.cc": TABLE},
        {
            "alloc/src/x.cc": "//   step      dies after  recovered by\n"
            "//   settle.1  linked      settled again\n//   settle.2  seen        the same\n"
        },
    ],
)
def commits(project):
    rows, _ = _gather(project)
    for part_rows in rows.values():
        groups = {}
        for row, places in part_rows.items():
            groups.setdefault(row.rsplit(".", 1)[0], []).append(
                (places[0], [text for _, _, text in places])
            )
        for group, members in sorted(groups.items()):
            texts = [" ".join(texts) for _, texts in members]
            count = sum("COMMIT" in text for text in texts)
            again = all(re.search(r"\bagain\b|\bthe same\b", text) for text in texts)
            if count > 1 or (count == 0 and not again):
                yield Problem(
                    *members[0][0][:2], f"the steps of {group} have {count} COMMITs, not one"
                )
