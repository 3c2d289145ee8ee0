#!/usr/bin/env python3
"""How large the house is and who includes whom.

    tools/house.py                  lines per component, the longest file and function, the picture
    tools/house.py --check-readme   the arrows are those of the design, and README.md names every component
    tools/house.py --json           the same numbers as one JSON object

Product is what is installed (include and src); proof is tests, testing, fuzz, proptests and bench. Lines are lines with
code on them: no blank ones, no comments.
"""

import argparse
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tidy_rules.orders import INCLUDE  # noqa: E402
from tidy_rules.shape import functions  # noqa: E402
from tidy_rules.source import COMPONENTS, Project  # noqa: E402

FOLDERS = list(COMPONENTS) + ["cli", "examples", "fuzz", "proptests", "bench"]


def code_lines(source):
    return sum(1 for line in source.code_lines if line.strip())


def measure(project):
    parts = {}
    for source in project.cpp():
        part = parts.setdefault(
            source.part, {"product": 0, "proof": 0, "files": 0, "includes": set()}
        )
        part["proof" if source.is_proof else "product"] += code_lines(source)
        part["files"] += 1
        if not source.is_proof:
            for match in INCLUDE.finditer(source.code):
                folders = match.group(1).split("/")
                if folders[0] == "thole" and len(folders) > 2 and folders[1] != source.part:
                    part["includes"].add(folders[1])
    return parts


def longest(project):
    """(lines, path) of the longest file and (lines, name, path) of the longest function, product and proof alike."""
    files = [(source.text.count("\n"), source.path) for source in project.cpp()]
    bodies = [
        (lines, name, f"{source.path}:{first}")
        for source in project.cpp()
        for first, lines, name in functions(source)
    ]
    return max(files, default=(0, "-")), max(bodies, default=(0, "-", "-"))


def picture(parts):
    """One line for each component, from the top of the house down: who it includes."""
    order = [name for name in reversed(FOLDERS) if name in parts]
    lines = []
    for name in order:
        includes = [other for other in FOLDERS if other in parts[name]["includes"]]
        if includes or name in COMPONENTS:
            lines.append(f"  {name:<10} -> {', '.join(includes) if includes else '(nobody)'}")
    return "\n".join(lines)


def problems(parts, project):
    for name, allowed in COMPONENTS.items():
        for other in sorted(parts.get(name, {}).get("includes", set()) - allowed):
            yield f"{name} includes {other}, which it must not know"
    readme = project.files.get("README.md")
    for name in COMPONENTS:
        if readme is None or not re.search(rf"^\| *\[?`{name}`", readme.text, re.M):
            yield f"README.md has no line for {name} in its table of components"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check-readme", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    project = Project.of_tree(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parts = measure(project)
    (file_lines, file_path), (function_lines, function_name, function_path) = longest(project)

    if arguments.check_readme:
        found = list(problems(parts, project))
        print("\n".join(found) or "arrows and README agree with the sources")
        return 1 if found else 0
    names = [name for name in FOLDERS if name in parts]
    product, proof = (sum(parts[name][kind] for name in names) for kind in ("product", "proof"))
    if arguments.json:
        print(
            json.dumps(
                {
                    "components": {
                        name: {**parts[name], "includes": sorted(parts[name]["includes"])}
                        for name in names
                    },
                    "product": product,
                    "proof": proof,
                    "longest_file": {"lines": file_lines, "path": file_path},
                    "longest_function": {
                        "lines": function_lines,
                        "name": function_name,
                        "path": function_path,
                    },
                }
            )
        )
        return 0
    print(f"{'':10} {'product':>8} {'proof':>8} {'files':>6}")
    for name in names:
        print(
            f"{name:10} {parts[name]['product']:8} {parts[name]['proof']:8} {parts[name]['files']:6}"
        )
    print(f"{'all':10} {product:8} {proof:8} {sum(parts[name]['files'] for name in names):6}")
    print(f"\nlongest file      {file_lines} lines  {file_path}")
    print(f"longest function  {function_lines} lines  {function_name}  {function_path}")
    print(f"\nwho includes whom (product)\n{picture(parts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
