"""Finds statements, calls and conditions in C++ text, as far as operators on lines of thole need it.

Not a parser: it knows comments, literals, brackets and blocks. What it does not understand it leaves out, and what it
misunderstands does not compile.
"""

import re
from dataclasses import dataclass

CONTROL = re.compile(r"\s*(?:else\b|(?:if|for|while|switch)\s*(?:constexpr\s*)?(?=\())")
LABEL = re.compile(r"\s*(?:case\b[^;{}?]*?[^:]:(?!:)|default\s*:|\[\[\w+\]\]|public:|private:)")
CALLED = re.compile(r"([A-Za-z_]\w*)\s*$")
CLOSING = {"(": ")", "[": "]", "{": "}"}


def mask(text):
    """The text with comments, literals and preprocessor lines blanked out: offsets stay."""

    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())

    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.|[^\'\\\n])+\'|^[ \t]*#(?:\\\n|[^\n])*'
    return re.sub(pattern, blank, text, flags=re.S | re.M)


def closing(masked, opening):
    """Where the bracket at `opening` is closed; -1 if it is not."""
    stack = []
    for at in range(opening, len(masked)):
        if masked[at] in CLOSING:
            stack.append(CLOSING[masked[at]])
        elif stack and masked[at] == stack[-1]:
            stack.pop()
            if not stack:
                return at
    return -1


def split(masked, start, end, separator):
    """The spans between separators that stand in no bracket."""
    spans, at, begin = [], start, start
    while at < end:
        if masked[at] in CLOSING:
            at = closing(masked, at)
            if at < 0 or at >= end:
                break
        elif masked[at] == separator:
            spans.append((begin, at))
            begin = at + 1
        at += 1
    return spans + [(begin, end)]


@dataclass(frozen=True)
class Statement:
    """text[begin:end] with its semicolon; `core` is where it begins behind if (...), else and labels."""

    begin: int
    core: int
    end: int
    block: int  # where its block opens


def core_of(masked, begin, end):
    at = begin
    while True:
        if label := LABEL.match(masked, at, end):
            at = label.end()
        elif control := CONTROL.match(masked, at, end):
            at = control.end()
            if masked[at] == "(" and not control.group().strip().startswith("else"):
                at = closing(masked, at) + 1
                if at == 0:
                    return end
        else:
            return at + len(masked[at:end]) - len(masked[at:end].lstrip())


def statements(masked):
    """Every statement that ends with a semicolon, inner ones of blocks and lambdas included."""
    found = []
    stack = []  # (bracket, where the statement around it began)
    begin = 0
    for at, char in enumerate(masked):
        if char in "([":
            stack.append((char, begin, at))
        elif char in ")]" and stack:
            stack.pop()
        elif char == "{":
            stack.append((char, begin, at))
            begin = at + 1
        elif char == "}" and stack:
            _, outer, _ = stack.pop()
            rest = masked[at + 1 : at + 200].lstrip()
            begin = outer if rest[:1] in tuple(";,.)") else at + 1
        elif char == ";" and (not stack or stack[-1][0] == "{"):
            first = begin + len(masked[begin:at]) - len(masked[begin:at].lstrip())
            block = stack[-1][2] if stack else -1
            found.append(Statement(first, core_of(masked, first, at), at + 1, block))
            begin = at + 1
    return sorted(found, key=lambda statement: statement.begin)


@dataclass(frozen=True)
class CallStatement:
    """A statement that is a call and nothing else: text[core:opening] names what is called."""

    statement: Statement
    name: str
    opening: int
    closing: int


def call_of(masked, statement):
    """The call that the statement consists of, or None: a declaration, a return, an assignment."""
    end = statement.end - 1
    while end > statement.core and masked[end - 1].isspace():
        end -= 1
    if masked[end - 1 : end] != ")":
        return None
    at = statement.core
    while at < end:  # the last bracket that is opened outside of all others
        if masked[at] in CLOSING:
            close = closing(masked, at)
            if close == end - 1:
                break
            if close < 0 or close >= end:
                return None
            at = close
        elif not re.match(r"[\w:.>\-*&\s]", masked[at]):
            return None
        at += 1
    head = masked[statement.core : at]
    name = CALLED.search(head)
    outside = re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)|\[[^\]]*\]", "()", head)
    if name is None or re.search(r"[\w)\]*&]\s+[\w*&]", outside.strip()):
        return None
    return CallStatement(statement, name.group(1), at, end - 1)


@dataclass(frozen=True)
class Condition:
    """The condition of an `if` is text[begin:end]; what it controls begins at `then`."""

    begin: int
    end: int
    then: int
    declares: bool


def conditions(masked):
    found = []
    for match in re.finditer(r"\bif\s*\(", masked):
        opening = match.end() - 1
        close = closing(masked, opening)
        if close < 0:
            continue
        begin, end = split(masked, opening + 1, close, ";")[-1]
        declares = (
            re.match(r"\s*(?:const\s+)?[\w:]+[\s*&]+\w+\s*=[^=]", masked[begin:end]) is not None
        )
        begin += len(masked[begin:end]) - len(masked[begin:end].lstrip())
        found.append(Condition(begin, end, close + 1, declares))
    return found
