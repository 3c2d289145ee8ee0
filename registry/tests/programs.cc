// Programs for the simulator: several processes at once, any of which may die at any access.
#include <bit>

#include "registry_world.h"

namespace thole::registry::testing {
namespace {

using shm::Deadline;
using shm::Findings;
using shm::LoanRef;
using shm::NamedPlace;
using shm::NameResult;
using shm::testing::In;
using shm::testing::Process;
using shm::testing::Random;
using shm::testing::World;

RegistryWorld& Ledger(World& world) { return static_cast<RegistryWorld&>(world); }

Deadline Later(Process& process) { return In(process, std::chrono::seconds(60)); }

// A word of nobody when a hostile peer damaged the entry: then there are no bytes.
shm::Word64& StampOf(World& world, const BufferHandle& handle) {
  auto* stamp = handle.As<shm::Word64>();
  return stamp != nullptr ? *stamp : static_cast<RegistryWorld&>(world).nowhere;
}

void ReportWrong(World& world, Findings& findings) {
  for (const auto& text : Ledger(world).wrong) findings.Add("ledger", 0, text);
}

std::unique_ptr<World> SixEntries() { return std::make_unique<RegistryWorld>(6); }
std::unique_ptr<World> TwoEntries() { return std::make_unique<RegistryWorld>(2); }

// One creator for each name, and a refusal proves that the name is there.
THOLE_PROGRAM({.component = "registry",
               .name = "creators of one name",
               .processes = 3,
               .make_world = SixEntries,
               .body =
                   [](World& world, Process& process, uint32_t, Random&) {
                     Member& member = MemberOf(process);
                     auto made = member.registry().Create("one", 64, {}, Later(process));
                     if (made.ok()) {
                       ++Ledger(world).created["one"];
                       (void)member.Keep(std::move(made));
                     } else if (absl::IsAlreadyExists(made.status())) {
                       ++Ledger(world).refused["one"];
                     } else {
                       Ledger(world).wrong.emplace_back(made.status().message());
                     }
                   },
               .check =
                   [](World& world, Process& survivor, uint32_t died, Findings& findings) {
                     ReportWrong(world, findings);
                     RegistryWorld& ledger = Ledger(world);
                     const bool there = MemberOf(survivor).registry().Lookup("one").ok();
                     const int created = ledger.created["one"];
                     if (created > 1) findings.Add("ledger", 0, "several creators");
                     if (created + ledger.refused["one"] > 0 && !there) {
                       findings.Add("ledger", 0, "a created name is gone");
                     }
                     if (died == 0 && created != 1) findings.Add("ledger", 0, "nobody created it");
                   }});

// Whoever holds a buffer keeps its bytes, whatever the others do to its name.
void CreateRemoveAcquire(World& world, Process& process, uint32_t index, Random& random) {
  SharedBufferRegistry& registry = MemberOf(process).registry();
  for (uint64_t turn = 1; turn <= 3; ++turn) {
    const std::string name = Numbered("n", random.Below(2));
    const uint64_t stamp = uint64_t{index + 1} << 32 | turn;
    switch (random.Below(3)) {
      case 0: {
        const Lifetime lifetime = random.Chance(2) ? Lifetime::kEphemeral : Lifetime::kPersistent;
        auto made = registry.Create(name, 64, {.lifetime = lifetime}, Later(process));
        if (!made.ok()) break;
        if (StampOf(world, *made).load() != 0)
          Ledger(world).wrong.push_back(name + " came with bytes");
        StampOf(world, *made).store(stamp);
        if (random.Chance(2)) registry.Remove(name, Later(process)).IgnoreError();
        if (StampOf(world, *made).load() != stamp)
          Ledger(world).wrong.push_back(name + " was overwritten");
        break;
      }
      case 1: {
        auto held = registry.Acquire(name, 0, 64, Later(process));
        if (!held.ok()) break;
        const uint64_t before = StampOf(world, *held).load();
        auto again = registry.Acquire(name, 0, 64, Later(process));
        const uint64_t after = StampOf(world, *held).load();
        if (before != 0 && before != after) Ledger(world).wrong.push_back(name + " lost its bytes");
        break;
      }
      default:
        registry.Remove(name, Later(process)).IgnoreError();
    }
  }
  // A destructor that found the lock taken left its release to the next call: here it is.
  if (!registry.Sweep(Later(process))) Ledger(world).wrong.emplace_back("the sweep found no lock");
}

THOLE_PROGRAM({.component = "registry",
               .name = "create, remove, acquire",
               .processes = 3,
               .make_world = TwoEntries,
               .body = CreateRemoveAcquire,
               .check = [](World& world, Process& survivor, uint32_t, Findings& findings) {
                 ReportWrong(world, findings);
                 Member& member = MemberOf(survivor);
                 // Nobody has a handle any more: what is left are persistent names.
                 for (const BufferInfo& info : member.registry().List()) {
                   if (info.holders != 0) findings.Add("ledger", 0, info.name + " is held");
                   if (info.state == EntryState::kLive && info.ephemeral) {
                     findings.Add("ledger", 0, info.name + " is ephemeral and still there");
                   }
                   member.registry().Remove(info.name, Later(survivor)).IgnoreError();
                 }
                 (void)member.registry().Sweep(Later(survivor));
                 if (member.heap().used_blocks() > 0 && member.registry().entry_count() == 0) {
                   shm::Findings nothing;
                   AuditAll(survivor.attachment().segment(), nothing);
                   if (!nothing.empty()) findings.Add("ledger", 0, nothing.ToString());
                 }
               }});

// Readers see a name and its fields from one bearer, never a mixture.
void CreateOrRead(World& world, Process& process, uint32_t index, Random& random) {
  SharedBufferRegistry& registry = MemberOf(process).registry();
  if (index == 0) {
    for (uint64_t turn = 0; turn < 3; ++turn) {
      // Each bearer of a name has a size and a type that tell which name it is.
      const uint64_t which = random.Below(2);
      auto made = registry.Create(Numbered("n", which), 64 + which, {.type_id = 100 + which},
                                  Later(process));
      registry.Remove(Numbered("n", which), Later(process)).IgnoreError();
    }
    return;
  }
  for (uint64_t turn = 0; turn < 4; ++turn) {
    const uint64_t which = random.Below(2);
    NamedPlace place;
    if (registry.Find(Numbered("n", which), place) == NameResult::kOk &&
        (place.size_bytes != 64 + which || place.type_id != 100 + which)) {
      Ledger(world).wrong.emplace_back("a find mixes two entries");
    }
    const auto info = registry.Lookup(Numbered("n", which));
    if (info.ok() && (info->size_bytes != 64 + which || info->type_id != 100 + which ||
                      info->name != Numbered("n", which))) {
      Ledger(world).wrong.emplace_back("a lookup mixes two entries");
    }
    if (!info.ok() && !absl::IsNotFound(info.status())) {
      Ledger(world).wrong.emplace_back(info.status().message());
    }
    for (const BufferInfo& entry : registry.List()) {
      if (entry.name != Numbered("n", entry.size_bytes - 64) ||
          entry.type_id != 36 + entry.size_bytes) {
        Ledger(world).wrong.emplace_back("a list has half an entry: " + entry.name);
      }
    }
  }
}

THOLE_PROGRAM({.component = "registry",
               .name = "readers beside a creator",
               .processes = 3,
               .make_world = [] { return std::unique_ptr<World>(new RegistryWorld(1)); },
               .body = CreateOrRead,
               .check = [](World& world, Process&, uint32_t,
                           Findings& findings) { ReportWrong(world, findings); }});

// What a lookup found stays found: nobody sees a creation that a death takes back.
THOLE_PROGRAM({.component = "registry",
               .name = "nothing seen is taken back",
               .processes = 3,
               .make_world = SixEntries,
               .body =
                   [](World& world, Process& process, uint32_t index, Random&) {
                     SharedBufferRegistry& registry = MemberOf(process).registry();
                     if (index == 0) {
                       (void)MemberOf(process).Keep(registry.Create("one", 64, {}, Later(process)));
                       return;
                     }
                     bool seen = false;
                     for (int turn = 0; turn < 6; ++turn) {
                       const bool now = registry.Lookup("one").ok();
                       if (seen && !now) Ledger(world).wrong.emplace_back("a name came and went");
                       seen = now;
                       if (now) ++Ledger(world).created["one"];
                     }
                   },
               .check =
                   [](World& world, Process& survivor, uint32_t, Findings& findings) {
                     ReportWrong(world, findings);
                     const bool there = MemberOf(survivor).registry().Lookup("one").ok();
                     if (Ledger(world).created["one"] > 0 && !there) {
                       findings.Add("ledger", 0, "a name that was seen is gone");
                     }
                   }});

// The same for a removal.
THOLE_PROGRAM({.component = "registry",
               .name = "nothing gone comes back",
               .processes = 3,
               .make_world = SixEntries,
               .prepare =
                   [](World&, Process& setup, Random& random) {
                     auto made = MemberOf(setup).registry().Create("one", 64);
                     if (random.Chance(2)) (void)MemberOf(setup).Keep(std::move(made));
                   },
               .body =
                   [](World& world, Process& process, uint32_t index, Random&) {
                     SharedBufferRegistry& registry = MemberOf(process).registry();
                     if (index == 0) {
                       registry.Remove("one", Later(process)).IgnoreError();
                       return;
                     }
                     bool gone = false;
                     for (int turn = 0; turn < 6; ++turn) {
                       const bool now = registry.Lookup("one").ok();
                       if (gone && now) Ledger(world).wrong.emplace_back("a name went and came");
                       gone = !now;
                       if (gone) ++Ledger(world).refused["one"];
                     }
                   },
               .check =
                   [](World& world, Process& survivor, uint32_t, Findings& findings) {
                     ReportWrong(world, findings);
                     const bool there = MemberOf(survivor).registry().Lookup("one").ok();
                     if (Ledger(world).refused["one"] > 0 && there) {
                       findings.Add("ledger", 0, "a name that was gone is back");
                     }
                   }});

THOLE_PROGRAM({.component = "registry",
               .name = "a waiter and a creator",
               .processes = 2,
               .make_world = SixEntries,
               .body =
                   [](World& world, Process& process, uint32_t index, Random&) {
                     SharedBufferRegistry& registry = MemberOf(process).registry();
                     if (index == 0) {
                       auto made = registry.Create("one", 64, {}, Later(process));
                       if (made.ok()) ++Ledger(world).created["one"];
                       return;
                     }
                     const bool before = Ledger(world).created["one"] > 0;
                     const auto info =
                         registry.WaitFor("one", In(process, std::chrono::milliseconds(200)));
                     if (!info.ok() && before) {
                       Ledger(world).wrong.emplace_back("missed a name that was there");
                     }
                   },
               .check = [](World& world, Process&, uint32_t,
                           Findings& findings) { ReportWrong(world, findings); }});

// Queues: one drains, nobody touches what is freed.
void UseQueue(World& world, Process& process, uint32_t index, Random& random) {
  Member& member = MemberOf(process);
  SharedBufferRegistry& registry = member.registry();
  NamedPlace place;
  const bool published = registry.Find("q", place) == NameResult::kNotFound &&
                         member.PublishQueue("q", &place) == NameResult::kOk;
  shm::Call call = process.attachment().Enter(1, Later(process));
  if (!call) return;
  shm::Lane& lane = call.lane();
  if (published || registry.Hold(lane, place, Later(process)) == NameResult::kOk) {
    // TRUST: the offset by the view: a hostile peer may have been at the entry.
    auto* bytes = member.attachment().view().At<shm::Word64>(place.offset + 8 * uint64_t{index});
    if (bytes == nullptr) return;
    shm::Word64& mine = *bytes;
    mine.store(index + 100);
    if (random.Chance(2)) (void)registry.MarkRemoved(lane, place, Later(process));
    if (mine.load() != index + 100) Ledger(world).wrong.emplace_back("a held queue was freed");
    (void)registry.ReleaseHold(lane, place, Later(process));
  }
  registry.ForEach(shm::kQueuePlace, [&](const NamedPlace& queue) {
    if (registry.ClaimDying(lane, queue, Later(process)) != NameResult::kOk) return;
    const LoanRef loan = member.attachment().TakeLoan(lane, nullptr, Deadline::Now());
    if (loan && registry.FreeEntry(lane, queue, loan, Later(process)) == NameResult::kOk) {
      (void)member.heap().FreeLoan(lane, loan, Later(process));
    } else {
      (void)registry.ReleaseHold(lane, queue, Later(process));
    }
    if (loan) member.attachment().loans().Return(loan);
  });
}

THOLE_PROGRAM({.component = "registry",
               .name = "queues that are removed and drained",
               .processes = 3,
               .make_world = TwoEntries,
               .body = UseQueue,
               .check = [](World& world, Process& survivor, uint32_t, Findings& findings) {
                 ReportWrong(world, findings);
                 for (const BufferInfo& info : MemberOf(survivor).registry().List()) {
                   if (info.holders != 0) findings.Add("ledger", 0, info.name + " is held");
                 }
               }});

// Holders die, names are removed, and everything they alone held goes back to the heap.
THOLE_PROGRAM({.component = "registry",
               .name = "holders die",
               .processes = 3,
               .make_world = SixEntries,
               .prepare =
                   [](World&, Process& setup, Random&) {
                     for (uint64_t i = 0; i < 3; ++i) {
                       auto made = MemberOf(setup).registry().Create(Numbered("n", i), 64);
                     }
                   },
               .body =
                   [](World&, Process& process, uint32_t index, Random& random) {
                     Member& member = MemberOf(process);
                     for (uint64_t i = 0; i < 3; ++i) (void)member.Keep(Numbered("n", i));
                     member.registry().Remove(Numbered("n", index), Later(process)).IgnoreError();
                     if (random.Chance(2)) member.handles().clear();
                   },
               .check =
                   [](World& world, Process& survivor, uint32_t died, Findings& findings) {
                     ReportWrong(world, findings);
                     const auto living = 3 - std::popcount(died);
                     for (const BufferInfo& info : MemberOf(survivor).registry().List()) {
                       if (info.holders > static_cast<uint32_t>(living)) {
                         findings.Add("ledger", 0, info.name + " is held by the dead");
                       }
                     }
                   }});

}  // namespace
}  // namespace thole::registry::testing
