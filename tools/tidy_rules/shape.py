"""The shape of files: globals, examples, length, files nobody builds."""

import fnmatch
import os
import re

from tidy_rules.source import COMPONENTS, Problem, rule

LINES_OF_A_FILE = 500
LINES_OF_A_FUNCTION = 70

NOT_A_VARIABLE = re.compile(
    r"^(?:using|typedef|template|static_assert|friend|extern|class|struct|enum|union|namespace|public|private|protected|return|asm|if|else|for|while|do|case|default)\b"
)


@rule(
    "global",
    "no variable of a namespace, no static of a function",
    bad=[
        {"shm/src/x.cc": "namespace a {\nint counter = 0;\n}\n"},
        {"shm/src/x.cc": "static std::atomic<int> n{0};\n"},
        {"shm/src/x.cc": "void F() {\n  static int calls = 0;\n}\n"},
        {"shm/src/x.cc": "Foo& Instance() {\n  static Foo* const instance = new Foo;\n}\n"},
        {"shm/src/x.cc": "thread_local int x;\n"},
        {"shm/include/thole/shm/x.h": "inline Hook hook = nullptr;\n"},
    ],
    good=[
        {
            "shm/src/x.cc": "namespace a {\nconstexpr int kA = 1;\nconst Foo kB{1};\nint F(int x = 0);\nusing T = int;\nstruct S;\nenum class E : int { kA, kB };\n"
            "struct T2 {\n  static int Count();\n  int x = 0;\n};\nvoid G() {\n  static constexpr int kN = 2;\n  static_assert(kN == 2);\n}\n}\n"
            "#define MACRO(x) \\\n  int x = 0;\n"
        },
        {"shm/tests/x.cc": "int counter = 0;\n"},
    ],
)
def globals_(project):
    for source in project.cpp():
        if source.is_proof or source.part not in COMPONENTS:
            continue
        scopes = source.scopes
        for position, statement in source.statements:
            text = re.sub(r"\[\[[^\]]*\]\]|\balignas\s*\([^()]*\)", "", statement).strip()
            declared = text.split("=")[0]
            if (
                NOT_A_VARIABLE.match(text)
                or "(" in declared
                or re.search(r"\bconst(?:expr|eval)?\b", declared)
                or len(re.findall(r"[A-Za-z_]\w*", re.sub(r"<.*>", "", declared))) < 2
            ):
                continue
            yield Problem(
                source.path, source.line_at(position), f"a global variable: {declared.strip()}"
            )
        bodies = [(s.start, s.end) for s in scopes if s.kind == "function"]
        for match in re.finditer(
            r"\bstatic\s+(?!const\s+[\w:<>, ]+\s\w+\s*(?:=|;|\{)|constexpr\b|inline\b)"
            r"(?=[\w:<>, *&]+[\s*&]\w+\s*(?:=|;|\{|\())|\bthread_local\b",
            source.bare,
        ):
            if match.group(0) == "thread_local" or any(a < match.start() < b for a, b in bodies):
                yield Problem(
                    source.path,
                    source.line_at(match.start()),
                    f"{match.group(0).strip()} variable: a hidden global",
                )


def head_comment(source):
    """The comment lines at the top of a file, without the slashes."""
    lines = []
    for line in source.lines:
        if not line.startswith("//"):
            break
        lines.append(line[2:])
    return lines


@rule(
    "example",
    "a public header begins with what it is for and an example, a bytes header with a picture",
    bad=[
        {"shm/include/thole/shm/x.h": "// Something.\n#pragma once\n"},
        {"shm/include/thole/shm/x_data.h": "// Bytes.\n#pragma once\n"},
        {
            "shm/include/thole/shm/x.h": "// Another component's example.\n//   #include <thole/alloc/y.h>\n//   int F();\n#pragma once\n"
        },
    ],
    good=[
        {
            "shm/include/thole/shm/x.h": "// Something.\n//\n//   #include <thole/shm/x.h>\n//   int F();\n#pragma once\n",
            "shm/include/thole/shm/x_data.h": "// Bytes.\n//  +-----+\n#pragma once\n",
            "shm/src/x.h": "#pragma once\n",
        }
    ],
)
def examples(project):
    for source in project.product():
        if not source.is_public_header:
            continue
        head = "\n".join(head_comment(source))
        include = f"#include <thole/{source.part}/"
        if source.path.endswith("_data.h"):
            if "+--" not in head:
                yield Problem(source.path, 1, "no picture of the bytes in the head comment")
        elif include not in head:
            yield Problem(source.path, 1, f"no example with {include}...> in the head comment")


@rule(
    "long-file",
    f"a file has at most {LINES_OF_A_FILE} lines",
    bad=[{"shm/src/x.cc": "int x;\n" * (LINES_OF_A_FILE + 1)}],
    good=[{"shm/src/x.cc": "int x;\n" * LINES_OF_A_FILE}],
)
def long_files(project):
    for source in project.cpp():
        lines = source.text.count("\n")
        if lines > LINES_OF_A_FILE:
            yield Problem(source.path, 1, f"{lines} lines; is there a second file inside?")


