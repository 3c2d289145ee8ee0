"""What the rules look at: the files of the project, with comments and code told apart."""

import bisect
import os
import re
import subprocess

COMPONENTS = {  # what each may include besides itself
    "shm": set(),
    "alloc": {"shm"},
    "registry": {"shm"},
    "queue": {"shm"},
    "comm": {"shm", "alloc", "registry", "queue"},
}
PROGRAMS = {"cli", "bindings", "examples", "bench", "fuzz", "proptests"}


class Problem:
    def __init__(self, path, line, text):
        self.path, self.line, self.text = path, line, text

    def __str__(self):
        return f"{self.path}:{self.line}: {self.text}"


class Source:
    """One file. `code` has comments blanked, `bare` also the insides of strings; both keep every position of `text`."""

    def __init__(self, path, text):
        self.path, self.text = path, text
        self.lines = text.split("\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        if self.is_cpp:
            self.code, self.bare = _split(text)
            self.code_lines = self.code.split("\n")
            self.bare_lines = self.bare.split("\n")
            self.comments = [
                line[len(code.rstrip()) :].strip() if code.rstrip() != line.rstrip() else ""
                for line, code in zip(self.lines, self.code_lines)
            ]
            self._scopes = None

    @property
    def is_cpp(self):
        return self.path.endswith((".h", ".cc"))

    @property
    def part(self):
        return self.path.split("/")[0]

    @property
    def is_proof(self):
        folders = self.path.split("/")
        return (
            folders[0] in ("fuzz", "proptests", "bench")
            or "tests" in folders
            or "testing" in folders
        )

    @property
    def is_product(self):
        """Source of a component that is shipped."""
        return self.is_cpp and self.part in COMPONENTS and not self.is_proof

    @property
    def is_public_header(self):
        return self.is_product and "/include/" in self.path and self.path.endswith(".h")

    def line_at(self, position):
        return bisect.bisect_right(self.starts, position)

    @property
    def scopes(self):
        if self._scopes is None:
            self._scopes = _scopes(self)
        return self._scopes

    def exemption(self, rule, first, last=None):
        """Whether lines first..last (1-based) carry `// tidy: rule: reason`."""
        for number in range(first, (last or first) + 1):
            match = re.search(r"(?://|#) tidy: ([\w-]+): (.+)$", self.lines[number - 1])
            if match and match.group(1) == rule and len(match.group(2).split()) >= 3:
                return True
        return False


class Scope:
    """A pair of braces: kind is namespace, type, function, block or init; `statements` only in namespaces."""

    def __init__(self, kind, header, head_start, start, parent):
        self.kind, self.header, self.head_start, self.start = kind, header, head_start, start
        self.parent, self.end = parent, None


class Project:
    def __init__(self, files):
        self.files = {path: Source(path, text) for path, text in sorted(files.items())}

    def cpp(self):
        return [f for f in self.files.values() if f.is_cpp]

    def product(self):
        return [f for f in self.files.values() if f.is_product]

    @staticmethod
    def of_tree(top):
        """Every file that git tracks or would track."""
        names = (
            subprocess.run(
                ["git", "-C", top, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                check=True,
                capture_output=True,
            )
            .stdout.decode()
            .split("\0")
        )
        files = {}
        for name in filter(None, names):
            path = os.path.join(top, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    data = file.read()
                files[name] = data.decode("utf-8", "replace") if b"\0" not in data[:8000] else ""
        return Project(files)


TOKEN = re.compile(
    r'//[^\n]*(?:\\\n[^\n]*)*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'
    r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'",
    re.S,
)


def _blank(text):
    return re.sub(r"[^\n]", " ", text)


def _split(text):
    def without_comment(match):
        token = match.group(0)
        return _blank(token) if token.startswith(("//", "/*")) else token

    def without_either(match):
        token = match.group(0)
        if token.startswith(("//", "/*")) or len(token) < 3:
            return _blank(token) if token.startswith("/") else token
        return token[0] + _blank(token[1:-1]) + token[-1]

    return TOKEN.sub(without_comment, text), TOKEN.sub(without_either, text)


TYPE = re.compile(
    r"^\s*(?:template\s*<.*?>\s*)?(?:requires\b.*?)?(?:typedef\s+)?(?:class|struct|union|enum)\b",
    re.S,
)
FUNCTION_TAIL = re.compile(
    r"\)\s*(?:const|noexcept(?:\s*\([^{}]*\))?|override|final|mutable|try|&&?|->[^{};]*|:[^{};]*|requires[^{};]*|\[\[\w+\]\]|\s)*$",
    re.S,
)


def _kind(header, parent):
    if re.search(r"\bnamespace\b[\w:\s]*$", header) or re.match(r'\s*extern\s*"', header):
        return "namespace"
    if TYPE.match(header) and not FUNCTION_TAIL.search(re.sub(r"alignas\s*\([^()]*\)", "", header)):
        return "type"
    if parent in ("function", "block"):
        return "block"
    if FUNCTION_TAIL.search(header) or (not header.strip() and parent == "type"):
        return "function"
    return "init"


def _scopes(source):
    """All scopes of a file in order of their opening brace, and the statements that stand in namespaces."""
    text = re.sub(
        r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: _blank(m.group(0)), source.bare, flags=re.M
    )
    scopes, stack, since, statements = [], [], 0, []
    for match in re.finditer(r"[{};]", text):
        position, character = match.start(), match.group(0)
        parent = stack[-1].kind if stack else "namespace"
        header = text[since:position]
        if character == "{":
            head_start = since + len(header) - len(header.lstrip())
            kind = _kind(header, parent)
            if kind == "init" and parent == "namespace":
                statements.append((head_start, header))
            scope = Scope(kind, header.strip(), head_start, position, stack[-1] if stack else None)
            scopes.append(scope)
            stack.append(scope)
        elif character == "}":
            if stack:
                stack.pop().end = position
        elif parent == "namespace":
            statements.append((since + len(header) - len(header.lstrip()), header))
        since = position + 1
    for scope in scopes:
        if scope.end is None:
            scope.end = len(text) - 1
    source.statements = statements
    return scopes


RULES = {}


class Rule:
    def __init__(self, name, text, check, bad, good):
        self.name, self.text, self.check, self.bad, self.good = name, text, check, bad, good


def rule(name, text, bad, good):
    """Registers a rule: a function from a project to problems, with projects it must and must not complain about."""

    def register(check):
        assert name not in RULES, name
        RULES[name] = Rule(name, text, check, bad, good)
        return check

    return register
