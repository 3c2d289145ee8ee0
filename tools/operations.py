#!/usr/bin/env python3
"""Every public operation that changes shared bytes is registered for the stepper, or exempt with a reason.

Reads the door headers named in DOORS: the public non-const methods of their classes (const ones too
where the handle is a value), and the free functions that take a `Lane&` or bytes of a segment. Each
must be registered by its component's tests/*operations.cc under its name ("Method", or
"Class::Method" where two classes share a name), or stand in EXEMPT: by a THOLE_OPERATION that
contains the name or calls a function that does. An exemption of something that is gone, or that is
registered after all, fails as well, and so does a header or a class that neither DOORS nor NO_DOORS
knows. Components that do not exist yet are left out. `--build DIR` asks the built *_step_test
programs which names they really run. Exit status 1 on a gap.
"""

import argparse
import glob
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# component -> header -> classes whose methods count, FREE for free functions. A class followed by
# "const" is a value whose const methods change shared bytes as well.
FREE = "free functions"
DOORS = {
    "shm": {
        "attachment.h": ["Attachment", "Call"],
        "owner_lock.h": [FREE],
        "transaction.h": ["Transaction", FREE],
        "wait_list.h": [FREE],
        "name_source.h": ["RootNames"],
    },
    "alloc": {
        "persistent_tlsf_allocator.h": ["PersistentTlsfAllocator"],
    },
    "registry": {
        "shared_buffer_registry.h": ["SharedBufferRegistry"],
        "buffer_handle.h": ["BufferHandle"],
    },
    "queue": {
        "persistent_queue.h": ["PersistentQueue const"],
        "queue_handle.h": ["QueueHandle const"],
        "queue_factory.h": ["QueueFactory"],
    },
    "comm": {
        "unified_communication_system.h": ["UnifiedCommunicationSystem"],
        "channel.h": ["Channel const"],
        "zero_copy_writer.h": ["ZeroCopyWriter"],
        "message_handle.h": ["MessageHandle"],
    },
}

INSIDE = "what the calls behind the doors are made of, and what their entries run"
BYTES = "bytes of the segment, without calls"
VALUES = "values of this process"
BY_AUDIT = "reads only"
# Public headers that are no doors, with the reason. A new header is a gap until it stands here or
# above; so is a class with calls in a header above that is not named there.
NO_DOORS = {
    "shm": {
        "audit.h": BY_AUDIT,
        "block_source.h": "an interface; alloc's entries run it",
        "component_id.h": VALUES,
        "crash_point.h": "only in the checked variant",
        "crc32c.h": VALUES,
        "deadline.h": VALUES,
        "findings.h": VALUES,
        "lane.h": INSIDE,
        "loan_table.h": "changes only what this process knows",
        "participant_data.h": BYTES,
        "platform.h": "the kernel",
        "repair.h": INSIDE,
        "segment.h": "a segment is made without a name and linked in one step: segment_test",
        "segment_data.h": BYTES,
        "segment_view.h": BY_AUDIT,
        "status.h": VALUES,
        "untrusted.h": VALUES,
        "word.h": BYTES,
    },
    "alloc": {
        "audit.h": BY_AUDIT,
        "heap_data.h": BYTES,
        "magazine_data.h": BYTES,
        "own_heap.h": "opens a segment and joins: both have their entries",
    },
    "registry": {
        "audit.h": BY_AUDIT,
        "registry_data.h": BYTES,
        "registry_reader.h": BY_AUDIT,
        "registry_table.h": INSIDE,
    },
    "queue": {
        "audit.h": BY_AUDIT,
        "message_control.h": BYTES,
        "message_descriptor.h": BYTES,
        "queue_data.h": BYTES,
        "queue_options.h": VALUES,
        "queue_result.h": VALUES,
        "queue_ring.h": INSIDE,
        "queue_wait.h": INSIDE,
    },
    "comm": {
        "audit.h": BY_AUDIT,
        "channel_options.h": VALUES,
        "inspect.h": BY_AUDIT,
    },
}

NO_DOOR_CLASSES = {"shm/NameSource": "an interface; registry's entries run it"}

LOCAL = "changes only what this process knows"
READS = "reads only"

