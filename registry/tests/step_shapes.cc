// Every call that changes the registry, on every shape of table: a cross product for the stepper.
//
// In each shape "a" and "q" are the buffer and the queue that the acts ask for, where the shape has
// them; what else is there comes from the seed.
#include <string>
#include <vector>

#include "registry_world.h"
#include "thole/shm/testing/die_within.h"

namespace thole::registry::testing {
namespace {

using shm::Deadline;
using shm::Findings;
using shm::LoanRef;
using shm::NamedPlace;
using shm::NameResult;
using shm::testing::DieWithin;
using shm::testing::In;
using shm::testing::Operation;
using shm::testing::Process;
using shm::testing::Random;
using shm::testing::World;

constexpr uint32_t kEntries = 6;

void Create(Process& process, const std::string& name, Lifetime lifetime = Lifetime::kPersistent) {
  Member& member = MemberOf(process);
  (void)member.Keep(member.registry().Create(name, 100, {.lifetime = lifetime}));
}
void Remove(Process& process, const std::string& name) {
  (void)MemberOf(process).registry().Remove(name);
}
void Drop(Process& process) { MemberOf(process).handles().clear(); }

/// A name of the same chain as "a", another one for each number.
std::string Colliding(Process& process, uint64_t number) {
  const RegistryTable& table = MemberOf(process).registry().reader().table();
  const auto bucket_of = [&](const std::string& name) {
    return &table.bucket_of(HashName(PackName(name)));
  };
  for (uint64_t i = 0;; ++i) {
    const std::string name = Numbered("c", i);
    if (bucket_of(name) == bucket_of("a") && number-- == 0) return name;
  }
}

// The calls of NameSource, each in a call of its own.
template <class Use>
void OnQueue(Process& process, Use use) {
  NamedPlace place;
  SharedBufferRegistry& registry = MemberOf(process).registry();
  registry.ForEach(shm::kQueuePlace, [&](const NamedPlace& queue) { place = queue; });
  if (place.offset == 0) return;
  shm::Call call = process.attachment().Enter(1);
  use(registry, call.lane(), place);
}
void Publish(Process& process) {
  NamedPlace place;
  (void)MemberOf(process).PublishQueue("q", &place);
}
void Hold(Process& process) {
  OnQueue(process, [](SharedBufferRegistry& registry, shm::Lane& lane, const NamedPlace& place) {
    (void)registry.Hold(lane, place, Deadline::Now());
  });
}
void ReleaseHold(Process& process) {
  OnQueue(process, [](SharedBufferRegistry& registry, shm::Lane& lane, const NamedPlace& place) {
    (void)registry.ReleaseHold(lane, place);
  });
}
void MarkRemoved(Process& process) {
  OnQueue(process, [](SharedBufferRegistry& registry, shm::Lane& lane, const NamedPlace& place) {
    (void)registry.MarkRemoved(lane, place);
  });
}
void ClaimDying(Process& process) {
  OnQueue(process, [](SharedBufferRegistry& registry, shm::Lane& lane, const NamedPlace& place) {
    (void)registry.ClaimDying(lane, place);
  });
}
void FreeEntry(Process& process) {
  OnQueue(process, [&](SharedBufferRegistry& registry, shm::Lane& lane, const NamedPlace& place) {
    const LoanRef loan = process.attachment().TakeLoan(lane, nullptr, Deadline::Now());
    if (!loan) return;
    if (registry.ClaimDying(lane, place) == NameResult::kOk &&
        registry.FreeEntry(lane, place, loan) == NameResult::kOk) {
      (void)MemberOf(process).heap().FreeLoan(lane, loan, Deadline::Now());
    }
    if (loan->block.load() == 0) process.attachment().loans().Return(loan);
  });
}

void WorkAtRandom(Process& process, Random& random, uint64_t calls) {
  for (; calls > 0; --calls) {
    const std::string name = random.Chance(3) ? "a" : Colliding(process, random.Below(4));
    switch (random.Below(8)) {
      case 0:
      case 1:
        Create(process, name, random.Chance(3) ? Lifetime::kEphemeral : Lifetime::kPersistent);
        break;
      case 2:
        (void)MemberOf(process).Keep(name);
        break;
      case 3:
        Remove(process, name);
        break;
      case 4:
        Drop(process);
        break;
      case 5:
        Publish(process);
        break;
      case 6:
        random.Chance(2) ? Hold(process) : ReleaseHold(process);
        break;
      default:
        random.Chance(2) ? MarkRemoved(process) : FreeEntry(process);
    }
  }
}

struct TableShape {
  const char* text;
  void (*build)(World& world, Process& victim, Process& other, Random& random);
};

constexpr TableShape kTables[] = {
    {"empty", [](World&, Process&, Process&, Random&) {}},
    {"with both, held by the victim",
     [](World&, Process& victim, Process&, Random& random) {
       Create(victim, "a", random.Chance(2) ? Lifetime::kEphemeral : Lifetime::kPersistent);
       Publish(victim);
     }},
    {"with both, held by two",
     [](World&, Process& victim, Process& other, Random& random) {
       Create(other, "a", random.Chance(2) ? Lifetime::kEphemeral : Lifetime::kPersistent);
       Publish(other);
       (void)MemberOf(victim).Keep("a");
       Hold(victim);
     }},
    {"with both, held by nobody",
     [](World&, Process&, Process& other, Random&) {
       Create(other, "a");
       Publish(other);
       Drop(other);
       ReleaseHold(other);
     }},
    {"with both, removed and held by the victim",
     [](World&, Process& victim, Process& other, Random&) {
       Create(victim, "a");
       Publish(victim);
       Remove(other, "a");
       MarkRemoved(other);
     }},
    {"with both, removed and held by nobody",
     [](World&, Process& victim, Process&, Random&) {
       Create(victim, "a");
       Publish(victim);
       MarkRemoved(victim);
       ReleaseHold(victim);
       Remove(victim, "a");
       std::vector<LoanRef> loans;
       while (const LoanRef loan = victim.attachment().loans().Take(0)) loans.push_back(loan);
       Drop(victim);  // without a loan the block cannot go: the entry stays
       for (const LoanRef loan : loans) victim.attachment().loans().Return(loan);
     }},
    {"a chain of colliding names",
     [](World&, Process& victim, Process& other, Random& random) {
       const uint64_t at = random.Below(4);
       for (uint64_t i = 0; i < 4; ++i) {
         if (i == at) Create(victim, "a");
         Create(random.Chance(2) ? victim : other, Colliding(victim, i));
       }
       Publish(other);
     }},
    {"entries used before",
     [](World&, Process& victim, Process& other, Random& random) {
       for (uint64_t i = 0; i < kEntries; ++i) Create(other, Colliding(victim, i));
       Drop(other);
       for (uint64_t i = 0; i < kEntries; ++i) {
         if (random.Below(4) != 0) Remove(other, Colliding(victim, i));
       }
     }},
    {"full",
     [](World&, Process& victim, Process& other, Random& random) {
       const uint64_t others = kEntries - random.Below(2);
       for (uint64_t i = 0; i < others; ++i) Create(other, Colliding(victim, i));
       Create(victim, "a");
     }},
    {"after a random history",
     [](World&, Process& victim, Process& other, Random& random) {
       for (uint64_t i = 4 + random.Below(12); i > 0; --i) {
         WorkAtRandom(random.Chance(2) ? victim : other, random, 1);
       }
     }},
    {"after a random history, one dead in it",
     [](World& world, Process& victim, Process& other, Random& random) {
       for (uint64_t i = 4 + random.Below(8); i > 0; --i) {
         WorkAtRandom(random.Chance(2) ? victim : other, random, 1);
       }
       DieWithin(world, other, random, [&](Process& dying) { WorkAtRandom(dying, random, 4); });
     }},
};

struct TableAct {
  const char* name;
  const char* text;
  void (*act)(Process& victim, Random& random);
};

constexpr TableAct kActs[] = {
    {"Create", "a", [](Process& victim, Random&) { Create(victim, "a"); }},
    {"Create", "another one of the chain",
     [](Process& victim, Random& random) {
       Create(victim, Colliding(victim, random.Below(5)), Lifetime::kEphemeral);
     }},
    {"OpenOrCreate", "a",
     [](Process& victim, Random&) {
       Member& member = MemberOf(victim);
       (void)member.Keep(member.registry().OpenOrCreate("a", 100));
     }},
    {"Acquire", "a", [](Process& victim, Random&) { (void)MemberOf(victim).Keep("a"); }},
    {"Remove", "a", [](Process& victim, Random&) { Remove(victim, "a"); }},
    {"Remove", "another one of the chain",
     [](Process& victim, Random& random) { Remove(victim, Colliding(victim, random.Below(5))); }},
    {"Release", "all that it has", [](Process& victim, Random&) { Drop(victim); }},
    {"Sweep", "whatever there is",
     [](Process& victim, Random&) { (void)MemberOf(victim).registry().Sweep(Deadline::Now()); }},
    {"WaitFor", "a",
     [](Process& victim, Random&) {
       (void)MemberOf(victim).registry().WaitFor("a", In(victim, std::chrono::milliseconds(1)));
     }},
    {"Publish", "q", [](Process& victim, Random&) { Publish(victim); }},
    {"Hold", "q", [](Process& victim, Random&) { Hold(victim); }},
    {"ReleaseHold", "q", [](Process& victim, Random&) { ReleaseHold(victim); }},
    {"MarkRemoved", "q", [](Process& victim, Random&) { MarkRemoved(victim); }},
    {"ClaimDying", "q", [](Process& victim, Random&) { ClaimDying(victim); }},
    {"FreeEntry", "q", [](Process& victim, Random&) { FreeEntry(victim); }},
};

std::vector<Operation> EveryActOnEveryTable() {
  std::vector<Operation> all;
  for (const TableAct& act : kActs) {
    for (const TableShape& table : kTables) {
      Operation operation;
      operation.component = "registry";
      operation.name = act.name;
      operation.shape = std::string(act.text) + ", table " + table.text;
      operation.make_world = [] { return std::make_unique<RegistryWorld>(kEntries); };
      operation.prepare = table.build;
      operation.act = [act](World&, Process& victim, Random& random) { act.act(victim, random); };
      all.push_back(std::move(operation));
    }
  }
  return all;
}
THOLE_OPERATIONS(EveryActOnEveryTable());

}  // namespace
}  // namespace thole::registry::testing
