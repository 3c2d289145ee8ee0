// Every public call of the registry that changes something, in the shapes that differ.
#include "registry_world.h"
#include "thole/shm/wait_list.h"

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

std::unique_ptr<World> SixEntries() { return std::make_unique<RegistryWorld>(6); }
std::unique_ptr<World> OneEntry() { return std::make_unique<RegistryWorld>(1); }

void Make(Process& process, std::string_view name, Lifetime lifetime = Lifetime::kPersistent) {
  Member& member = MemberOf(process);
  (void)member.Keep(member.registry().Create(name, 100, {.lifetime = lifetime}));
}

// Names that share the chain of "a".
std::vector<std::string> Neighbours(Process& process, size_t count) {
  const RegistryTable& table = MemberOf(process).registry().reader().table();
  const auto bucket_of = [&](const std::string& name) {
    return &table.bucket_of(HashName(PackName(name)));
  };
  std::vector<std::string> names;
  for (uint64_t i = 0; names.size() < count; ++i) {
    const std::string name = Numbered("n", i);
    if (bucket_of(name) == bucket_of("a")) names.push_back(name);
  }
  return names;
}

NamedPlace MakeQueue(Process& process, std::string_view name) {
  NamedPlace place;
  (void)MemberOf(process).PublishQueue(name, &place);
  return place;
}

template <class Use>
void WithLane(Process& process, Use use) {
  shm::Call call = process.attachment().Enter(1);
  use(MemberOf(process).registry(), call.lane());
}

void RemoveQueue(Process& process, const NamedPlace& place) {
  WithLane(process, [&](SharedBufferRegistry& registry, shm::Lane& lane) {
    (void)registry.MarkRemoved(lane, place);
  });
}

void ReleaseQueue(Process& process, const NamedPlace& place) {
  WithLane(process, [&](SharedBufferRegistry& registry, shm::Lane& lane) {
    (void)registry.ReleaseHold(lane, place);
  });
}

// The queue of the segment, whatever its state.
NamedPlace AnyQueue(Process& process) {
  NamedPlace place;
  MemberOf(process).registry().ForEach(shm::kQueuePlace,
                                       [&](const NamedPlace& queue) { place = queue; });
  return place;
}

// A buffer is there whole or not at all.
void CheckWhole(Process& survivor, const char* name, Findings& findings) {
  SharedBufferRegistry& registry = MemberOf(survivor).registry();
  auto handle = registry.Acquire(name, 0, 100);
  if (absl::IsNotFound(handle.status())) return;
  if (!handle.ok()) {
    findings.Add("whole", 0, std::string(handle.status().message()));
    return;
  }
  for (const std::byte b : handle->bytes()) {
    if (b != std::byte{0}) findings.Add("whole", handle->place().offset, "not zeroed");
  }
  if (registry.Lookup(name)->size_bytes != 100) findings.Add("whole", 0, "another size");
}

void CheckThere(Process& survivor, const char* name, Findings& findings) {
  if (!MemberOf(survivor).registry().Lookup(name).ok()) findings.Add("there", 0, name);
  CheckWhole(survivor, name, findings);
}

void CheckGone(Process& survivor, const char* name, Findings& findings) {
  const auto info = MemberOf(survivor).registry().Lookup(name);
  if (!absl::IsNotFound(info.status())) findings.Add("gone", 0, name);
}

void ActCreate(World&, Process& victim, Random&) { Make(victim, "a"); }

THOLE_OPERATION({.component = "registry",
                 .name = "Create",
                 .shape = "in an empty table",
                 .make_world = SixEntries,
                 .act = ActCreate,
                 .check = [](World&, Process& survivor, Findings& findings) {
                   CheckWhole(survivor, "a", findings);
                 }});

THOLE_OPERATION({.component = "registry",
                 .name = "Create",
                 .shape = "in front of a chain",
                 .make_world = SixEntries,
                 .prepare =
                     [](World&, Process& victim, Process& other, Random&) {
                       for (const auto& name : Neighbours(victim, 3)) Make(other, name);
                     },
                 .act = ActCreate,
                 .check =
                     [](World&, Process& survivor, Findings& findings) {
                       CheckWhole(survivor, "a", findings);
                       for (const auto& name : Neighbours(survivor, 3)) {
                         CheckThere(survivor, name.c_str(), findings);
                       }
                     }});

