// Several real processes on one heap: at once, and while they are being killed.
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "test_heap.h"
#include "thole/shm/testing/scenario.h"

namespace thole::alloc {
namespace {

using shm::BlockResult;
using shm::Deadline;
using shm::LoanRef;
using shm::testing::Random;
using testing::AuditText;
using testing::ControlOf;
using testing::Fork;
using testing::MakeSegment;
using testing::Party;
using testing::Reopen;
using testing::WaitFor;
using testing::WasKilled;

// Payload: the block's own offset at both ends, and a guess of nobody's in between.
void Mark(Party& party, LoanRef loan) {
  const uint64_t offset = loan->block;
  std::byte* bytes = party.Bytes(loan);
  const uint64_t size = party.heap->BlockSize(offset);
  std::memcpy(bytes, &offset, 8);
  std::memcpy(bytes + size - 8, &offset, 8);
}
bool IsMarked(Party& party, LoanRef loan) {
  const uint64_t offset = loan->block;
  const uint64_t size = party.heap->BlockSize(offset);
  if (size < 16) return false;
  std::byte* bytes = party.Bytes(loan);
  return std::memcmp(bytes, &offset, 8) == 0 && std::memcmp(bytes + size - 8, &offset, 8) == 0;
}

uint64_t RandomSize(Random& random) {
  return 1 + random.Below(uint64_t{1} << (4 + random.Below(9)));
}

// One random step on a process's own loans. False = something cannot be.
bool Step(Party& party, std::vector<LoanRef>& loans, Random& random) {
  const uint64_t choice = random.Below(10);
  if (loans.empty() || (choice < 5 && loans.size() < 90)) {
    const LoanRef loan = party.Allocate(RandomSize(random), 16 << random.Below(5));
    if (!loan) return party.last == BlockResult::kFull || party.last == BlockResult::kOk;
    Mark(party, loan);
    loans.push_back(loan);
    return true;
  }
  const size_t at = random.Below(loans.size());
  if (!IsMarked(party, loans[at])) return false;
  if (choice == 9) {
    if (party.heap->Shrink(party.lane(), loans[at], 16, Deadline::Never()) != BlockResult::kOk) {
      return false;
    }
    Mark(party, loans[at]);
    return true;
  }
  if (party.Free(loans[at]) != BlockResult::kOk) return false;
  loans[at] = loans.back();
  loans.pop_back();
  return true;
}

// Cells through which live processes hand blocks to one another.
constexpr uint32_t kCells = 32;
struct CellsData {
  shm::Word64 cells[kCells];
};
shm::RootRequest CellsRoot() {
  shm::RootRequest root{};
  root.component = shm::ComponentId::kShm;
  root.kind = 9;
  root.size_bytes = sizeof(CellsData);
  root.align = shm::kCacheLine;
  root.name = "cells";
  return root;
}
CellsData& CellsOf(const shm::Segment& segment) {
  return *segment.view().At<CellsData>(segment.Root(shm::ComponentId::kShm, 9)->offset);
}

TEST(HeapProcesses, FreeWhatOthersAllocatedAndLeaveNothing) {
  constexpr int kProcesses = 3;
  constexpr int kSteps = 15'000;
  Party parent(MakeSegment(testing::kSmall, {CellsRoot()}));
  std::vector<pid_t> children;
  for (int i = 0; i < kProcesses; ++i) {
    children.push_back(Fork([&, i] {
      Party party(Reopen(parent.segment()), "worker");
      Random random(100 + i);
      std::vector<LoanRef> loans;
      CellsData& cells = CellsOf(party.segment());
      for (int step = 0; step < kSteps; ++step) {
        if (!Step(party, loans, random)) _exit(1);
        if (loans.empty() || !random.Chance(2)) continue;
        // Swap a block with whatever lies in a cell: the next free is of another's block.
        LoanRef loan = loans.back();
        loan->block = cells.cells[random.Below(kCells)].exchange(loan->block);
        if (loan->block != 0) {
          if (!IsMarked(party, loan)) _exit(2);
          continue;
        }
        party.attachment->loans().Return(loan);
        loans.pop_back();
      }
      for (LoanRef loan : loans) {
        if (!IsMarked(party, loan) || party.Free(loan) != BlockResult::kOk) _exit(3);
      }
      party.call.End();
      _exit(party.attachment->Leave(Deadline::Never()).ok() ? 0 : 4);
    }));
  }
  for (pid_t child : children) EXPECT_EQ(WaitFor(child), 0);
  uint64_t in_cells = 0;
  for (shm::Word64& cell : CellsOf(parent.segment()).cells) {
    if (cell.load() == 0) continue;
    ++in_cells;
    EXPECT_EQ(parent.heap->FreeFrom(parent.lane(), cell, 0, Deadline::Never()), BlockResult::kOk);
  }
  EXPECT_GT(in_cells, 0u);
  EXPECT_EQ(parent.used(), 0u);
  EXPECT_EQ(AuditText(parent.segment()), "none");
}

TEST(HeapThreads, ShareAHeapThroughTheirOwnLanes) {
  auto attachment = shm::Attachment::Make(
      MakeSegment({.size_bytes = 1 << 20, .participants_max = 2, .lanes_per_participant = 3}));
  ASSERT_TRUE(attachment.ok());
  auto heap = PersistentTlsfAllocator::Open(*attachment);
  ASSERT_TRUE(heap.ok());
  ASSERT_TRUE((*attachment)->Join("threads").ok());
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {  // more than lanes: some share lane 0
    threads.emplace_back([&, i] {
      Random random(i);
      for (int step = 0; step < 5'000; ++step) {
        shm::Call call = (*attachment)->Enter(1);
        const LoanRef loan = (*attachment)->TakeLoan(call.lane(), heap->get(), Deadline::Never());
        if ((*heap)->AllocateTo(call.lane(), loan, RandomSize(random), 16, Deadline::Never()) !=
                BlockResult::kOk ||
            (*heap)->FreeLoan(call.lane(), loan, Deadline::Never()) != BlockResult::kOk) {
          ++wrong;
        }
        (*attachment)->loans().Return(loan);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ((*heap)->Statistics().used_bytes, 0u);
  EXPECT_EQ(AuditText((*attachment)->segment()), "none");
}

// Whether all slots but the survivor's are free; repairs what is dead.
bool AllRepaired(Party& survivor) {
  survivor.attachment->RepairAll();
  for (uint32_t slot = 0; slot < survivor.segment().participants_max(); ++slot) {
    if (slot == survivor.attachment->slot()) continue;
    const uint64_t word = survivor.segment().Slot(slot)->word;
    if (shm::SlotWord::Unpack(word).state != shm::SlotState::kFree) return false;
  }
  return true;
}

class Storm {
 public:
  static constexpr int kWorkers = 4;
  static constexpr size_t kStepsBytes = 4096;

  explicit Storm(Party& survivor)
      : survivor_(survivor),
        steps_(static_cast<std::atomic<uint64_t>*>(mmap(
            nullptr, kStepsBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}

  ~Storm() {
    for (pid_t child : children_) {
      if (child == 0) continue;
      kill(child, SIGKILL);
      WaitFor(child);
    }
    munmap(steps_, kStepsBytes);
  }
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  void Start(int worker) {
    steps_[worker] = 0;
    children_[worker] = Fork([&] {
      Party party(Reopen(survivor_.segment()), "worker");
      Random random(getpid());
      std::vector<LoanRef> loans;
      for (;;) {
        if (!Step(party, loans, random)) _exit(1);
        steps_[worker].fetch_add(1, std::memory_order_relaxed);  // only paces the killer
      }
    });
  }

  // Kills a worker once it has done `steps` steps; 0 = wherever it is in attaching.
  void Kill(int worker, uint64_t steps) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (steps_[worker].load(std::memory_order_relaxed) < steps) {  // only paces the killer
      ASSERT_LT(std::chrono::steady_clock::now(), end) << "a worker does not get on";
      sched_yield();
    }
    kill(children_[worker], SIGKILL);
    ASSERT_TRUE(WasKilled(WaitFor(std::exchange(children_[worker], 0))));
    ++kills;
  }

  // Whether the dead left the heap locked: then their kill fell into a move.
  void LookAtTheLock() {
    if (ControlOf(survivor_.segment()).lock.word.load() != 0) ++locks_held;
  }

  Party& survivor_;
  std::atomic<uint64_t>* steps_;
  pid_t children_[kWorkers] = {};
  int kills = 0;
  int locks_held = 0;
};

TEST(HeapStorm, NothingLeaksAndNothingHangsHoweverManyAreKilled) {
  // Seats to spare: a repair may be put off while somebody alive was preempted inside of the heap.
  Party survivor(MakeSegment({.size_bytes = 1 << 20, .participants_max = 32}));
  Storm storm(survivor);
  Random random(7);
  int rounds = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  // On a busy machine a round takes seconds: longer then, never fewer kills.
  for (; std::chrono::steady_clock::now() < end || storm.kills <= 50; ++rounds) {
    for (int i = 0; i < Storm::kWorkers; ++i) storm.Start(i);
    for (int i = 0; i < 12; ++i) {
      const int worker = static_cast<int>(random.Below(Storm::kWorkers));
      storm.Kill(worker, random.Chance(8) ? 0 : random.Below(400));
      if (HasFatalFailure()) return;
      if (random.Chance(2)) survivor.attachment->RepairAll();  // else the others must
      storm.Start(worker);
    }
    for (int i = 0; i < Storm::kWorkers; ++i) storm.Kill(i, random.Below(400));
    if (HasFatalFailure()) return;
    storm.LookAtTheLock();
    ASSERT_TRUE(AllRepaired(survivor));
    ASSERT_EQ(survivor.used(), 0u) << "after " << storm.kills << " kills";
    ASSERT_EQ(AuditText(survivor.segment()), "none") << "after " << storm.kills << " kills";
  }
  std::printf("%d kills in %d rounds, the heap left locked after %d of them\n", storm.kills, rounds,
              storm.locks_held);
  EXPECT_GT(storm.kills, 50);
}

TEST(HeapRepair, WaitsForALiveHolderOfTheLockOnlyShortlyAndIsDoneLater) {
  Party survivor(MakeSegment());
  const int status = WaitFor(Fork([&] {
    Party victim(Reopen(survivor.segment()), "victim");
    for (int i = 0; i < 200; ++i) victim.Allocate(300);
    kill(getpid(), SIGKILL);
  }));
  ASSERT_TRUE(WasKilled(status));
  const uint64_t held = survivor.used();
  ASSERT_GT(held, 60'000u);
  shm::OwnerLockData& lock = ControlOf(survivor.segment()).lock;
  ASSERT_EQ(shm::TryLock(survivor.lane(), lock), shm::LockResult::kOk);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(survivor.attachment->RepairAll(), 0u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_EQ(survivor.used(), held);
  shm::Unlock(survivor.lane(), lock);
  EXPECT_EQ(survivor.attachment->RepairAll(), 1u);
  EXPECT_EQ(survivor.used(), 0u);
  EXPECT_EQ(AuditText(survivor.segment()), "none");
}

// What each part of a repair has to free while somebody alive holds the heap's lock.
struct Leftover {
  const char* name;
  void (*leave)(Party& victim);
};
const Leftover kLeftovers[] = {
    {"Intent",
     [](Party& victim) {
       const LoanRef loan = victim.Allocate(100);
       victim.lane().data().block_intent = testing::IntentFor(victim.segment(), loan);
       loan->block = 0;
     }},
    {"Reserved",
     [](Party& victim) {
       EXPECT_EQ(
           victim.heap->AllocateTo(victim.lane(), LoanRef(&victim.lane().data().reserved, 0, 0),
                                   sizeof(shm::LoanChunkData), 64, Deadline::Never()),
           BlockResult::kOk);
     }},
    {"Chunk",
     [](Party& victim) {
       std::vector<LoanRef> loans;
       for (uint32_t i = 0; i <= shm::kInlineLoans; ++i) loans.push_back(victim.Allocate(100));
       for (const LoanRef& loan : loans) victim.Free(loan);
     }},
};

class HeapRepairOf : public ::testing::TestWithParam<Leftover> {};

TEST_P(HeapRepairOf, IsDoneLaterWhenALiveOneHoldsTheLock) {
  Party survivor(
      MakeSegment({.size_bytes = 1 << 20, .participants_max = 4, .lanes_per_participant = 1}));
  const int status = WaitFor(Fork([&] {
    Party victim(Reopen(survivor.segment()), "victim");
    GetParam().leave(victim);
    kill(getpid(), SIGKILL);
  }));
  ASSERT_TRUE(WasKilled(status));
  const uint64_t held = survivor.used();
  ASSERT_GT(held, 0u);
  shm::OwnerLockData& lock = ControlOf(survivor.segment()).lock;
  ASSERT_EQ(shm::TryLock(survivor.lane(), lock), shm::LockResult::kOk);
  EXPECT_EQ(survivor.attachment->RepairAll(), 0u);
  EXPECT_EQ(survivor.used(), held) << "nobody may free behind the lock";
  shm::Unlock(survivor.lane(), lock);
  EXPECT_EQ(survivor.attachment->RepairAll(), 1u) << "the slot was kept for it";
  EXPECT_EQ(survivor.used(), 0u);
  EXPECT_EQ(AuditText(survivor.segment()), "none");
}

INSTANTIATE_TEST_SUITE_P(Each, HeapRepairOf, ::testing::ValuesIn(kLeftovers),
                         [](const auto& leftover) { return leftover.param.name; });

TEST(HeapRepair, EndsThoughTheChunkChainBitesItsOwnTail) {
  Party survivor(MakeSegment());
  const int status = WaitFor(Fork([&] {
    Party victim(Reopen(survivor.segment()), "victim");
    shm::LaneData& lane = victim.lane().data();
    const LoanRef reserved(&lane.reserved, 0, 0);
    const auto take = [&] {
      EXPECT_EQ(victim.heap->AllocateTo(victim.lane(), reserved, sizeof(shm::LoanChunkData), 64,
                                        Deadline::Never()),
                BlockResult::kOk);
      return lane.reserved.block.load();
    };
    const uint64_t chunk = take();
    std::memset(victim.Bytes(reserved), 0, sizeof(shm::LoanChunkData));
    victim.attachment->view().At<shm::LoanChunkData>(chunk)->next = chunk;
    lane.first_chunk = chunk;
    lane.reserved.block = 0;
    take();  // not in the chain, which has no end to look for it
    kill(getpid(), SIGKILL);
  }));
  ASSERT_TRUE(WasKilled(status));
  EXPECT_EQ(survivor.attachment->RepairAll(), 1u);
  EXPECT_EQ(survivor.used(), 0u);
  EXPECT_EQ(AuditText(survivor.segment()), "none");
}

TEST(HeapRepair, LetsAnIntentGoOfABlockThatAStepHolds) {
  Party survivor(MakeSegment(testing::kSmall, {testing::KeptRoot()}));
  const int status = WaitFor(Fork([&] {
    Party victim(Reopen(survivor.segment()), "victim");
    const LoanRef loan = victim.Allocate(100);
    loan->ticket = shm::PackTicket(shm::LoanKind::kSend, 1);
    victim.lane().data().block_intent = testing::IntentFor(victim.segment(), loan);
    testing::KeptLoan(victim.segment(), 0)->block = loan->block.load();
    kill(getpid(), SIGKILL);
  }));
  ASSERT_TRUE(WasKilled(status));
  survivor.attachment->RepairAll();
  EXPECT_EQ(survivor.heap->Statistics().blocks_used, 1u) << "the step's own component decides";
}

TEST(HeapRepair, GivesBackMoreLoansThanALaneHasInlineAndTheirChunks) {
  Party survivor(
      MakeSegment({.size_bytes = 4 << 20, .participants_max = 4, .lanes_per_participant = 1}));
  const int status = WaitFor(Fork([&] {
    Party victim(Reopen(survivor.segment()), "victim");
    for (uint32_t i = 0; i < shm::kInlineLoans + 2 * shm::kChunkLoans + 9; ++i) {
      if (!victim.Allocate(100)) _exit(1);
    }
    if (victim.heap->Statistics().blocks_used != shm::kInlineLoans + 2 * shm::kChunkLoans + 9 + 3) {
      _exit(2);
    }
    kill(getpid(), SIGKILL);
  }));
  ASSERT_TRUE(WasKilled(status)) << status;
  ASSERT_GT(survivor.used(), 60'000u);
  EXPECT_EQ(survivor.attachment->RepairAll(), 1u);
  EXPECT_EQ(survivor.used(), 0u);
  EXPECT_EQ(AuditText(survivor.segment()), "none");
}

TEST(HeapRepair, LeavesLoansWithATicketOrALeaseToTheirComponent) {
  Party survivor(MakeSegment(testing::kSmall, {testing::KeptRoot()}));
  const int status = WaitFor(Fork([&] {
    Party victim(Reopen(survivor.segment()), "victim");
    // Held by a step of a queue: `kept` shows afterwards that the block is still in use.
    const LoanRef ticket = victim.Allocate(100);
    ticket->ticket = shm::PackTicket(shm::LoanKind::kSend, 1);
    const LoanRef lease = victim.Allocate(100);
    lease->lease = shm::PackLease(4096, 1, 0);
    testing::KeptLoan(victim.segment(), 0)->block = ticket->block.load();
    testing::KeptLoan(victim.segment(), 1)->block = lease->block.load();
    victim.Allocate(100);
    kill(getpid(), SIGKILL);
  }));
  ASSERT_TRUE(WasKilled(status));
  survivor.attachment->RepairAll();
  EXPECT_EQ(survivor.heap->Statistics().blocks_used, 2u);
}

}  // namespace
}  // namespace thole::alloc
