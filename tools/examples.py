#!/usr/bin/env python3
"""Compiles the examples that stand in comments and documents, so that they cannot go stale.

    tools/examples.py --headers shm/include -- g++ -std=c++20 -fsyntax-only -Ishm/include
    tools/examples.py --documents . -- ...

An example of a header is the indented block of its head comment that begins with an #include of the header itself. An
example of a document is a block fenced as cpp that begins with an #include.
"""

import os
import re
import subprocess
import sys
import tempfile


def header_example(text):
    """The example of a header as (line, source), or None."""
    lines, start = [], None
    for number, line in enumerate(text.split("\n"), 1):
        if start is None and re.match(r"//   #include <thole/", line):
            start = number
        if start is not None:
            inside = "\n".join(lines)
            open_braces = inside.count("{") - inside.count("}")
            if not re.match(r"//   ", line) and not (line == "//" and open_braces > 0):
                break
            lines.append(line[5:])
    return (start, "\n".join(lines)) if lines else None


def document_examples(text):
    """(line, source) of every block fenced as cpp that begins with an include."""
    for match in re.finditer(r"^```cpp\n(.*?)^```", text, re.M | re.S):
        if match.group(1).startswith("#include"):
            yield text.count("\n", 0, match.start(1)) + 1, match.group(1)


def gather(kind, root):
    if kind == "--headers":
        for folder, _, names in sorted(os.walk(root)):
            for name in sorted(names):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as file:
                    example = header_example(file.read())
                if example:
                    yield path, *example
    else:
        names = subprocess.run(
            [
                "git",
                "-C",
                root,
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
                "--",
                "*.md",
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\0")
        for name in filter(None, names):
            path = os.path.join(root, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    for line, source in document_examples(file.read()):
                        yield path, line, source


def combined(examples):
    """One source: every include first, then each example in a namespace of its own."""
    includes, bodies = [], []
    for number, (path, line, source) in enumerate(examples):
        lines = source.split("\n")
        includes += [text for text in lines if text.startswith("#include")]
        body = "\n".join("" if text.startswith("#include") else text for text in lines)
        bodies.append(f'namespace example_{number} {{\n#line {line} "{path}"\n{body}\n}}\n')
    return "#include <utility>\n" + "\n".join(dict.fromkeys(includes)) + "\n" + "".join(bodies)


def main():
    if len(sys.argv) < 5 or sys.argv[1] not in ("--headers", "--documents") or sys.argv[3] != "--":
        print(__doc__, file=sys.stderr)
        return 2
    examples = list(gather(sys.argv[1], sys.argv[2]))
    # The examples of a document may be whole programs; those of headers are compiled as one.
    groups = [examples] if sys.argv[1] == "--headers" else [[example] for example in examples]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for group in filter(None, groups):
            path = os.path.join(folder, "examples.cc")
            with open(path, "w", encoding="utf-8") as file:
                file.write(
                    combined(group)
                    if sys.argv[1] == "--headers"
                    else f'#line {group[0][1]} "{group[0][0]}"\n{group[0][2]}'
                )
            failed += subprocess.run(sys.argv[4:] + [path]).returncode != 0
    print(f"{len(examples)} examples, {failed} of {len(groups)} compilations failed")
    return 1 if failed or not examples else 0


if __name__ == "__main__":
    sys.exit(main())
