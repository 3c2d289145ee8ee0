"""What each operator must do to a small text, and what it must leave alone."""

from mutation.operators import mutants

# operator, file, text, what stands at each place afterwards
EXAMPLES = [
    (
        "drop-store",
        "a/src/x.cc",
        'void F() {\n  word.store(1, kR);  // "a;b"\n  auto old = word.exchange(2, kR);\n  p->q[i].store(C{3, 4}.Pack(), kR);\n}\n',
        ["while (false) word.store(1, kR);", "while (false) p->q[i].store(C{3, 4}.Pack(), kR);"],
    ),
    (
        "drop-store",
        "a/src/x.cc",
        "void F() {\n  word_.store(1, kR);  // process-local: not shared\n}\n",
        [],
    ),
    (
        "drop-set",
        "a/src/x.cc",
        "void F() {\n  if (count == 1) edit.Set(x, uint64_t{0});\n  edit.Commit();\n}\n",
        ["while (false) edit.Set(x, uint64_t{0});"],
    ),
    (
        "unlogged",
        "a/src/x.cc",
        "void F() {\n  put.Set(n == 0 ? list.head : c->link, W{a, b}.Pack());\n}\n",
        ["(n == 0 ? list.head : c->link).store(W{a, b}.Pack(), std::memory_order_release);"],
    ),
    (
        "drop-call",
        "a/src/x.cc",
        'void F() {\n  THOLE_CRASH_POINT("a.1");\n  Edit edit(lane, 3);\n  ForEach(v, [&](L& l) { Clear(l); });\n  return Go();\n}\n',
        ["while (false) ForEach(v, [&](L& l) { Clear(l); });", "while (false) Clear(l);"],
    ),
    (
        "swap",
        "a/src/x.cc",
        'void F() {\n  a.store(1, kR);  // first\n  THOLE_CRASH_POINT("a.1");\n  b.store(2, kR);\n  Go();\n  c.store(3, kR);\n}\n',
        ['b.store(2, kR); // first THOLE_CRASH_POINT("a.1"); a.store(1, kR);'],
    ),
    ("swap", "a/src/x.cc", "void F() {\n  e.Set(a, 1);\n  e.Set(b, 2);\n}\n", []),
    (
        "guard",
        "a/src/recover.cc",
        "void F() {\n  if (x == 0 || y) return;\n  if (auto* p = G()) return;\n  if (z) Go();\n}\n",
        ["false && (x == 0 || y)"],
    ),
    ("guard", "a/src/x.cc", "void F() {\n  if (x == 0) return;\n}\n", []),
    (
        "negate",
        "a/src/x.cc",
        "void F() {\n  // if (comment)\n  if (auto s = G(); !s.ok()) return;\n  while (true) {\n  }\n}\n",
        ["!(!s.ok())"],
    ),
    (
        "order",
        "a/src/x.cc",
        "void F() {\n  a.store(1, std::memory_order_seq_cst);\n  b.load(std::memory_order_seq_cst);\n"
        "  c.exchange(1, std::memory_order_seq_cst);\n  d.load(std::memory_order_acquire);\n  e.load(std::memory_order_relaxed);\n}\n",
        [f"std::memory_order_{weaker}" for weaker in ("release", "acquire", "acq_rel", "relaxed")],
    ),
]


def problems():
    found = []
    for operator, file, text, wanted in EXAMPLES:
        made = [mutant.instead for mutant in mutants(file, text, [operator])]
        if made != wanted:
            found.append(f"{operator} makes of\n{text}{made}, not {wanted}")
    return found
