// The operations of alloc for the stepper and the simulator.
#include "heap_world.h"
#include "thole/shm/testing/scenario.h"

namespace thole::alloc {
namespace {

using shm::BlockResult;
using shm::Call;
using shm::Deadline;
using shm::Findings;
using shm::LaneData;
using shm::LoanRef;
using shm::testing::Operation;
using shm::testing::Process;
using shm::testing::Program;
using shm::testing::Random;
using shm::testing::World;
using testing::Build;
using testing::Busy;
using testing::FillKept;
using testing::FreeKept;
using testing::HeapProcess;
using testing::HeapWorld;
using testing::KeptLoan;
using testing::kResult;
using testing::MakeHeapWorld;
using testing::Of;
using testing::Shape;

// `Act` with a lane, on a heap of the given shape. Units grow by a random number, the same for all
// blocks of a shape, so that each seed meets other lists.
Operation Make(const char* name, const char* text, Shape shape,
               std::function<void(HeapProcess&, Call&, Random&)> act) {
  Operation operation;
  operation.component = "alloc";
  operation.name = name;
  operation.shape = text;
  operation.make_world = MakeHeapWorld;
  operation.alone = true;  // the kept loans are there once
  operation.prepare = [shape](World&, Process&, Process& other, Random& random) {
    Shape grown = shape;
    const auto more = static_cast<uint32_t>(random.Below(4) * 16);
    for (uint32_t& units : grown.units) units += more;
    Call call = other.attachment().Enter(1);
    Build(Of(other).heap(), call.lane(), grown);
  };
  operation.act = [act](World&, Process& victim, Random& random) {
    Call call = victim.attachment().Enter(1);
    act(Of(victim), call, random);
  };
  return operation;
}

Operation Allocate(const char* text, Shape shape, uint64_t size, uint64_t align) {
  Operation operation =
      Make("AllocateTo", text, std::move(shape), [=](HeapProcess& me, Call& call, Random& random) {
        const uint64_t asked = size == 0 ? 0 : size + random.Below(4) * 256;
        if (me.heap().AllocateTo(call.lane(), me.Kept(kResult), asked, align, Deadline::Now()) ==
            BlockResult::kOk) {
          FillKept(me.segment(), me.heap(), kResult);
        }
      });
  operation.check = [=](World&, Process& survivor, Findings& findings) {
    const uint64_t offset = Of(survivor).Kept(kResult)->block.load();
    if (offset == 0) return;
    if (Of(survivor).heap().BlockSize(offset) < size || offset % align != 0) {
      findings.Add("result", offset, "the block is not what was asked for");
    }
  };
  return operation;
}

Operation Free(const char* text, Shape shape, uint32_t index) {
  return Make("FreeFrom", text, std::move(shape), [=](HeapProcess& me, Call& call, Random&) {
    static_cast<void>(me.heap().FreeFrom(call.lane(), me.Kept(index)->block, 0, Deadline::Now()));
  });
}

// Units of the classes' first row are their own lists; 65 and 64 share one.
THOLE_OPERATION(Allocate("splits the one free block", {}, 100, 16));
THOLE_OPERATION(Allocate("takes all of a list's only block", {{17, 3}, {0}}, 256, 16));
THOLE_OPERATION(Allocate("takes the first of several", {{20, 3, 20, 3, 20, 3}, {0, 2, 4}}, 304,
                         16));
THOLE_OPERATION(Allocate("splits a hole", {{90, 3}, {0}, true}, 200, 16));
THOLE_OPERATION(Allocate("leaves a gap and a tail", {{9}}, 300, 1024));
THOLE_OPERATION(Allocate("leaves a gap in a hole", {{9, 70, 3}, {1}, true}, 100, 256));
THOLE_OPERATION(Allocate("finds the second of a list", {{33, 32, 3, 32, 32, 3}, {0, 1, 3, 4}, true},
                         1024, 16));
THOLE_OPERATION(Allocate("full heap", {{5, 5}, {0}, true}, 2000, 16));
THOLE_OPERATION(Allocate("size zero", {}, 0, 16));

THOLE_OPERATION(Free("between blocks in use", {{9, 9, 9}}, 1));
THOLE_OPERATION(Free("joins its predecessor", {{9, 9, 9}, {0}}, 1));
THOLE_OPERATION(Free("joins its successor", {{9, 9, 9}, {2}, true}, 1));
THOLE_OPERATION(Free("joins both", {{9, 12, 9, 9}, {0, 2}}, 1));
THOLE_OPERATION(Free("joins two of one list, its first", {{9, 9, 9, 3, 9, 3}, {4, 2, 0}}, 1));
THOLE_OPERATION(Free("joins two of one list, its last", {{9, 9, 9, 3, 9, 3}, {0, 2, 4}}, 1));
THOLE_OPERATION(Free("joins one in the middle of a list", {{9, 3, 9, 9, 3, 9, 3}, {0, 2, 5}}, 3));
THOLE_OPERATION(Free("the last block of a full heap", {{9}, {}, true}, testing::kRest));
THOLE_OPERATION(Free("no block", {}, 1));

Operation FreeTheFirstOfAChain() {
  Operation operation = Make("FreeFrom", "the first of a chain", {}, {});
  operation.prepare = [](World&, Process&, Process& other, Random&) {
    HeapProcess& me = Of(other);
    Call call = me.attachment().Enter(1);
    me.Kept(0)->where = testing::kChain;
    uint64_t first = 0;
    for (uint32_t i : {0, 1, 2}) {
      const LoanRef loan = me.Take(call);
      static_cast<void>(
          me.heap().AllocateTo(call.lane(), loan, 100 + i * 32, 16, Deadline::Never()));
      testing::NextOf(me.segment(), loan->block)->store(first);
      first = loan->block;
      me.Kept(0)->block = first;
      loan->block = 0;
      me.attachment().loans().Return(loan);
    }
  };
  operation.act = [](World&, Process& victim, Random&) {
    HeapProcess& me = Of(victim);
    Call call = me.attachment().Enter(1);
    shm::Word64& first = me.Kept(0)->block;
    static_cast<void>(me.heap().FreeFrom(call.lane(), first, *testing::NextOf(me.segment(), first),
                                         Deadline::Now()));
  };
  return operation;
}
THOLE_OPERATION(FreeTheFirstOfAChain());

Operation FreeBusyLoan(const char* name, bool try_only) {
  Operation operation = Make(
      name, "with ticket, where and lease", {{9, 12, 9}, {0}, true},
      [=](HeapProcess& me, Call& call, Random&) {
        Busy(me.Kept(1));
        static_cast<void>(try_only ? me.heap().TryFreeLoan(call.lane(), me.Kept(1))
                                   : me.heap().FreeLoan(call.lane(), me.Kept(1), Deadline::Now()));
      });
  operation.check = [](World&, Process& survivor, Findings& findings) {
    const LoanRef loan = Of(survivor).Kept(1);
    if (loan->block.load() != 0) return;
    if ((loan->ticket.load() | loan->where.load() | loan->lease.load()) != 0) {
      findings.Add("result", 0, "the block is gone, but the loan's other words are not");
    }
  };
  return operation;
}
THOLE_OPERATION(FreeBusyLoan("FreeLoan", false));
THOLE_OPERATION(FreeBusyLoan("TryFreeLoan", true));

Operation ShrinkTo(const char* text, Shape shape) {
  return Make("Shrink", text, std::move(shape), [](HeapProcess& me, Call& call, Random& random) {
    const uint64_t size = 1 + random.Below(300);
    static_cast<void>(me.heap().Shrink(call.lane(), me.Kept(0), size, Deadline::Now()));
  });
}
THOLE_OPERATION(ShrinkTo("before a block in use", {{40, 9}}));
THOLE_OPERATION(ShrinkTo("before a free block", {{40, 20, 9}, {1}}));
THOLE_OPERATION(ShrinkTo("before the sentinel", {{40}, {}, true}));
THOLE_OPERATION(ShrinkTo("nothing to give back", {{2, 9}}));

THOLE_OPERATION(Make("Grow", "into the free block behind it", {{40, 20, 9}, {1}},
                     [](HeapProcess& me, Call& call, Random& random) {
                       static_cast<void>(me.heap().Grow(call.lane(), me.Kept(0),
                                                        640 + random.Below(330), Deadline::Now()));
                     }));

// What a participant can leave behind, all at once: every inline loan, a chunk with loans in it, a
// chunk that is not linked yet, and an intent whose block a loan holds, too.
void HoldMuch(HeapProcess& me) {
  Call call = me.attachment().Enter(1);
  std::vector<LoanRef> loans;
  for (uint32_t i = 0; i < 2 * shm::kInlineLoans + 5; ++i) loans.push_back(me.Take(call));
  for (uint32_t i = 0; i < loans.size(); i += 19) {
    if (!loans[i]) return;
    static_cast<void>(me.heap().AllocateTo(call.lane(), loans[i], 40 + i, 16, Deadline::Never()));
  }
  const LoanRef last = loans.back();
  if (!last) return;  // a hostile peer: no chunk was to be had
  static_cast<void>(me.heap().AllocateTo(call.lane(), last, 99, 16, Deadline::Never()));
  LaneData& lane = call.lane().data();
  lane.block_intent.store(testing::IntentFor(me.segment(), loans[0]),
                          std::memory_order_release);  // as alloc's take.1 does
  static_cast<void>(me.heap().AllocateTo(call.lane(), LoanRef(&lane.reserved, 0, 0),
                                         sizeof(shm::LoanChunkData), 64, Deadline::Never()));
}

Operation DieWithMuch() {
  Operation operation = Make("AllocateTo", "by one who holds loans, chunks and an intent", {}, {});
  operation.prepare = [](World&, Process& victim, Process&, Random&) { HoldMuch(Of(victim)); };
  operation.act = [](World&, Process& victim, Random&) {
    HeapProcess& me = Of(victim);
    Call call = me.attachment().Enter(1);
    static_cast<void>(
        me.heap().AllocateTo(call.lane(), me.Kept(kResult), 64, 16, Deadline::Never()));
  };
  return operation;
}
THOLE_OPERATION(DieWithMuch());

Operation TakeTheNextChunk() {
  Operation operation = Make("AllocateTo", "for the next loan chunk", {}, {});
  operation.prepare = [](World&, Process& victim, Process&, Random&) {
    HeapProcess& me = Of(victim);
    Call call = me.attachment().Enter(1);
    for (uint32_t i = 0; i < 2 * shm::kInlineLoans; ++i) me.Take(call);
  };
  operation.act = [](World&, Process& victim, Random&) {
    HeapProcess& me = Of(victim);
    Call call = me.attachment().Enter(1);
    const LoanRef loan = me.Take(call);
    static_cast<void>(me.heap().AllocateTo(call.lane(), loan, 64, 16, Deadline::Never()));
  };
  return operation;
}
THOLE_OPERATION(TakeTheNextChunk());

// --- the simulator's programs ---

// A few random calls on loans of its own and on kept loans that only this process uses.
void WorkAtRandom(Process& process, uint32_t index, Random& random) {
  HeapProcess& me = Of(process);
  std::vector<LoanRef> loans;
  for (int i = 0; i < 6; ++i) {
    Call call = me.attachment().Enter(1);
    const uint64_t choice = random.Below(9);
    const auto number = index * 4 + static_cast<uint32_t>(random.Below(4));
    const LoanRef kept = me.Kept(number);
    const uint64_t size = 1 + random.Below(900);
    if (choice < 3) {
      const LoanRef loan = me.Take(call);
      if (!loan) continue;  // a hostile peer: no chunk was to be had
      static_cast<void>(
          me.heap().AllocateTo(call.lane(), loan, size, 16 << random.Below(4), Deadline::Never()));
      loans.push_back(loan);
    } else if (choice < 5 && !loans.empty()) {
      const LoanRef loan = loans.back();
      if (loan->block.load() == 0) continue;
      const BlockResult result = random.Chance(2)
                                     ? me.heap().TryFreeLoan(call.lane(), loan)
                                     : me.heap().FreeLoan(call.lane(), loan, Deadline::Never());
      if (result != BlockResult::kOk) continue;
      me.attachment().loans().Return(loan);
      loans.pop_back();
    } else if (choice == 5 && !loans.empty()) {
      static_cast<void>(me.heap().Shrink(call.lane(), loans.back(), 10, Deadline::Never()));
    } else if (choice == 8) {
      me.heap().HearRequests(call.lane());
    } else if (kept->block.load() == 0) {
      if (me.heap().AllocateTo(call.lane(), kept, size, 16, Deadline::Never()) ==
          BlockResult::kOk) {
        FillKept(me.segment(), me.heap(), number, 40);
      }
    } else {
      static_cast<void>(FreeKept(me.heap(), call.lane(), number));
    }
  }
}

Program RandomWork(const char* name, uint32_t processes, Shape shape, bool magazines = true) {
  Program program;
  program.component = "alloc";
  program.name = name;
  program.processes = processes;
  program.make_world = magazines ? testing::MakeMagazineWorld : MakeHeapWorld;
  program.prepare = [shape](World&, Process& setup, Random&) {
    Call call = setup.attachment().Enter(1);
    Build(Of(setup).heap(), call.lane(), shape);
  };
  program.body = [](World&, Process& process, uint32_t index, Random& random) {
    WorkAtRandom(process, index, random);
  };
  return program;
}
THOLE_PROGRAM(RandomWork("two processes", 2, {}));
THOLE_PROGRAM(RandomWork("two processes, lists only", 2, {}, false));
THOLE_PROGRAM(RandomWork("three processes", 3, {{9, 9, 20, 20, 9, 9}, {0, 2, 4}}));
THOLE_PROGRAM(RandomWork("almost full", 3, {{30, 9, 30, 9, 60, 9}, {0, 2, 4}, true}));
THOLE_PROGRAM(RandomWork("almost full, lists only", 3, {{30, 9, 30, 9, 60, 9}, {0, 2, 4}, true},
                         false));

// One of them may die with all that a participant can leave behind.
Program DieWithLoans() {
  Program program = RandomWork("with chunks of loans", 2, {});
  program.body = [](World&, Process& process, uint32_t index, Random& random) {
    if (index == 0) HoldMuch(Of(process));
    WorkAtRandom(process, index, random);
  };
  return program;
}
THOLE_PROGRAM(DieWithLoans());

// Two processes, one call each, on blocks that lie next to one another: all orders of them can be
// run through.
class NeighbourWorld final : public testing::HeapWorld {
 public:
  std::vector<LoanRef> loans[2];
};

enum class Small : uint8_t { kAllocate, kFree, kTryFree, kShrink };
constexpr const char* kSmallNames[] = {"AllocateTo", "FreeLoan", "TryFreeLoan", "Shrink"};

void DoSmall(HeapProcess& me, Small what, LoanRef mine) {
  Call call = me.attachment().Enter(1);
  const Deadline deadline = Deadline::Never();
  if (what == Small::kAllocate) {
    const LoanRef loan = me.Take(call);
    if (loan) static_cast<void>(me.heap().AllocateTo(call.lane(), loan, 70, 16, deadline));
  } else if (what == Small::kFree) {
    static_cast<void>(me.heap().FreeLoan(call.lane(), mine, deadline));
  } else if (what == Small::kTryFree) {
    static_cast<void>(me.heap().TryFreeLoan(call.lane(), mine));
  } else {
    static_cast<void>(me.heap().Shrink(call.lane(), mine, 10, deadline));
  }
}

Program TwoSmall(Small first, Small second) {
  Program program;
  program.component = "alloc";
  program.shares_only_image = true;
  program.name = std::string("two small ") + kSmallNames[static_cast<int>(first)] + " + " +
                 kSmallNames[static_cast<int>(second)];
  program.processes = 2;
  program.make_world = [] { return std::make_unique<NeighbourWorld>(); };
  program.prepare_joined = [](World& world, const std::vector<Process*>& processes, Random&) {
    for (uint32_t i = 0; i < 6; ++i) {  // by turns, so that neighbours belong to the other
      HeapProcess& me = Of(*processes[i % 2]);
      Call call = me.attachment().Enter(1);
      const LoanRef loan = me.Take(call);
      static_cast<void>(me.heap().AllocateTo(call.lane(), loan, 200, 16, Deadline::Never()));
      static_cast<NeighbourWorld&>(world).loans[i % 2].push_back(loan);
    }
  };
  program.body = [first, second](World& world, Process& process, uint32_t index, Random&) {
    const LoanRef mine = static_cast<NeighbourWorld&>(world).loans[index][1];
    DoSmall(Of(process), index == 0 ? first : second, mine);
  };
  return program;
}
#define ALLOC_TWO(first, second) THOLE_PROGRAM(TwoSmall(Small::first, Small::second))
ALLOC_TWO(kAllocate, kAllocate);
ALLOC_TWO(kAllocate, kFree);
ALLOC_TWO(kAllocate, kTryFree);
ALLOC_TWO(kAllocate, kShrink);
ALLOC_TWO(kFree, kFree);
ALLOC_TWO(kFree, kTryFree);
ALLOC_TWO(kFree, kShrink);
ALLOC_TWO(kTryFree, kTryFree);
ALLOC_TWO(kTryFree, kShrink);
ALLOC_TWO(kShrink, kShrink);

}  // namespace
}  // namespace thole::alloc
