// The operations of the magazines for the stepper and the simulator.
#include "heap_world.h"
#include "thole/shm/testing/scenario.h"

namespace thole::alloc::testing {
namespace {

using shm::Call;
using shm::Deadline;
using shm::LoanRef;
using shm::testing::Operation;
using shm::testing::Process;
using shm::testing::Random;
using shm::testing::World;

/// `blocks` blocks of `size` bytes in the victim's magazine: a refill brings some, too.
struct Stock {
  uint32_t blocks;
  uint64_t size = 100;
  uint64_t align = 16;
};

// A loan of a segment that nothing else uses.
void Fill(HeapProcess& me, Call& call, const Stock& stock) {
  std::vector<LoanRef> loans;
  for (uint32_t i = 0; i < stock.blocks; ++i) {
    loans.push_back(me.Take(call));
    if (!loans.back()) return;  // a hostile peer: no chunk was to be had
    (void)me.heap().AllocateTo(call.lane(), loans.back(), stock.size, stock.align,
                               Deadline::Never());
  }
  for (const LoanRef loan : loans) {
    if (me.heap().FreeLoan(call.lane(), loan, Deadline::Never()) == shm::BlockResult::kOk) {
      me.attachment().loans().Return(loan);
    }
  }
}

using Act = void (*)(HeapProcess& me, Call& call, Random& random);

Operation Make(const char* name, const char* text, Stock stock, Act act) {
  Operation operation;
  operation.component = "alloc";
  operation.name = name;
  operation.shape = text;
  operation.make_world = MakeMagazineWorld;
  operation.alone = true;  // the kept loans are there once
  operation.prepare = [stock](World&, Process& victim, Process& other, Random&) {
    {  // blocks of somebody else, so that what is flushed has neighbours in use
      Call call = other.attachment().Enter(1);
      Build(Of(other).heap(), call.lane(), {{9, 9, 30, 9}, {1}});
    }
    Call call = victim.attachment().Enter(1);
    Fill(Of(victim), call, stock);
  };
  operation.act = [act](World&, Process& victim, Random& random) {
    Call call = victim.attachment().Enter(1);
    act(Of(victim), call, random);
  };
  return operation;
}

void Allocate(HeapProcess& me, Call& call, uint64_t size, uint64_t align) {
  (void)me.heap().AllocateTo(call.lane(), me.Kept(kResult), size, align, Deadline::Now());
}
void TakeAll(HeapProcess& me, Call& call) {
  const uint64_t largest = me.heap().Statistics().largest_free_bytes;
  (void)me.heap().AllocateTo(call.lane(), me.Kept(kRest), largest - kUnitBytes, 16,
                             Deadline::Now());
}
void AllocateHundred(HeapProcess& me, Call& call, Random&) { Allocate(me, call, 100, 16); }

THOLE_OPERATION(Make("AllocateTo", "from a magazine", {3}, AllocateHundred));
THOLE_OPERATION(Make("AllocateTo", "the last of a magazine", {1}, AllocateHundred));
THOLE_OPERATION(Make("AllocateTo", "an empty magazine is refilled", {0}, AllocateHundred));
THOLE_OPERATION(Make("AllocateTo", "on cache lines, from a magazine", {3, 150, 64},
                     [](HeapProcess& me, Call& call, Random&) { Allocate(me, call, 150, 64); }));
THOLE_OPERATION(Make("AllocateTo", "past a magazine, too large for one", {3},
                     [](HeapProcess& me, Call& call, Random&) { Allocate(me, call, 5000, 16); }));

void FreeBusy(HeapProcess& me, Call& call, uint32_t index) {
  Busy(me.Kept(index));
  (void)me.heap().FreeLoan(call.lane(), me.Kept(index), Deadline::Now());
}
constexpr uint64_t kNine = 8 * kUnitBytes;     // bytes of the kept blocks of 9 units
constexpr uint64_t kThirty = 29 * kUnitBytes;  // of the one of 30

THOLE_OPERATION(Make("FreeLoan", "into an empty magazine", {0},
                     [](HeapProcess& me, Call& call, Random&) { FreeBusy(me, call, 0); }));
THOLE_OPERATION(Make("FreeLoan", "onto others in a magazine", {2, kNine},
                     [](HeapProcess& me, Call& call, Random&) { FreeBusy(me, call, 0); }));
THOLE_OPERATION(Make("FreeLoan", "into a full magazine", {4, kNine},
                     [](HeapProcess& me, Call& call, Random&) { FreeBusy(me, call, 3); }));
THOLE_OPERATION(Make("FreeLoan", "into magazines that hold as much as they may", {2, kThirty},
                     [](HeapProcess& me, Call& call, Random&) { FreeBusy(me, call, 2); }));
THOLE_OPERATION(Make("TryFreeLoan", "into a full magazine", {4, kNine},
                     [](HeapProcess& me, Call& call, Random&) {
                       Busy(me.Kept(3));
                       (void)me.heap().TryFreeLoan(call.lane(), me.Kept(3));
                     }));

THOLE_OPERATION(Make("Flush", "magazines of two sizes", {3},
                     [](HeapProcess& me, Call& call, Random&) {
                       FreeBusy(me, call, 2);
                       (void)me.heap().Flush(call.lane(), Deadline::Now());
                     }));

Operation HearRequests(const char* text, bool asked) {
  Operation operation = Make("HearRequests", text, {3}, [](HeapProcess& me, Call& call, Random&) {
    me.heap().HearRequests(call.lane());
  });
  const auto prepare = operation.prepare;
  operation.prepare = [prepare, asked](World& world, Process& victim, Process& other,
                                       Random& random) {
    prepare(world, victim, other, random);
    if (!asked) return;
    HeapProcess& me = Of(other);
    Call call = me.attachment().Enter(1);
    TakeAll(me, call);
    Allocate(me, call, 5000, 16);  // is not there: the others are asked for what they keep
  };
  return operation;
}
THOLE_OPERATION(HearRequests("when the heap was found full", true));
THOLE_OPERATION(HearRequests("when nobody asked", false));

// What is wanted is only there once the magazines of both lanes are empty.
Operation AllocateWhatIsCached() {
  Operation operation =
      Make("AllocateTo", "what only the own magazines have", {4, 200},
           [](HeapProcess& me, Call& call, Random&) { Allocate(me, call, 700, 16); });
  const auto prepare = operation.prepare;
  operation.prepare = [prepare](World& world, Process& victim, Process& other, Random& random) {
    prepare(world, victim, other, random);
    HeapProcess& me = Of(victim);
    Call first = me.attachment().Enter(1);
    {
      Call second = me.attachment().Enter(1);
      Fill(me, second, {4, 200});
    }
    TakeAll(me, first);
  };
  return operation;
}
THOLE_OPERATION(AllocateWhatIsCached());

}  // namespace
}  // namespace thole::alloc::testing