# "component/Class::Method" or "component/Function" -> why it needs no entry.
EXEMPT = {
    "shm/Attachment::Register": LOCAL,
    "shm/Attachment::EndCall": "the second half of Enter, which runs it",
    "shm/Attachment::TryEnter": "Enter with a deadline that has passed; the entry of Enter runs both",
    "shm/Attachment::Probe": READS,
    "shm/Attachment::VisitIdleLanes": LOCAL,
    "shm/Attachment::loans": LOCAL,
    "shm/Attachment::lane": LOCAL,
    "shm/Call::End": "the entry of Enter runs it",
    "shm/Transaction::Set": "the entries of Commit and Rollback run it, in both widths",
    "shm/RollBack": "what a repair does: the entries of RepairSlot and Rollback run it",
    "shm/Sleep": "stores nothing; the entry of Enlist runs it",
    "shm/NotifyOne": "the entry of Enlist runs it",
    "shm/NotifySlow": "the entry of Enlist runs it",
    "shm/NotifyAll": "the entry of Enlist runs it",
    "shm/RootNames::Find": READS,
    "shm/RootNames::ForEach": READS,
    "shm/RootNames::Hold": "stores nothing: a root stays as long as its segment",
    "shm/RootNames::Publish": "refuses: roots are made with the segment",
    "registry/SharedBufferRegistry::Find": READS,
    "registry/SharedBufferRegistry::ForEach": READS,
    "queue/PersistentQueue::IsClosed": READS,
    "queue/PersistentQueue::SizeApprox": READS,
    "queue/PersistentQueue::Statistics": READS,
    "queue/QueueHandle::Announce": "the entry of ConnectHandle runs it",
    "queue/QueueHandle::CountRejected": "a counter; the entry of TryPush into a full queue runs it",
    "queue/QueueHandle::CountTimedOut": "a counter; the entry of Pop that waits in vain runs it",
    "queue/QueueHandle::FindOtherLeaseHolder": READS,
    "queue/QueueHandle::IsClosed": READS,
    "queue/QueueHandle::RepairHolders": "RepairSlot, for whoever holds something",
    "queue/QueueHandle::SizeApprox": READS,
    "queue/QueueHandle::Statistics": READS,
    "queue/QueueHandle::Usable": READS,
    "queue/QueueFactory::Connect": "the typed form of ConnectHandle",
    "queue/QueueFactory::Create": "the typed form of CreateHandle",
    "queue/QueueFactory::OpenOrCreate": "the typed form of OpenOrCreateHandle",
    "queue/QueueFactory::OpenOrCreateHandle": "ConnectHandle or CreateHandle, whichever fits",
    "comm/UnifiedCommunicationSystem::ListChannels": READS,
    "comm/UnifiedCommunicationSystem::buffers": LOCAL,
    "comm/Channel::Info": READS,
    "comm/ZeroCopyWriter::bytes": LOCAL,
    "comm/ZeroCopyWriter::set_correlation": LOCAL,
    "comm/ZeroCopyWriter::set_type": LOCAL,
}


def without_comments(text):
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    pattern = r'//[^\n]*|/\*.*?\*/'
    strings = r'"(?:\\.|[^"\\])*"'
    return re.sub(
        f"{strings}|{pattern}",
        lambda m: m.group(0) if m.group(0).startswith('"') else blank(m),
        text,
        flags=re.S,
    )


def closing(text, start):
    """The index just behind the brace that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return i + 1
    return len(text)


def declarations(body):
    """The declarations of a class or namespace body, without the bodies of functions, and the
    access labels between them."""
    at, begin = 0, 0
    parens = 0
    while at < len(body):
        char = body[at]
        parens += (char == "(") - (char == ")")
        label = re.match(r"\s*(public|private|protected)\s*:(?!:)", body[begin : at + 1])
        if label:
            yield label.group(1), None
            begin = at + 1
        elif char == ";" and parens == 0:
            yield None, body[begin:at]
            begin = at + 1
        elif char == "{":
            head = body[begin:at]
            end = closing(body, at)
            if parens == 0 and not re.search(r"[=,]\s*$", head):
                after = re.match(r"\s*;", body[end:])
                # A member initialised by braces goes on to its semicolon.
                if not re.search(r"\)[^()]*$|\b(class|struct|enum|union|namespace)\b", head):
                    at = end - 1
                    at += 1
                    continue
                yield None, head
                end += after.end() if after else 0
                begin = end
            at = end - 1
        at += 1


def function(declaration):
    """(name, parameters, qualifiers, prefix) of a function's declaration; None if it is none."""
    text = re.sub(r"\[\[[^\]]*\]\]", " ", " ".join(declaration.split()))
    text = re.sub(r"^(?:template\s*<[^;]*?>\s*(?=[A-Za-z_:]))", "", text)
    match = re.match(r"(?P<prefix>[^()]*?)(?P<name>~?\w+)\s*\(", text)
    if not match or re.match(r"\s*(using|friend|typedef|static_assert|class|struct|enum)\b", text):
        return None
    depth, end = 0, match.end() - 1
    for end in range(match.end() - 1, len(text)):
        depth += (text[end] == "(") - (text[end] == ")")
        if depth == 0:
            break
    return (
        match.group("name"),
        text[match.end() : end],
        text[end + 1 :],
        match.group("prefix").strip(),
    )