@rule(
    "width",
    "a line has at most 100 columns; clang-format leaves comments, which may be drawings, alone",
    bad=[{"shm/src/x.cc": "// " + "x" * 98 + "\n"}],
    good=[{"shm/src/x.cc": "// " + "x" * 97 + "\n"}],
)
def widths(project):
    for source in project.cpp():
        for number, line in enumerate(source.lines, 1):
            if len(line) > 100:
                yield Problem(source.path, number, f"{len(line)} columns")


def functions(source):
    """(first line, lines, name) of every function body."""
    for scope in source.scopes:
        if scope.kind == "function":
            first, last = source.line_at(scope.head_start), source.line_at(scope.end)
            names = re.findall(r"([~\w]+)\s*\(", scope.header)
            yield first, last - first + 1, names[0] if names else "?"


LONG_BODY = "  G();\n" * LINES_OF_A_FUNCTION


@rule(
    "long-function",
    f"a function has at most {LINES_OF_A_FUNCTION} lines",
    bad=[
        {"shm/src/x.cc": "namespace a {\nvoid F(int x) const noexcept {\n" + LONG_BODY + "}\n}\n"}
    ],
    good=[
        {
            "shm/src/x.cc": "namespace a {\nvoid F() {\n"
            + LONG_BODY[:-14]
            + "}\nclass C {\n"
            + "  int x() { return 1; }\n" * 90
            + "};\n}\n"
        }
    ],
)
def long_functions(project):
    for source in project.cpp():
        for first, lines, name in functions(source):
            if lines > LINES_OF_A_FUNCTION:
                yield Problem(
                    source.path,
                    first,
                    f"{name} has {lines} lines; look for the second function inside",
                )


def _listed(project, path):
    """Whether a CMakeLists.txt above the file, or a script of cmake or tools, names it."""
    folder = os.path.dirname(path)
    while True:
        lists = project.files.get((folder + "/" if folder else "") + "CMakeLists.txt")
        relative = os.path.relpath(path, folder or ".")
        if lists:
            for word in re.findall(r"[^\s();\"]+", re.sub(r"#.*", "", lists.text)):
                word = re.sub(r"^\$\{CMAKE_CURRENT_(?:SOURCE|LIST)_DIR\}/", "", word)
                if "${name}" in word:  # in a function: who calls it gives the name
                    pattern = re.escape(word).replace(r"\$\{name\}", r"(\w+)")
                    given = re.fullmatch(pattern, relative)
                    if given and re.search(rf"\(\s*{given.group(1)}\b", lists.text):
                        return True
                if fnmatch.fnmatchcase(relative, word) or word == os.path.splitext(relative)[0]:
                    return True
        if not folder:
            return False
        folder = os.path.dirname(folder)


@rule(
    "dead-file",
    "every source is built, every private header included",
    bad=[
        {"shm/src/x.cc": "", "shm/CMakeLists.txt": "thole_component(shm SOURCES src/y.cc)\n"},
        {"shm/include/thole/shm/x.h": "", "shm/CMakeLists.txt": "# include/thole/shm/x.h\n"},
        {"shm/src/x.h": "", "shm/src/y.h": '#include "z.h"\n'},
        {
            "fuzz/b_fuzzer.cc": "",
            "fuzz/CMakeLists.txt": "function(f name)\n  a(${name}_fuzzer.cc)\nendfunction()\nf(c)\n",
        },
    ],
    good=[
        {
            "shm/src/x.cc": '#include "x.h"\n',
            "shm/src/x.h": "",
            "shm/tests/a_test.cc": "",
            "fuzz/b_fuzzer.cc": "",
            "fuzz/CMakeLists.txt": "function(f name)\n  a(${name}_fuzzer.cc)\nendfunction()\nf(b)\n",
            "shm/CMakeLists.txt": "thole_component(shm SOURCES src/x.cc)\nfile(GLOB sources tests/*_test.cc)\n",
        }
    ],
)
def dead_files(project):
    included = {
        os.path.basename(m)
        for f in project.cpp()
        for m in re.findall(r'#\s*include\s*[<"]([^>"]+)', f.code)
    }
    for source in project.cpp():
        if source.path.endswith(".cc") or source.is_public_header:
            if not _listed(project, source.path) and not source.path.startswith("tools/"):
                yield Problem(source.path, 1, "no CMakeLists.txt names this file")
        elif os.path.basename(source.path) not in included:
            yield Problem(source.path, 1, "nothing includes this header")


@rule(
    "todo",
    "a note about unfinished work names its issue",
    bad=[{"shm/src/x.cc": "// TO" + "DO: more\n"}],
    good=[{"shm/src/x.cc": "// TO" + "DO(issue 7): more\n"}],
)
def todos(project):
    for source in project.files.values():
        for number, line in enumerate(source.lines, 1):
            if re.search(
                r"\b(?:TODO|FIXME|XXX|HACK)\b(?!\s*\(issue \d+\))", line
            ) and not source.path.startswith("tools/tidy"):
                yield Problem(
                    source.path, number, "unfinished work without the issue that will finish it"
                )


@rule(
    "machine-path",
    "no path of one machine",
    bad=[{"docs/x.md": "see /" + "root/x\n"}],
    good=[{"docs/x.md": "see /usr/include and https://x.org/work/y\n"}],
)
def machine_paths(project):
    for source in project.files.values():
        for number, line in enumerate(source.lines, 1):
            if re.search(r"(?:^|[^A-Za-z0-9_.}])/(?:work|root|home|farm)/", line):
                yield Problem(source.path, number, "a path that no user has")
