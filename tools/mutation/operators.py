"""The ways in which a source is made wrong, one place at a time.

Each operator is a function from a text to edits: (begin, end, what stands there instead). They are mechanical on
purpose: nobody chose them because a check exists.
"""

import re
from dataclasses import dataclass

from mutation.statements import call_of, closing, conditions, mask, split, statements

STORES = {
    "store",
    "exchange",
    "fetch_add",
    "fetch_sub",
    "fetch_or",
    "fetch_and",
    "compare_exchange_strong",
    "compare_exchange_weak",
}
ORDER = re.compile(r"std::memory_order_(seq_cst|acq_rel|acquire|release)\b")
LOCAL = "process-local"  # the comment of an atomic that is no shared byte


@dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    operator: str
    text: str  # what stands there, in one line
    instead: str
    begin: int
    end: int
    replacement: str

    @property
    def id(self):
        return f"{self.file}:{self.line}:{self.operator}"

    @property
    def group(self):
        return "order" if self.operator == "order" else "steps"


def is_local(text, begin, end):
    """Whether the comment on these lines says that only this process sees the word."""
    stop = text.find("\n", end)
    return LOCAL in text[begin : stop if stop >= 0 else len(text)]


def calls(text, masked):
    for statement in statements(masked):
        call = call_of(masked, statement)
        if call is not None and not is_local(text, statement.core, statement.end):
            yield call


def dropped(text, call):
    """The statement is still compiled, so that nothing it uses becomes unused, but never runs."""
    core, end = call.statement.core, call.statement.end
    return core, end, "while (false) " + text[core:end]


def drop_store(text, masked, _file):
    return [dropped(text, call) for call in calls(text, masked) if call.name in STORES]


def drop_set(text, masked, _file):
    return [dropped(text, call) for call in calls(text, masked) if call.name == "Set"]


def drop_call(text, masked, _file):
    """Calls for their effect alone: of our own functions, which have names in capitals."""
    return [
        dropped(text, call)
        for call in calls(text, masked)
        if call.name[0].isupper() and call.name != "Set" and not call.name.startswith("THOLE_")
    ]


def unlogged(text, masked, _file):
    """A logged store becomes a bare one: after a death nobody takes it back."""
    found = []
    for call in calls(text, masked):
        arguments = split(masked, call.opening + 1, call.closing, ",")
        if call.name != "Set" or len(arguments) != 2:
            continue
        (begin, middle), (value, end) = arguments
        word, what = text[begin:middle].strip(), text[value:end].strip()
        bare = f"({word}).store({what}, std::memory_order_release);"
        found.append((call.statement.core, call.statement.end, bare))
    return found


def swap(text, masked, _file):
    """Two stores that follow one another change places; a crash point between them stays.

    Not two logged ones: until the COMMIT the log takes both back, whichever came first.
    """
    effects = [c for c in calls(text, masked) if c.name in STORES or c.name == "Set"]
    found = []
    for first, second in zip(effects, effects[1:]):
        one, two = first.statement, second.statement
        between = masked[one.end : two.begin]
        points = r"(?:\s*THOLE_CRASH_POINT\(\s*\);)*\s*"
        if first.name == second.name == "Set":
            continue
        if one.block != two.block or not re.fullmatch(points, between):
            continue
        if masked[one.begin : one.end].startswith("else") or masked[two.begin : two.end].startswith(
            "else"
        ):
            continue
        found.append(
            (
                one.begin,
                two.end,
                text[two.begin : two.end] + text[one.end : two.begin] + text[one.begin : one.end],
            )
        )
    return found


def guard(text, masked, file):
    """A repairer that does not look: `if (...) return`, `continue` or `break` never happens."""
    if not re.search(r"(recover|sweep|settle)\.(cc|h)$", file):
        return []
    found = []
    for condition in conditions(masked):
        leaves = re.match(r"\s*\{?\s*(return|continue|break)\b", masked[condition.then :])
        if leaves and not condition.declares:
            begin, end = condition.begin, condition.end
            found.append((begin, end, f"false && ({text[begin:end]})"))
    return found


def negate(text, masked, _file):
    return [
        (c.begin, c.end, f"!({text[c.begin:c.end]})") for c in conditions(masked) if not c.declares
    ]


def enclosing_call(masked, at):
    depth = 0
    for place in range(at - 1, -1, -1):
        if masked[place] in ")]}":
            depth += 1
        elif masked[place] in "([{":
            if depth == 0:
                name = re.search(r"(\w+)\s*$", masked[:place])
                return (name.group(1) if name else ""), place
            depth -= 1
    return "", 0


def order(text, masked, _file):
    """The next weaker order that the operation may have."""
    found = []
    for match in ORDER.finditer(masked):
        name, opening = enclosing_call(masked, match.start())
        if is_local(text, opening, closing(masked, opening)):
            continue
        weaker = "relaxed"
        if match.group(1) == "seq_cst":
            weaker = {"load": "acquire", "store": "release"}.get(name, "acq_rel")
        found.append((match.start(), match.end(), f"std::memory_order_{weaker}"))
    return found


OPERATORS = {
    "drop-store": drop_store,
    "drop-set": drop_set,
    "drop-call": drop_call,
    "unlogged": unlogged,
    "swap": swap,
    "guard": guard,
    "negate": negate,
    "order": order,
}


def one_line(text):
    return re.sub(r"\s+", " ", text).strip()


def mutants(file, text, operators=tuple(OPERATORS)):
    """All mutants of one source, in the order of its lines."""
    masked = mask(text)
    made = []
    for operator in operators:
        for begin, end, replacement in OPERATORS[operator](text, masked, file):
            line_begin = text.rfind("\n", 0, begin) + 1
            line_end = text.find("\n", end)
            shown = text[begin:end] if operator != "order" else text[line_begin:line_end]
            made.append(
                Mutant(
                    file,
                    text.count("\n", 0, begin) + 1,
                    operator,
                    one_line(shown),
                    one_line(replacement),
                    begin,
                    end,
                    replacement,
                )
            )
    return sorted(made, key=lambda mutant: (mutant.begin, mutant.operator))
