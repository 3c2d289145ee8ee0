// Every call of `shm` that changes the segment, after every kind of past: a cross product for the
// stepper. What others left behind - loans, transactions, seats in the middle of anything - comes
// from the seed.
#include <string>
#include <vector>

#include "harness_world.h"
#include "thole/shm/testing/die_within.h"
#include "thole/shm/transaction.h"

namespace thole::shm::testing {
namespace {

ShmProcess& Of(Process& process) { return static_cast<ShmProcess&>(process); }

void MoveUnder(Process& process, uint64_t lock, Random& random, bool commit) {
  Call call = process.attachment().Enter(1);
  GuardedData& guarded = Of(process).data().guarded[lock];
  if (Lock(call.lane(), guarded.lock, Deadline::Now()) != LockResult::kOk) return;
  Move(call.lane(), guarded, random, commit);
  Unlock(call.lane(), guarded.lock);
}

void TakeBlock(Process& process) {
  Call call = process.attachment().Enter(1);
  BlockHeap& heap = Of(process).heap();
  const LoanRef loan = process.attachment().TakeLoan(call.lane(), &heap, Deadline::Now());
  if (!loan) return;
  if (heap.AllocateTo(call.lane(), loan, 100, 8, Deadline::Now()) != BlockResult::kOk) {
    process.attachment().loans().Return(loan);
  }
}

void UseUpLoans(Process& process) {
  while (process.attachment().loans().Take(0)) {
  }
}

void WaitAndWake(Process& process) {
  WaitListData& list = Of(process).data().waiters;
  Platform& platform = process.attachment().platform();
  const WaitTicket ticket = Enlist(list, process.attachment().slot());
  Sleep(platform, list, ticket, platform.NowNs() + 1000);
  NotifyOne(platform, list);
}

/// A few calls of all kinds; whoever dies in them may leave anything.
void DoAnything(Process& process, Random& random, uint64_t calls) {
  for (; calls > 0; --calls) {
    switch (random.Below(6)) {
      case 0:
      case 1:
        MoveUnder(process, random.Below(kLocks), random, !random.Chance(3));
        break;
      case 2:
        TakeBlock(process);
        break;
      case 3:
        UseUpLoans(process);
        TakeBlock(process);
        break;
      case 4:
        process.attachment().RepairAll();
        break;
      default:
        WaitAndWake(process);
    }
  }
}

struct Past {
  const char* text;
  void (*build)(World& world, Process& other, Random& random);
};

void Die(World& world, Process& other, Random& random, uint64_t calls) {
  DieWithin(world, other, random,
            [&](Process& dying) { DoAnything(dying, random, 1 + random.Below(calls)); });
}

constexpr Past kPasts[] = {
    {"nobody else there", [](World&, Process&, Random&) {}},
    {"others worked", [](World&, Process& other, Random& random) { DoAnything(other, random, 6); }},
    {"one died",
     [](World& world, Process& other, Random& random) { Die(world, other, random, 4); }},
    {"one died with its loans used up",
     [](World& world, Process& other, Random& random) {
       DieWithin(world, other, random, [&](Process& dying) {
         UseUpLoans(dying);
         TakeBlock(dying);
         MoveUnder(dying, random.Below(kLocks), random, false);
       });
     }},
    {"one died while it left",
     [](World& world, Process& other, Random& random) {
       DieWithin(world, other, random, [&](Process& dying) {
         TakeBlock(dying);
         (void)dying.attachment().Leave(Deadline::Now());
       });
     }},
    // The slot of the first may be in REPAIR, with any of the steps done.
    {"one died, and one while it repaired that",
     [](World& world, Process& other, Random& random) {
       DieWithin(world, other, random,
                 {[&](Process& dying) { DoAnything(dying, random, 1 + random.Below(3)); },
                  [](Process& dying) { dying.attachment().RepairAll(); }});
     }},
    {"three died",
     [](World& world, Process& other, Random& random) {
       const auto anything = [&](Process& dying) { DoAnything(dying, random, 2); };
       DieWithin(world, other, random, {anything, anything, anything});
     }},
};

struct ShmAct {
  const char* name;
  bool joins;
  void (*act)(Process& victim, Random& random);
};
constexpr ShmAct kActs[] = {
    {"Join", true, [](Process& victim, Random&) { (void)victim.attachment().Join("victim"); }},
    {"Leave", false,
     [](Process& victim, Random&) { (void)victim.attachment().Leave(Deadline::Now()); }},
    {"Abandon", false, [](Process& victim, Random&) { victim.attachment().Abandon(); }},
    {"Enter", false, [](Process& victim, Random&) { Call call = victim.attachment().Enter(1); }},
    {"Lock", false,
     [](Process& victim, Random& random) {
       Call call = victim.attachment().Enter(1);
       OwnerLockData& lock = Of(victim).data().guarded[random.Below(kLocks)].lock;
       if (Lock(call.lane(), lock, In(victim, std::chrono::milliseconds(1))) == LockResult::kOk) {
         Unlock(call.lane(), lock);
       }
     }},
    {"TryLock", false,
     [](Process& victim, Random& random) {
       Call call = victim.attachment().Enter(1);
       OwnerLockData& lock = Of(victim).data().guarded[random.Below(kLocks)].lock;
       if (TryLock(call.lane(), lock) == LockResult::kOk) Unlock(call.lane(), lock);
     }},
    {"Commit", false,
     [](Process& victim, Random& random) {
       MoveUnder(victim, random.Below(kLocks), random, true);
     }},
    {"Rollback", false,
     [](Process& victim, Random& random) {
       MoveUnder(victim, random.Below(kLocks), random, false);
     }},
    {"TakeLoan", false, [](Process& victim, Random&) { TakeBlock(victim); }},
    {"TakeLoan", false,
     [](Process& victim, Random&) {  // with a further chunk
       UseUpLoans(victim);
       TakeBlock(victim);
     }},
    {"RepairAll", false, [](Process& victim, Random&) { victim.attachment().RepairAll(); }},
    {"RepairSlot", false,
     [](Process& victim, Random&) {
       for (uint32_t slot = 0; slot < 4; ++slot) victim.attachment().RepairSlot(slot);
     }},
    {"ReleaseLocksOf", false,
     [](Process& victim, Random&) {
       for (uint32_t slot = 0; slot < 4; ++slot) victim.attachment().ReleaseLocksOf(slot);
     }},
    {"Enlist", false, [](Process& victim, Random&) { WaitAndWake(victim); }},
};

std::vector<Operation> EveryActAfterEveryPast() {
  std::vector<Operation> all;
  const ShmAct* before = nullptr;
  for (const ShmAct& act : kActs) {
    const bool again = before != nullptr && std::string_view(before->name) == act.name;
    before = &act;
    for (const Past& past : kPasts) {
      Operation operation;
      operation.component = "shm";
      operation.name = act.name;
      operation.shape = std::string(again ? "with a chunk, " : "") + past.text;
      operation.make_world = [] { return std::make_unique<ShmWorld>(); };
      operation.prepare = [act, past](World& world, Process& victim, Process& other,
                                      Random& random) {
        if (!act.joins) DoAnything(victim, random, random.Below(4));
        past.build(world, other, random);
      };
      operation.act = [act](World&, Process& victim, Random& random) { act.act(victim, random); };
      operation.joins_itself = act.joins;
      all.push_back(std::move(operation));
    }
  }
  return all;
}
THOLE_OPERATIONS(EveryActAfterEveryPast());

}  // namespace
}  // namespace thole::shm::testing
