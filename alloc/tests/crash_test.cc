// Death at every named step: a forked child runs an operation and is killed by SIGKILL at the k-th
// time it passes the step, for every k; a survivor repairs and audits.
#include <gmock/gmock.h>

#include "shapes.h"
#include "test_heap.h"
#include "thole/shm/crash_point.h"

namespace thole::alloc {
namespace {

using shm::Deadline;
using shm::LaneData;
using shm::LoanRef;
using testing::AuditText;
using testing::Fork;
using testing::KeptLoan;
using testing::Party;
using testing::Reopen;
using testing::Shape;
using testing::WaitFor;
using testing::WasKilled;

// One lane: 64 loans, then chunks.
constexpr shm::SegmentOptions kOneLane{
    .size_bytes = uint64_t{1} << 20, .participants_max = 4, .lanes_per_participant = 1};

// In the child: die at the `left`-th passage of `name`.
struct Trap {
  const char* name = nullptr;
  int left = 0;
};
Trap trap;
void Spring(const char* step) {
  if (std::string_view(step) != trap.name || --trap.left > 0) return;
  kill(getpid(), SIGKILL);
}
void Arm(const char* name, int passage) {
  trap = {name, passage};
  shm::crash_point_hook = Spring;
}

struct Scene {
  const char* text;
  std::function<void(Party&)> prepare;
  std::function<void(Party&)> act;
  HeapOptions options = testing::kNoMagazines;
};

void Fill(Party& party, const Shape& shape) { testing::Build(*party.heap, party.lane(), shape); }

Scene AllocateKept(const char* text, Shape shape, uint64_t size, uint64_t align) {
  return {text, [=](Party& party) { Fill(party, shape); },
          [=](Party& party) {
            static_cast<void>(party.heap->AllocateTo(party.lane(), KeptLoan(party.segment(), 14),
                                                     size, align, Deadline::Never()));
          }};
}
Scene FreeKept(const char* text, Shape shape, uint32_t index) {
  return {text, [=](Party& party) { Fill(party, shape); },
          [=](Party& party) {
            shm::Word64& holder = KeptLoan(party.segment(), index)->block;
            static_cast<void>(party.heap->FreeFrom(party.lane(), holder, 0, Deadline::Never()));
          }};
}
// Blocks of up to 4 KiB go to a magazine, longer ones to the lists.
Scene FreeBusyLoan(const char* text, Shape shape, uint32_t index, uint32_t batch) {
  return {text,
          [=](Party& party) { Fill(party, shape); },
          [=](Party& party) {
            const LoanRef loan = KeptLoan(party.segment(), index);
            loan->lease = loan->ticket = loan->where = 5;
            static_cast<void>(party.heap->FreeLoan(party.lane(), loan, Deadline::Never()));
          },
          {.batch = batch}};
}
// The lane's magazines hold some blocks of each of two sizes.
void Cache(Party& party) {
  std::vector<LoanRef> loans;
  for (int i = 0; i < 6; ++i) loans.push_back(party.Allocate(i % 2 == 0 ? 100 : 700));
  for (const LoanRef loan : loans) party.Free(loan);
}
Scene WithCached(const char* text, std::function<void(Party&)> act) {
  return {text, Cache, std::move(act), {.batch = 4}};
}
Scene ShrinkKept(const char* text, Shape shape) {
  return {text, [=](Party& party) { Fill(party, shape); },
          [=](Party& party) {
            static_cast<void>(party.heap->Shrink(party.lane(), KeptLoan(party.segment(), 0), 100,
                                                 Deadline::Never()));
          }};
}
Scene GrowKept(const char* text, Shape shape, uint64_t size) {
  return {text, [=](Party& party) { Fill(party, shape); },
          [=](Party& party) {
            static_cast<void>(party.heap->Grow(party.lane(), KeptLoan(party.segment(), 0), size,
                                               Deadline::Never()));
          }};
}

// Everything at once that a repair of alloc has to do.
void HoldMuch(Party& party, bool linked, bool loan_too) {
  std::vector<LoanRef> loans;
  for (int i = 0; i < 70; ++i) loans.push_back(i % 9 == 0 ? party.Allocate(100) : party.Take());
  LaneData& lane = party.lane().data();
  lane.block_intent = testing::IntentFor(party.segment(), loans[9]);
  if (!loan_too) loans[9]->block = 0;
  static_cast<void>(party.heap->AllocateTo(party.lane(), LoanRef(&lane.reserved, 0, 0),
                                           sizeof(shm::LoanChunkData), 64, Deadline::Never()));
  if (!linked) return;
  const uint64_t chunk = lane.reserved.block;
  auto* data = party.attachment->view().At<shm::LoanChunkData>(chunk);
  data->next = lane.first_chunk.load();
  for (shm::LoanData& loan : data->loans) {
    loan.block = loan.ticket = loan.where = loan.lease = 0;
  }
  lane.first_chunk = chunk;
}

std::vector<Scene> Scenes() {
  return {
      AllocateKept("splits the one free block", {}, 100, 16),
      AllocateKept("takes a list's only block", {{17, 3}, {0}}, 256, 16),
      AllocateKept("leaves a gap and a tail", {{9}}, 300, 1024),
      FreeKept("between blocks in use", {{9, 9, 9}}, 1),
      FreeKept("joins both", {{9, 12, 9, 9}, {0, 2}}, 1),
      FreeKept("joins its predecessor", {{9, 9, 9}, {0}}, 1),
      FreeBusyLoan("into a magazine", {{9, 12, 9, 9}, {0, 2}}, 1, 4),
      FreeBusyLoan("to the lists", {{9, 12, 9, 9}, {0, 2}}, 1, 0),
      WithCached("takes from a magazine", [](Party& party) { party.Allocate(100); }),
      WithCached("overflows a magazine",
                 [](Party& party) {
                   std::vector<LoanRef> loans;
                   for (int i = 0; i < 10; ++i) loans.push_back(party.Allocate(100));
                   for (const LoanRef loan : loans) party.Free(loan);
                 }),
      WithCached("leaves with full magazines",
                 [](Party& party) {
                   party.call.End();
                   static_cast<void>(party.attachment->Leave(Deadline::Never()));
                 }),
      ShrinkKept("before a block in use", {{40, 9}}),
      ShrinkKept("before a free block", {{40, 20, 9}, {1}}),
      GrowKept("into the free block behind it", {{10, 40, 9}, {1}}, 400),
      GrowKept("over all of the free block behind it", {{10, 9, 9}, {1}}, 290),
      {"takes a chunk of loans",
       [](Party& party) {
         for (uint32_t i = 0; i < shm::kInlineLoans; ++i) party.Take();
       },
       [](Party& party) { party.Allocate(100); }},
      {"leaves with much", [](Party& party) { HoldMuch(party, false, true); },
       [](Party& party) {
         party.call.End();
         static_cast<void>(party.attachment->Leave(Deadline::Never()));
       }},
      {"leaves with a linked chunk", [](Party& party) { HoldMuch(party, true, false); },
       [](Party& party) {
         party.call.End();
         static_cast<void>(party.attachment->Leave(Deadline::Never()));
       }},
  };
}

class AllocCrash : public ::testing::TestWithParam<const char*> {
 protected:
  // Repairs all dead ones, then all must be whole. Kept loans are the only holders left.
  void ExpectRepairable(Party& survivor) {
    survivor.attachment->RepairAll();
    for (uint32_t slot = 0; slot < survivor.segment().participants_max(); ++slot) {
      if (slot == survivor.attachment->slot()) continue;
      const uint64_t word = survivor.segment().Slot(slot)->word;
      ASSERT_EQ(shm::SlotWord::Unpack(word).state, shm::SlotState::kFree) << "slot " << slot;
    }
    ASSERT_EQ(AuditText(survivor.segment()), "none");
    uint64_t kept = 0;
    for (uint32_t i = 0; i < testing::kKept; ++i) {
      const LoanRef loan = KeptLoan(survivor.segment(), i);
      if (loan->block.load() != 0) {
        kept += survivor.heap->BlockSize(loan->block.load()) + kUnitBytes;
      }
    }
    ASSERT_EQ(survivor.used(), kept);
    ASSERT_TRUE(survivor.Allocate(5000));
  }
};

TEST_P(AllocCrash, ASurvivorRepairsAfterEveryPassageOfTheStep) {
  int deaths = 0;
  for (const Scene& scene : Scenes()) {
    for (int passage = 1;; ++passage) {
      SCOPED_TRACE(std::string(scene.text) + ", passage " + std::to_string(passage));
      ASSERT_LT(passage, 500);
      Party survivor(testing::MakeSegment(kOneLane, {testing::KeptRoot()}));
      const int status = WaitFor(Fork([&] {
        Party victim(Reopen(survivor.segment()), "victim", scene.options);
        scene.prepare(victim);
        Arm(GetParam(), passage);
        scene.act(victim);
        _exit(0);
      }));
      if (!WasKilled(status)) {
        ASSERT_EQ(status, 0);
        break;
      }
      ++deaths;
      ExpectRepairable(survivor);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(deaths, 0) << "no scene passes this step";
}

TEST_P(AllocCrash, ASecondSurvivorRepairsAfterARepairerDied) {
  for (const bool linked : {false, true}) {
    for (int passage = 1;; ++passage) {
      SCOPED_TRACE((linked ? "linked chunk, passage " : "passage ") + std::to_string(passage));
      ASSERT_LT(passage, 500);
      Party survivor(testing::MakeSegment(kOneLane, {testing::KeptRoot()}));
      const int victim = WaitFor(Fork([&] {
        Party party(Reopen(survivor.segment()), "victim");
        HoldMuch(party, linked, !linked);
        kill(getpid(), SIGKILL);
      }));
      ASSERT_TRUE(WasKilled(victim));
      const int repairer = WaitFor(Fork([&] {
        Party party(Reopen(survivor.segment()), nullptr);
        Arm(GetParam(), passage);
        party.attachment->RepairAll();
        _exit(0);
      }));
      ExpectRepairable(survivor);
      if (HasFatalFailure()) return;
      if (!WasKilled(repairer)) {
        ASSERT_EQ(repairer, 0);
        break;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    EveryStep, AllocCrash,
    ::testing::Values("alloc.allocate.1", "alloc.allocate.2", "alloc.allocate.3",
                      "alloc.allocate.4", "alloc.allocate.5", "alloc.free.1", "alloc.free.2",
                      "alloc.free.3", "alloc.free.4", "alloc.free.5", "alloc.shrink.1",
                      "alloc.shrink.2", "alloc.shrink.3", "alloc.shrink.4", "alloc.grow.1",
                      "alloc.grow.2", "alloc.grow.3", "alloc.grow.4", "alloc.intent.1",
                      "alloc.intent.2", "alloc.reserved.1", "alloc.reserved.2", "alloc.loan.1",
                      "alloc.chain.1", "alloc.empty.1", "alloc.take.1", "alloc.take.2",
                      "alloc.take.3", "alloc.take.4", "alloc.take.5", "alloc.put.1", "alloc.put.2",
                      "alloc.put.3", "alloc.put.4", "alloc.put.5", "alloc.put.6", "log.1", "log.2",
                      "log.3", "log.4", "lock.1", "lock.2", "lock.3", "chunk.1", "chunk.2",
                      "chunk.3", "chunk.4"),
    [](const auto& parameter) {
      std::string name = parameter.param;
      std::replace(name.begin(), name.end(), '.', '_');
      return name;
    });

// The most that any operation logged: the table in edit.h is a proof, this looks for the contrary.
int logged = 0;
int logged_most = 0;
void CountLogged(const char* step) {
  if (std::string_view(step) == "log.2") logged_most = std::max(logged_most, ++logged);
  if (std::string_view(step) == "log.4") logged = 0;
}

TEST(AllocLog, NoOperationLogsMoreThanNineteenWords) {
  for (const Scene& scene : Scenes()) {
    Party party(testing::MakeSegment(kOneLane, {testing::KeptRoot()}), "party", scene.options);
    scene.prepare(party);
    logged = 0;
    shm::crash_point_hook = CountLogged;
    scene.act(party);
    shm::crash_point_hook = nullptr;
  }
  EXPECT_LE(logged_most, 19);
  EXPECT_GE(logged_most, 12);
}

}  // namespace
}  // namespace thole::alloc