def class_body(text, name):
    match = re.search(r"\b(class|struct)\s+(?:\[\[\w+\]\]\s+)?" + name + r"\b[^;{]*\{", text)
    if not match:
        return None
    return match.group(1), text[match.end() : closing(text, match.end() - 1) - 1]


def methods(text, name, const_too):
    found = class_body(text, name)
    if found is None:
        return None
    kind, body = found
    public = kind == "struct"
    names = []
    for label, declaration in declarations(body):
        if label:
            public = label == "public"
            continue
        parts = function(declaration) if public else None
        if parts is None:
            continue
        method, _, qualifiers, prefix = parts
        if method == name or method.startswith("~") or "operator" in prefix + method:
            continue
        if not prefix or re.search(r"\bstatic\b", prefix) or "= delete" in qualifiers:
            continue  # no return type: a constructor of another class, a macro
        is_const = re.match(r"\s*(?:&&?\s*)?const\b", qualifiers)
        is_getter = re.fullmatch(r"[a-z][a-z0-9_]*", method)
        if (is_const and not const_too) or (is_const and is_getter):
            continue
        names.append(method)
    return sorted(set(names))


def free_functions(text):
    names = []
    for match in re.finditer(r"\bnamespace\s+[\w:]+\s*\{", text):
        body = text[match.end() : closing(text, match.end() - 1) - 1]
        for label, declaration in declarations(body):
            parts = None if label else function(declaration)
            if parts is None:
                continue
            name, parameters, _, prefix = parts
            if not prefix or "constexpr" in prefix or "operator" in prefix + name:
                continue
            if re.search(r"(?<!const )\b(?:shm::)?(?:Lane|\w+Data|Word32|Word64)\s*&", parameters):
                # A const reference to bytes only reads them.
                mutable = re.sub(r"const\s+[\w:]+\s*&", "", parameters)
                if re.search(r"\b(?:Lane|\w+Data|Word32|Word64)\s*&", mutable):
                    names.append(name)
    return sorted(set(names))


def unknown(top):
    """Complaints about headers and classes that neither DOORS nor NO_DOORS knows."""
    complaints = []
    for component, headers in DOORS.items():
        folder = os.path.join(top, component, "include", "thole", component)
        there = {os.path.basename(path) for path in glob.glob(os.path.join(folder, "*.h"))}
        if not there:
            continue
        named = set(headers) | set(NO_DOORS.get(component, {}))
        for header in sorted(there - named):
            complaints.append(f"{component}/{header} is neither a door nor exempt")
        for header in sorted(named - there):
            complaints.append(f"{component}/{header} is named here, but it is not there")
        for header in sorted(set(headers) & there):
            with open(os.path.join(folder, header), encoding="utf-8") as file:
                text = without_comments(file.read())
            listed = {entry.partition(" ")[0] for entry in headers[header]}
            for name in re.findall(r"^(?:class|struct) (?:\[\[\w+\]\] )?(\w+)[^;{]*\{", text, flags=re.M):
                if f"{component}/{name}" in NO_DOOR_CLASSES:
                    continue
                if name not in listed and methods(text, name, False):
                    complaints.append(f"{component}/{header}: class {name} is neither a door nor exempt")
    return complaints


def doors(top):
    """(component, class or "", name) of every operation behind the doors that exist, and complaints."""
    found, complaints = [], []
    for component, headers in DOORS.items():
        include = os.path.join(top, component, "include", "thole", component)
        if not os.path.isdir(include):
            continue
        for header, classes in headers.items():
            path = os.path.join(include, header)
            if not os.path.exists(path):
                complaints.append(f"{component}: the door {header} is not there")
                continue
            with open(path, encoding="utf-8") as file:
                text = without_comments(file.read())
            for entry in classes:
                if entry == FREE:
                    found += [(component, "", name) for name in free_functions(text)]
                    continue
                name, _, const = entry.partition(" ")
                of_class = methods(text, name, const == "const")
                if of_class is None:
                    complaints.append(f"{component}/{header}: there is no class {name}")
                else:
                    found += [(component, name, method) for method in of_class]
    return found, complaints


def names_registered(text):
    """The names in THOLE_OPERATION statements and in the functions that these call. What a name is
    compared with (`name == "Push"`) registers nothing."""
    bodies = {}
    for match in re.finditer(r"^[\w:<>&*,\s]*?\b(\w+)\([^;{}]*\)\s*\{", text, flags=re.M):
        start = match.end() - 1
        bodies[match.group(1)] = text[start : closing(text, start)]
    names, seen = set(), set()
    work = []
    for match in re.finditer(r"^\s*(?:THOLE|COMM)_OPERATIONS?(?=\()", text, flags=re.M):
        depth = 0
        for end in range(match.end(), len(text)):
            depth += (text[end] == "(") - (text[end] == ")")
            if depth == 0:
                break
        work.append(text[match.end() : end])
    while work:
        part = work.pop()
        for literal in re.finditer(r'"((?:\w+::)?\w+)"', part):
            if not re.search(r"[=!]=\s*$", part[: literal.start()]):
                names.add(literal.group(1))
        for called in set(re.findall(r"\b(\w+)\(", part)) - seen:
            seen.add(called)
            if called in bodies:
                work.append(bodies[called])
    return names


