// Every call that changes the heap, on every shape of heap: a cross product for the stepper.
//
// A shape is built by `other` on the kept loans from the seed, so that each seed is another heap of
// that shape. The victim then does one call on it.
#include <algorithm>
#include <string>
#include <vector>

#include "heap_world.h"
#include "thole/shm/testing/die_within.h"

namespace thole::alloc::testing {
namespace {

using shm::BlockResult;
using shm::Call;
using shm::Deadline;
using shm::Findings;
using shm::testing::Operation;
using shm::testing::Process;
using shm::testing::Random;
using shm::testing::World;

constexpr uint32_t kBlocksMax = 14;  // kept loans that a shape may use: not kResult, not kRest

/// Sizes of all classes: each power of two as likely as the next.
uint64_t AnySize(Random& random) {
  const uint64_t power = uint64_t{16} << random.Below(8);
  return power + random.Below(power);
}

void Take(HeapProcess& me, Call& call, uint32_t index, uint64_t size, uint64_t align = 16) {
  if (me.heap().AllocateTo(call.lane(), me.Kept(index), size, align, Deadline::Never()) ==
      BlockResult::kOk) {
    FillKept(me.segment(), me.heap(), index, 512);
  }
}
void Give(HeapProcess& me, Call& call, uint32_t index) {
  if (me.Kept(index)->block.load() != 0) (void)FreeKept(me.heap(), call.lane(), index);
}
/// What is left goes to the last kept loan, but for `spare` bytes.
void TakeTheRest(HeapProcess& me, Call& call, uint64_t spare = 0) {
  const uint64_t largest = me.heap().Statistics().largest_free_bytes;
  if (largest > spare + 2 * kUnitBytes) {
    Take(me, call, kRest, (largest - spare - kUnitBytes) / kUnitBytes * kUnitBytes);
  }
}
void TakeMany(HeapProcess& me, Call& call, Random& random) {
  for (uint32_t i = 0; i < kBlocksMax; ++i) Take(me, call, i, AnySize(random));
}

void WorkAtRandom(HeapProcess& me, Call& call, Random& random, uint64_t calls) {
  for (; calls > 0; --calls) {
    const auto index = static_cast<uint32_t>(random.Below(kBlocksMax));
    if (me.Kept(index)->block.load() == 0) {
      Take(me, call, index, AnySize(random), uint64_t{16} << random.Below(7));
    } else if (random.Chance(4)) {
      (void)me.heap().Shrink(call.lane(), me.Kept(index), 1 + random.Below(200), Deadline::Never());
    } else {
      Give(me, call, index);
    }
  }
}

struct HeapShape {
  const char* text;
  void (*build)(HeapProcess& me, Call& call, Random& random);
};

constexpr HeapShape kHeaps[] = {
    {"fresh", [](HeapProcess&, Call&, Random&) {}},
    {"of many classes",
     [](HeapProcess& me, Call& call, Random& random) { TakeMany(me, call, random); }},
    {"every second block freed",
     [](HeapProcess& me, Call& call, Random& random) {
       TakeMany(me, call, random);
       for (uint32_t i = static_cast<uint32_t>(random.Below(2)); i < kBlocksMax; i += 2) {
         Give(me, call, i);
       }
     }},
    {"nearly full",
     [](HeapProcess& me, Call& call, Random& random) {
       TakeMany(me, call, random);
       TakeTheRest(me, call, 48 + random.Below(30) * 16);
     }},
    {"full",
     [](HeapProcess& me, Call& call, Random& random) {
       TakeMany(me, call, random);
       TakeTheRest(me, call);
     }},
    {"full but for one block",
     [](HeapProcess& me, Call& call, Random& random) {
       TakeMany(me, call, random);
       TakeTheRest(me, call);
       Give(me, call, static_cast<uint32_t>(random.Below(kBlocksMax)));
     }},
    {"equal blocks, some freed",
     [](HeapProcess& me, Call& call, Random& random) {
       const uint64_t size = AnySize(random) % 2048 + 16;
       for (uint32_t i = 0; i < kBlocksMax; ++i) Take(me, call, i, size);
       for (int i = 0; i < 6; ++i) Give(me, call, static_cast<uint32_t>(random.Below(kBlocksMax)));
     }},
    {"aligned blocks, some freed",
     [](HeapProcess& me, Call& call, Random& random) {
       for (uint32_t i = 0; i < kBlocksMax; ++i) {
         Take(me, call, i, AnySize(random) % 1024 + 1, uint64_t{16} << random.Below(9));
       }
       for (int i = 0; i < 5; ++i) Give(me, call, static_cast<uint32_t>(random.Below(kBlocksMax)));
     }},
    {"after a random history",
     [](HeapProcess& me, Call& call, Random& random) {
       WorkAtRandom(me, call, random, 20 + random.Below(60));
     }},
};

/// Some kept block, the seed says which; kBlocksMax when there is none.
uint32_t AnyBlock(HeapProcess& me, Random& random) {
  const auto first = static_cast<uint32_t>(random.Below(kBlocksMax));
  for (uint32_t i = 0; i < kBlocksMax; ++i) {
    const uint32_t index = (first + i) % kBlocksMax;
    if (me.Kept(index)->block.load() != 0) return index;
  }
  return kBlocksMax;
}

/// The kept block that lies lowest or highest in the segment.
uint32_t OuterBlock(HeapProcess& me, bool last) {
  uint32_t found = kBlocksMax;
  for (uint32_t i = 0; i < kBlocksMax; ++i) {
    const uint64_t block = me.Kept(i)->block.load();
    if (block == 0) continue;
    if (found == kBlocksMax || (block > me.Kept(found)->block.load()) == last) found = i;
  }
  return found;
}

void Free(HeapProcess& me, Call& call, uint32_t index) {
  if (index == kBlocksMax) return;
  (void)me.heap().FreeFrom(call.lane(), me.Kept(index)->block, 0, Deadline::Now());
}

void Allocate(HeapProcess& me, Call& call, uint64_t size, uint64_t align) {
  (void)me.heap().AllocateTo(call.lane(), me.Kept(kResult), size, align, Deadline::Now());
}

struct HeapAct {
  const char* name;
  const char* text;
  void (*act)(HeapProcess& me, Call& call, Random& random);
};

constexpr HeapAct kActs[] = {
    {"AllocateTo", "any size",
     [](HeapProcess& me, Call& call, Random& random) { Allocate(me, call, AnySize(random), 16); }},
    {"AllocateTo", "aligned",
     [](HeapProcess& me, Call& call, Random& random) {
       Allocate(me, call, AnySize(random) % 3000 + 1, uint64_t{32} << random.Below(8));
     }},
    {"AllocateTo", "exactly the largest free block",
     [](HeapProcess& me, Call& call, Random&) {
       const uint64_t largest = me.heap().Statistics().largest_free_bytes;
       if (largest > kUnitBytes) Allocate(me, call, largest - kUnitBytes, 16);
     }},
    {"FreeFrom", "any block",
     [](HeapProcess& me, Call& call, Random& random) { Free(me, call, AnyBlock(me, random)); }},
    {"FreeFrom", "the first block",
     [](HeapProcess& me, Call& call, Random&) { Free(me, call, OuterBlock(me, false)); }},
    {"FreeFrom", "the last block",
     [](HeapProcess& me, Call& call, Random&) { Free(me, call, OuterBlock(me, true)); }},
    {"FreeLoan", "any block",
     [](HeapProcess& me, Call& call, Random& random) {
       const uint32_t index = AnyBlock(me, random);
       if (index != kBlocksMax) {
         (void)me.heap().FreeLoan(call.lane(), me.Kept(index), Deadline::Now());
       }
     }},
    {"TryFreeLoan", "any block",
     [](HeapProcess& me, Call& call, Random& random) {
       const uint32_t index = AnyBlock(me, random);
       if (index != kBlocksMax) (void)me.heap().TryFreeLoan(call.lane(), me.Kept(index));
     }},
    {"Shrink", "any block to any size",
     [](HeapProcess& me, Call& call, Random& random) {
       const uint32_t index = AnyBlock(me, random);
       if (index == kBlocksMax) return;
       const uint64_t size = 1 + random.Below(me.heap().BlockSize(me.Kept(index)->block.load()));
       (void)me.heap().Shrink(call.lane(), me.Kept(index), size, Deadline::Now());
     }},
    {"Grow", "any block by up to 400 bytes",
     [](HeapProcess& me, Call& call, Random& random) {
       const uint32_t index = AnyBlock(me, random);
       if (index == kBlocksMax) return;
       testing::ForgetBeyondTheEnd(me.segment(), me.heap(), index);
       const uint64_t size = me.heap().BlockSize(me.Kept(index)->block.load());
       (void)me.heap().Grow(call.lane(), me.Kept(index), size + random.Below(400), Deadline::Now());
     }},
};

Operation Make(const HeapAct& act, const HeapShape& heap, bool magazines, bool after_a_death) {
  Operation operation;
  operation.component = "alloc";
  operation.name = act.name;
  operation.shape = std::string(act.text) + ", heap " + heap.text;
  if (after_a_death) operation.shape += ", one dead in it";
  if (magazines) operation.shape += ", magazines";
  operation.make_world = magazines ? MakeMagazineWorld : MakeHeapWorld;
  operation.prepare = [heap, after_a_death](World& world, Process&, Process& other,
                                            Random& random) {
    {
      Call call = other.attachment().Enter(1);
      heap.build(Of(other), call, random);
    }
    if (!after_a_death) return;
    shm::testing::DieWithin(world, other, random, [&](Process& dying) {
      Call call = dying.attachment().Enter(1);
      WorkAtRandom(Of(dying), call, random, 3);
    });
  };
  operation.act = [act](World&, Process& victim, Random& random) {
    Call call = victim.attachment().Enter(1);
    act.act(Of(victim), call, random);
  };
  return operation;
}

std::vector<Operation> EveryActOnEveryHeap() {
  std::vector<Operation> all;
  for (const HeapAct& act : kActs) {
    for (const bool magazines : {false, true}) {
      for (const HeapShape& heap : kHeaps) all.push_back(Make(act, heap, magazines, false));
      all.push_back(Make(act, kHeaps[std::size(kHeaps) - 1], magazines, true));
    }
  }
  return all;
}
THOLE_OPERATIONS(EveryActOnEveryHeap());

}  // namespace
}  // namespace thole::alloc::testing
