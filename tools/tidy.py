#!/usr/bin/env python3
"""The rules of the house that a machine can check.

    tools/tidy.py                  checks the tree; exit status 1 when a rule is broken
    tools/tidy.py alloc docs       only what it finds in these folders or files
    tools/tidy.py --only step      one rule
    tools/tidy.py --self-test      every rule must complain about its bad examples and not about its good ones
    tools/tidy.py --list           the rules
    tools/tidy.py --exemptions     where a rule is set aside, and why

A rule is set aside where it is broken, with a reason of at least three words:  // tidy: RULE: REASON
For a whole file this stands in its head comment.
"""

import argparse
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tidy_rules  # noqa: E402,F401
from tidy_rules.source import RULES, Problem, Project  # noqa: E402

EXEMPTION = re.compile(r"(?://|#) tidy: ([\w-]+): (.*)$")
WHOLE_FILE = ("long-file", "example", "dead-file")


def exemptions(project):
    """(path, line, rule, reason) of every comment that sets a rule aside."""
    for source in project.files.values():
        if source.path.endswith((".h", ".cc")):
            for number, line in enumerate(source.lines, 1):
                match = EXEMPTION.search(line)
                if match:
                    yield source.path, number, match.group(1), match.group(2)


def broken(project, rules):
    """Problems that no exemption covers, and exemptions that cover nothing."""
    listed = {}
    for path, line, name, reason in exemptions(project):
        if name not in RULES:
            yield name, Problem(path, line, f"there is no rule '{name}'")
        elif len(reason.split()) < 3:
            yield name, Problem(path, line, f"rule '{name}' is set aside without a reason")
        else:
            listed[(path, line, name)] = False
    for rule in rules:
        for problem in rule.check(project):
            covered = False
            for path, line, name in listed:
                near = line in (problem.line, problem.line - 1) or rule.name in WHOLE_FILE
                if path == problem.path and name == rule.name and near:
                    listed[(path, line, name)] = covered = True
            if not covered:
                yield rule.name, problem
    for (path, line, name), used in listed.items():
        if not used and RULES[name] in rules:
            yield name, Problem(
                path, line, f"rule '{name}' is set aside, but nothing breaks it here"
            )


def self_test(rules):
    failures = 0
    for rule in rules:
        if not rule.bad or not rule.good:
            print(f"{rule.name}: has no examples to be tested with")
            failures += 1
        for number, files in enumerate(rule.bad):
            if not list(rule.check(Project(files))):
                print(f"{rule.name}: does not complain about bad example {number}: {files}")
                failures += 1
        for number, files in enumerate(rule.good):
            for problem in rule.check(Project(files)):
                print(f"{rule.name}: complains about good example {number}: {problem}")
                failures += 1
    example = {
        "shm/src/x.cc": "void F() {\n  usleep(1);  // tidy: sleep: the kernel cannot say when\n  G();  // tidy: sleep: nothing sleeps here\n}\n"
    }
    found = [str(p) for _, p in broken(Project(example), [RULES["sleep"]])]
    if len(found) != 1 or ":3:" not in found[0]:
        print(f"exemptions: expected only the idle one in line 3, found {found}")
        failures += 1
    print(
        f"{len(rules)} rules, {sum(len(r.bad) for r in rules)} bad and {sum(len(r.good) for r in rules)} good examples, {failures} failures"
    )
    return failures


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--only", choices=sorted(RULES), action="append")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--exemptions", action="store_true")
    arguments = parser.parse_args()
    rules = [RULES[name] for name in arguments.only or RULES]

    if arguments.list:
        for rule in rules:
            print(f"{rule.name:14} {rule.text}")
        return 0
    if arguments.self_test:
        return 1 if self_test(rules) else 0
    project = Project.of_tree(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if arguments.exemptions:
        for path, line, name, reason in exemptions(project):
            print(f"{path}:{line}: {name}: {reason}")
        return 0
    problems = sorted(broken(project, rules), key=lambda p: (p[1].path, p[1].line))
    if arguments.paths:
        wanted = tuple(path.rstrip("/") for path in arguments.paths)
        problems = [
            p
            for p in problems
            if p[1].path in wanted or p[1].path.startswith(tuple(f"{w}/" for w in wanted))
        ]
    for name, problem in problems:
        print(f"{problem} [{name}]")
    print(f"{len(project.cpp())} C++ files, {len(rules)} rules, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