def registered(top, component):
    paths = sorted(glob.glob(os.path.join(top, component, "tests", "*operations.cc")))
    names = set()
    for path in paths:
        with open(path, encoding="utf-8") as file:
            names |= names_registered(without_comments(file.read()))
    return names if paths else None


def listed(build, component):
    """The names that the built stepper test runs; None when it is not built."""
    found = glob.glob(os.path.join(build, "**", f"{component}_step_test"), recursive=True)
    if not found:
        return None
    text = subprocess.run([found[0], "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return set(re.findall(rf"^{component}/(\S+) \(", text, flags=re.M))


def check(top, build):
    found, complaints = doors(top)
    complaints += unknown(top)
    used = set()
    rows = []
    names = {}
    for component, of_class, name in found:
        if component not in names:
            names[component] = listed(build, component) if build else registered(top, component)
            if names[component] is None:
                complaints.append(f"{component}: no tests/operations.cc, or it is not built")
                names[component] = set()
        long = f"{of_class}::{name}" if of_class else name
        key = f"{component}/{long}"
        is_registered = name in names[component] or long in names[component]
        if key in EXEMPT:
            used.add(key)
            if is_registered:
                complaints.append(f"{key} is registered: its exemption can go")
            rows.append((component, long, f"exempt: {EXEMPT[key]}"))
        elif is_registered:
            rows.append((component, long, "registered"))
        else:
            rows.append((component, long, "MISSING"))
            complaints.append(f"{key} has no THOLE_OPERATION in {component}/tests/operations.cc")
    for key in sorted(set(EXEMPT) - used):
        if os.path.isdir(os.path.join(top, key.split("/")[0], "include")):
            complaints.append(f"{key} is exempt but there is no such operation")
    return rows, complaints


def self_test():
    """The parser on a small header: wrong answers here would be gaps there."""
    text = without_comments(
        """
        namespace thole::x {
        class Door final : public Base {
         public:
          Door(int a) : a_(a) {}
          static Door Make();  // void Hidden();
          [[nodiscard]] Result Push(shm::Lane& lane, int v) noexcept override;
          template <class T>
          absl::StatusOr<Typed<T>> Create(std::string_view name, Options options = {}) {
            if (name.empty()) { return Bad(); }
            return Wrap<T>(name);
          }
          int size() const { return size_; }
          void Peek() const;
          int value() &&;
         private:
          void Secret();
          int size_{0};
        };
        [[nodiscard]] LockResult Lock(Lane& lane, OwnerLockData& lock) noexcept;
        bool IsLockedBy(const Lane& lane, const OwnerLockData& lock) noexcept;
        inline void Notify(Platform& p, WaitListData& list) noexcept { if (x) { Slow(p, list); } }
        }
        """
    )
    expected = ["Create", "Push", "value"]
    assert methods(text, "Door", False) == expected, methods(text, "Door", False)
    assert methods(text, "Door", True) == ["Create", "Peek", "Push", "value"]
    assert methods(text, "Window", False) is None
    assert free_functions(text) == ["Lock", "Notify"], free_functions(text)
    text = without_comments(
        """
        Operation Pushes(const std::string& name) {
          operation.act = [name] { if (name == "Push") { Push(); } };
          return Fill("Filled", name);
        }
        Operation Never() { return Pushes("Never"); }
        Operation Twice() {
          return Pushes("Twice");
        }
        // THOLE_OPERATION(Pushes("Commented"));
        THOLE_OPERATION(Pushes("TryPush"));
        THOLE_OPERATION(Twice());
        THOLE_OPERATION({.name = "Open", .shape = "a new one", .act = [] { (void)1; }});
        """
    )
    assert names_registered(text) == {"TryPush", "Twice", "Open", "Filled"}, names_registered(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", help="ask the stepper tests of this build tree")
    options = parser.parse_args()
    self_test()
    rows, complaints = check(TOP, options.build)
    for component, name, state in rows:
        print(f"{component:10}{name:44}{state}")
    counted = sum(1 for row in rows if row[2] == "registered")
    print(f"{len(rows)} operations behind the doors: {counted} registered, "
          f"{len(rows) - counted} exempt or missing")
    for complaint in complaints:
        print(f"GAP  {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