THOLE_OPERATION({.component = "registry",
                 .name = "Create",
                 .shape = "reuses the only entry",
                 .make_world = OneEntry,
                 .prepare =
                     [](World&, Process& victim, Process& other, Random&) {
                       Make(other, "before");
                       (void)MemberOf(other).registry().Remove("before");
                       for (auto& handle : MemberOf(other).handles()) {
                         for (std::byte& b : handle.bytes()) b = std::byte{0xff};
                       }
                       MemberOf(other).handles().clear();
                       (void)victim;
                     },
                 .act = ActCreate,
                 .check =
                     [](World&, Process& survivor, Findings& findings) {
                       CheckWhole(survivor, "a", findings);
                       CheckGone(survivor, "before", findings);
                       if (MemberOf(survivor).registry().entry_count() > 1) {
                         findings.Add("count", 0, "two entries of one");
                       }
                     }});

THOLE_OPERATION({.component = "registry",
                 .name = "Create",
                 .shape = "finds the table full",
                 .make_world = OneEntry,
                 .prepare = [](World&, Process&, Process& other,
                               Random&) { Make(other, "before"); },
                 .act = ActCreate,
                 .check =
                     [](World&, Process& survivor, Findings& findings) {
                       CheckGone(survivor, "a", findings);
                       CheckThere(survivor, "before", findings);
                     }});

THOLE_OPERATION({.component = "registry",
                 .name = "OpenOrCreate",
                 .shape = "creates",
                 .make_world = SixEntries,
                 .act =
                     [](World&, Process& victim, Random&) {
                       Member& member = MemberOf(victim);
                       (void)member.Keep(member.registry().OpenOrCreate("a", 100));
                     },
                 .check = [](World&, Process& survivor,
                             Findings& findings) { CheckWhole(survivor, "a", findings); }});

void ActAcquire(World&, Process& victim, Random&) { (void)MemberOf(victim).Keep("a"); }

THOLE_OPERATION({.component = "registry",
                 .name = "Acquire",
                 .shape = "what another holds",
                 .make_world = SixEntries,
                 .prepare = [](World&, Process&, Process& other, Random&) { Make(other, "a"); },
                 .act = ActAcquire,
                 .check = [](World&, Process& survivor,
                             Findings& findings) { CheckThere(survivor, "a", findings); }});

THOLE_OPERATION({.component = "registry",
                 .name = "Acquire",
                 .shape = "what it holds already",
                 .make_world = SixEntries,
                 .prepare = [](World&, Process& victim, Process&, Random&) { Make(victim, "a"); },
                 .act = ActAcquire,
                 .check = [](World&, Process& survivor,
                             Findings& findings) { CheckThere(survivor, "a", findings); }});

void ActRemove(World&, Process& victim, Random&) { (void)MemberOf(victim).registry().Remove("a"); }

THOLE_OPERATION({.component = "registry",
                 .name = "Remove",
                 .shape = "what nobody holds",
                 .make_world = SixEntries,
                 .prepare =
                     [](World&, Process&, Process& other, Random&) {
                       Make(other, "a");
                       MemberOf(other).handles().clear();
                     },
                 .act = ActRemove,
                 .check = [](World&, Process& survivor,
                             Findings& findings) { CheckWhole(survivor, "a", findings); }});

THOLE_OPERATION({.component = "registry",
                 .name = "Remove",
                 .shape = "what another holds",
                 .make_world = SixEntries,
                 .prepare = [](World&, Process&, Process& other, Random&) { Make(other, "a"); },
                 .act = ActRemove,
                 .check =
                     [](World&, Process& survivor, Findings& findings) {
                       CheckWhole(survivor, "a", findings);
                       // Somebody may hold it still: then its block must be there, as the audit
                       // says.
                     }});

THOLE_OPERATION({.component = "registry",
                 .name = "Remove",
                 .shape = "the middle of a chain",
                 .make_world = SixEntries,
                 .prepare =
                     [](World&, Process& victim, Process& other, Random&) {
                       const auto names = Neighbours(victim, 2);
                       Make(other, names[0]);
                       Make(other, "a");
                       Make(other, names[1]);
                     },
                 .act = ActRemove,
                 .check =
                     [](World&, Process& survivor, Findings& findings) {
                       for (const auto& name : Neighbours(survivor, 2)) {
                         CheckThere(survivor, name.c_str(), findings);
                       }
                     }});

void ActRelease(World&, Process& victim, Random&) { MemberOf(victim).handles().clear(); }

THOLE_OPERATION({.component = "registry",
                 .name = "Release",
                 .shape = "the last handle of a removed buffer",
                 .make_world = SixEntries,
                 .prepare =
                     [](World&, Process& victim, Process& other, Random&) {
                       Make(victim, "a");
                       (void)MemberOf(other).registry().Remove("a");
                     },
                 .act = ActRelease,
                 .check = [](World&, Process& survivor,
                             Findings& findings) { CheckGone(survivor, "a", findings); }});

