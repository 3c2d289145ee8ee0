"""Documents name only what exists."""

import fnmatch
import os
import re

from tidy_rules.bytes import data_structs, pinned_size
from tidy_rules.source import COMPONENTS, Problem, rule

FORMAT_PAGE = "docs/on_memory_format.md"
# Names of the system and of other libraries, which documents may mention.
FOREIGN = re.compile(
    r"(?:std|absl|testing|benchmark|rc)::|FUTEX_\w+|F_OFD_\w+|F_WRLCK|MADV_\w+|O_[A-Z]+|MAP_\w+|PROT_\w+|E[A-Z]{3,}$|SIG[A-Z]+$|CLOCK_\w+|"
    r"pthread_\w+|__tsan_\w+|membarrier|posix_fallocate|static_assert|has_unique_object_representations_v|start_time|AddressSanitizer|"
    r"ThreadSanitizer|CMAKE_\w+|NO_COLOR|RemoveIPC"
)


def _words(project):
    words, options = set(), set()
    for source in project.files.values():
        if not source.path.endswith(".md"):
            words.update(re.findall(r"[A-Za-z_]\w*", source.text))
            options.update(re.findall(r"--[a-z][a-z0-9-]*", source.text))
    return words, options


def _folders(project):
    folders = set()
    for path in project.files:
        while "/" in path:
            path = path.rsplit("/", 1)[0]
            folders.add(path)
    return folders


def _is_path(token):
    return bool(
        re.fullmatch(
            r"<?[\w.*-]+(?:/[\w.*-]+)+/?>?|[\w-]+\.(?:h|cc|py|md|cmake|txt|json|sh)", token
        )
    )


def _path_exists(project, folders, document, token):
    token = token.strip("<>").rstrip("/")
    if token.startswith(("build/", "http", "include/thole")):
        return True
    if token.startswith("thole/") and token.count("/") >= 2:
        token = f"{token.split('/')[1]}/include/{token}"
    here = os.path.normpath(os.path.join(os.path.dirname(document), token))
    for candidate in {token, here}:
        if (
            candidate in project.files
            or candidate in folders
            or fnmatch.filter(list(project.files) + sorted(folders), candidate)
        ):
            return True
    return any(path.endswith("/" + token) for path in project.files)


def _stale(project, folders, words, options, document, token):
    token = token.strip(".,;:()[]'\"")
    if _is_path(token):
        return not _path_exists(project, folders, document, token)
    if re.fullmatch(r"--[a-z][a-z0-9-]*(?:=.*)?", token):
        return token.split("=")[0] not in options
    if token.startswith("/") or FOREIGN.match(token):
        return False
    name = re.sub(r"\(.*$|<.*$", "", token)
    interesting = re.fullmatch(
        r"(?:\w+::)*(?:[A-Z]\w*[a-z]\w*[A-Z]\w*|k[A-Z]\w+|[A-Za-z]+_\w+|[A-Z][a-z]+\w*)|(?:\w+::)+\w+",
        name,
    )
    return bool(interesting) and any(part not in words for part in name.split("::"))


def _tokens(source):
    """(line, token) of everything in backticks, and of the project's own scripts in blocks of commands."""
    fenced = False
    for number, line in enumerate(source.lines, 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            for token in re.findall(r"(?<![\w/])(?:tools|docs)/[\w./-]+", line):
                yield number, token
        else:
            for quoted in re.findall(r"`([^`]+)`", line):
                for token in quoted.split():
                    yield number, token
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", line):
                if not target.startswith("http"):
                    yield number, "./" + target


CODE = {
    "alloc/include/thole/alloc/heap.h": "struct HeapData {};\nint kMost;\nvoid FreeFrom();\n",
    "tools/check": "--quick\n",
}


@rule(
    "stale",
    "a name in backticks exists",
    bad=[
        dict(CODE, **{"docs/x.md": text + "\n"})
        for text in (
            "`alloc/src/gone.cc`",
            "`GoneData`",
            "`kGone`",
            "`tools/gone`",
            "`tools/check --gone`",
            "`FreeTo()`",
            "`thole/alloc/gone.h`",
            "    tools/gone",
            "[page](gone.md)",
            "`thole::alloc::Gone`",
        )
    ],
    good=[
        dict(
            CODE,
            **{
                "docs/x.md": "`alloc/include/thole/alloc/heap.h` `<thole/alloc/heap.h>` `HeapData` `kMost` `FreeFrom(loan)` `tools/check --quick` "
                "`/dev/shm` `absl::Status` `heap.h` `std::string_view` `build/release` `a few words` [here](x.md)\n"
            },
        )
    ],
)
def stale_names(project):
    words, options = _words(project)
    folders = _folders(project)
    for source in project.files.values():
        if source.path.endswith(".md"):
            for number, token in _tokens(source):
                if token.startswith("./"):
                    target = os.path.normpath(os.path.join(os.path.dirname(source.path), token))
                    stale = target not in project.files and target not in folders
                else:
                    stale = _stale(project, folders, words, options, source.path, token)
                if stale:
                    yield Problem(source.path, number, f"'{token}' exists nowhere")


@rule(
    "format-page",
    f"{FORMAT_PAGE} names every Data struct, with its size where that is a number",
    bad=[
        {
            "shm/include/thole/shm/x_data.h": "struct CellData {\n};\nstatic_assert(sizeof(CellData) == 64);\n",
            FORMAT_PAGE: "nothing\n",
        },
        {
            "shm/include/thole/shm/x_data.h": "struct CellData {\n};\nstatic_assert(sizeof(CellData) == 64);\n",
            FORMAT_PAGE: "`CellData` (32 bytes)\n",
        },
    ],
    good=[
        {
            "shm/include/thole/shm/x_data.h": "struct CellData {\n};\nstatic_assert(sizeof(CellData) == 64);\n",
            FORMAT_PAGE: "`CellData` (64 bytes)\n",
        }
    ],
)
def format_page(project):
    page = project.files.get(FORMAT_PAGE)
    if page is None:
        if any(True for _ in data_structs(project)):
            yield Problem(FORMAT_PAGE, 1, "the page is missing")
        return
    text = " ".join(page.text.split())
    seen = set()
    for source, name, scope in data_structs(project):
        line = source.line_at(scope.start)
        if name in seen or "/include/" not in source.path:
            continue
        seen.add(name)
        if f"`{name}`" not in text and f"`{name}<" not in text:
            yield Problem(source.path, line, f"{FORMAT_PAGE} does not mention {name}")
            continue
        size = pinned_size(source, name)
        stated = re.search(r"`" + name + r"(?:<[^`]*>)?` \((\d[\d,]*) bytes", text)
        if size and size.isdigit() and (stated is None or stated.group(1).replace(",", "") != size):
            yield Problem(source.path, line, f"{FORMAT_PAGE} must say `{name}` ({size} bytes)")


@rule(
    "readme",
    "every component has a README and a CMakeLists.txt",
    bad=[{"queue/src/x.cc": ""}],
    good=[{"queue/src/x.cc": "", "queue/README.md": "", "queue/CMakeLists.txt": ""}],
)
def readmes(project):
    for part in sorted({f.part for f in project.product()} & set(COMPONENTS)):
        for name in ("README.md", "CMakeLists.txt"):
            if f"{part}/{name}" not in project.files:
                yield Problem(f"{part}/{name}", 1, "is missing")