THOLE_OPERATION({.component = "registry",
                 .name = "Release",
                 .shape = "of a persistent buffer",
                 .make_world = SixEntries,
                 .prepare = [](World&, Process& victim, Process&, Random&) { Make(victim, "a"); },
                 .act = ActRelease,
                 .check = [](World&, Process& survivor,
                             Findings& findings) { CheckThere(survivor, "a", findings); }});

THOLE_OPERATION({.component = "registry",
                 .name = "Release",
                 .shape = "the last handle of an ephemeral buffer",
                 .make_world = SixEntries,
                 .prepare = [](World&, Process& victim, Process&,
                               Random&) { Make(victim, "a", Lifetime::kEphemeral); },
                 .act = ActRelease,
                 .check = [](World&, Process& survivor,
                             Findings& findings) { CheckGone(survivor, "a", findings); }});

void TakeAllLoans(Process& process) {
  while (process.attachment().loans().Take(0)) {
  }
}

THOLE_OPERATION({.component = "registry",
                 .name = "Release",
                 .shape = "without a free loan",
                 .make_world = SixEntries,
                 .prepare =
                     [](World&, Process& victim, Process&, Random&) {
                       Make(victim, "a");
                       (void)MemberOf(victim).registry().Remove("a");
                       TakeAllLoans(victim);
                     },
                 .act = ActRelease});

THOLE_OPERATION({.component = "registry",
                 .name = "Sweep",
                 .shape = "an orphan",
                 .make_world = SixEntries,
                 .prepare =
                     [](World&, Process& victim, Process& other, Random&) {
                       Make(other, "a");
                       (void)MemberOf(other).registry().Remove("a");
                       TakeAllLoans(other);
                       MemberOf(other).handles().clear();
                       (void)victim;
                     },
                 .act = [](World&, Process& victim,
                           Random&) { (void)MemberOf(victim).registry().Sweep(); },
                 .check = [](World&, Process& survivor,
                             Findings& findings) { CheckGone(survivor, "a", findings); }});

THOLE_OPERATION({.component = "registry",
                 .name = "Sweep",
                 .shape = "a postponed release",
                 .make_world = SixEntries,
                 .prepare =
                     [](World&, Process& victim, Process& other, Random&) {
                       Make(victim, "a");
                       (void)MemberOf(other).registry().Remove("a");
                       shm::Call call = other.attachment().Enter(1);
                       shm::OwnerLockData& lock = MemberOf(other).data().lock;
                       if (Lock(call.lane(), lock, Deadline::Never()) != shm::LockResult::kOk)
                         return;
                       MemberOf(victim).handles().clear();
                       Unlock(call.lane(), lock);
                     },
                 .act = [](World&, Process& victim,
                           Random&) { (void)MemberOf(victim).registry().Sweep(); }});

THOLE_OPERATION({.component = "registry",
                 .name = "WaitFor",
                 .shape = "a name that never comes",
                 .make_world = SixEntries,
                 .act = [](World&, Process& victim, Random&) {
                   const Deadline soon = In(victim, std::chrono::milliseconds(1));
                   (void)MemberOf(victim).registry().WaitFor("a", soon);
                 }});

THOLE_OPERATION({.component = "registry",
                 .name = "Publish",
                 .shape = "a queue",
                 .make_world = SixEntries,
                 .act = [](World&, Process& victim, Random&) { MakeQueue(victim, "q"); },
                 .check =
                     [](World&, Process& survivor, Findings& findings) {
                       const NamedPlace place = MemberOf(survivor).PlaceOf("q");
                       if (place.offset != 0 && (place.kind != shm::kQueuePlace ||
                                                 place.size_bytes != 64 || place.type_id != 5)) {
                         findings.Add("whole", 0, "another queue");
                       }
                     }});

THOLE_OPERATION({.component = "registry",
                 .name = "Hold",
                 .shape = "a queue of another",
                 .make_world = SixEntries,
                 .prepare = [](World&, Process&, Process& other,
                               Random&) { MakeQueue(other, "q"); },
                 .act =
                     [](World&, Process& victim, Random&) {
                       const NamedPlace place = AnyQueue(victim);
                       WithLane(victim, [&](SharedBufferRegistry& registry, shm::Lane& lane) {
                         (void)registry.Hold(lane, place, Deadline::Never());
                       });
                     }});

THOLE_OPERATION(
    {.component = "registry",
     .name = "ReleaseHold",
     .shape = "of a live queue",
     .make_world = SixEntries,
     .prepare = [](World&, Process& victim, Process&, Random&) { MakeQueue(victim, "q"); },
     .act = [](World&, Process& victim, Random&) { ReleaseQueue(victim, AnyQueue(victim)); },
     .check =
         [](World&, Process& survivor, Findings& findings) {
           if (MemberOf(survivor).PlaceOf("q").offset == 0) {
             findings.Add("there", 0, "a persistent queue went");
           }
         }});

THOLE_OPERATION({.component = "registry",
                 .name = "ReleaseHold",
                 .shape = "the last one of a removed queue",
                 .make_world = SixEntries,
                 .prepare = [](World&, Process& victim, Process&,
                               Random&) { RemoveQueue(victim, MakeQueue(victim, "q")); },
                 .act = [](World&, Process& victim,
                           Random&) { ReleaseQueue(victim, AnyQueue(victim)); }});

THOLE_OPERATION(
    {.component = "registry",
     .name = "MarkRemoved",
     .shape = "a queue that another holds",
     .make_world = SixEntries,
     .prepare = [](World&, Process&, Process& other, Random&) { MakeQueue(other, "q"); },
     .act = [](World&, Process& victim, Random&) { RemoveQueue(victim, AnyQueue(victim)); }});

THOLE_OPERATION({.component = "registry",
                 .name = "MarkRemoved",
                 .shape = "a queue that nobody holds",
                 .make_world = SixEntries,
                 .prepare = [](World&, Process&, Process& other,
                               Random&) { ReleaseQueue(other, MakeQueue(other, "q")); },
                 .act = [](World&, Process& victim,
                           Random&) { RemoveQueue(victim, AnyQueue(victim)); }});

void LeaveDying(Process& process) {
  const NamedPlace place = MakeQueue(process, "q");
  RemoveQueue(process, place);
  ReleaseQueue(process, place);
}

THOLE_OPERATION({.component = "registry",
                 .name = "ClaimDying",
                 .shape = "a queue that nobody drains",
                 .make_world = SixEntries,
                 .prepare = [](World&, Process&, Process& other, Random&) { LeaveDying(other); },
                 .act =
                     [](World&, Process& victim, Random&) {
                       const NamedPlace place = AnyQueue(victim);
                       WithLane(victim, [&](SharedBufferRegistry& registry, shm::Lane& lane) {
                         (void)registry.ClaimDying(lane, place);
                       });
                     }});

THOLE_OPERATION({.component = "registry",
                 .name = "FreeEntry",
                 .shape = "a drained queue",
                 .make_world = SixEntries,
                 .prepare =
                     [](World&, Process& victim, Process& other, Random&) {
                       LeaveDying(other);
                       const NamedPlace place = AnyQueue(victim);
                       WithLane(victim, [&](SharedBufferRegistry& registry, shm::Lane& lane) {
                         (void)registry.ClaimDying(lane, place);
                       });
                     },
                 .act =
                     [](World&, Process& victim, Random&) {
                       const NamedPlace place = AnyQueue(victim);
                       WithLane(victim, [&](SharedBufferRegistry& registry, shm::Lane& lane) {
                         const LoanRef loan =
                             victim.attachment().TakeLoan(lane, nullptr, Deadline::Now());
                         if (!loan) return;  // other operations of a pair or row keep all
                         if (registry.FreeEntry(lane, place, loan) != NameResult::kOk) return;
                         (void)MemberOf(victim).heap().FreeLoan(lane, loan, Deadline::Never());
                         victim.attachment().loans().Return(loan);
                       });
                     }});

// A dead holder: what its repair does is the operation, and the repairer dies in it.
THOLE_OPERATION({.component = "registry",
                 .name = "Repair",
                 .shape = "a holder of removed buffers and queues",
                 .make_world = SixEntries,
                 .prepare =
                     [](World& world, Process& victim, Process& other, Random&) {
                       auto dying = shm::testing::MakeSuccessor(world, other);
                       if (dying == nullptr || !dying->attachment().Join("dying").ok()) return;
                       Make(*dying, "a");
                       Make(*dying, "b", Lifetime::kEphemeral);
                       Make(*dying, "c");
                       (void)MemberOf(other).registry().Remove("a");
                       RemoveQueue(*dying, MakeQueue(*dying, "q"));
                       shm::testing::Kill(*dying);
                       (void)victim;
                     },
                 .act = [](World&, Process& victim, Random&) { victim.attachment().RepairAll(); },
                 .check =
                     [](World&, Process& survivor, Findings& findings) {
                       CheckGone(survivor, "a", findings);
                       CheckGone(survivor, "b", findings);
                       CheckThere(survivor, "c", findings);
                     }});

}  // namespace
}  // namespace thole::registry::testing
