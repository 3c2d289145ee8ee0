// What the magazines promise: no lock where none is needed, nothing kept from others for long.
#include <set>
#include <thread>

#include "test_heap.h"
#include "thole/alloc/magazine_data.h"

namespace thole::alloc {
namespace {

using shm::BlockResult;
using shm::Deadline;
using shm::LoanRef;
using testing::AuditText;
using testing::ControlOf;
using testing::Fork;
using testing::MakeSegment;
using testing::Party;
using testing::Reopen;
using testing::WaitFor;
using testing::WasKilled;

class Magazine : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(AuditText(party_.segment()), "none"); }
  HeapStatistics Now() const { return party_.heap->Statistics(); }
  void AllocateAndFree(uint64_t size) {
    const LoanRef loan = party_.Allocate(size);
    ASSERT_TRUE(loan);
    EXPECT_EQ(party_.Free(loan), BlockResult::kOk);
  }

  Party party_{MakeSegment()};
};

TEST_F(Magazine, TheBlockThatWasFreedLastIsGivenFirst) {
  const LoanRef a = party_.Allocate(100);
  const LoanRef b = party_.Allocate(100);
  const uint64_t first = a->block.load();
  const uint64_t second = b->block.load();
  party_.Free(a);
  party_.Free(b);
  EXPECT_EQ(party_.Allocate(100)->block.load(), second);
  EXPECT_EQ(party_.Allocate(97)->block.load(), first) << "the same number of units";
}

TEST_F(Magazine, WorksWhileSomebodyHoldsTheHeap) {
  AllocateAndFree(100);
  Party other(Reopen(party_.segment()), "other");
  ASSERT_EQ(shm::TryLock(other.lane(), ControlOf(other.segment()).lock), shm::LockResult::kOk);
  for (int i = 0; i < 100; ++i) {
    const LoanRef loan = party_.Take();
    ASSERT_EQ(party_.heap->AllocateTo(party_.lane(), loan, 100, 16, Deadline::Now()),
              BlockResult::kOk);
    ASSERT_EQ(party_.heap->TryFreeLoan(party_.lane(), loan), BlockResult::kOk);
    party_.attachment->loans().Return(loan);
  }
  shm::Unlock(other.lane(), ControlOf(other.segment()).lock);
}

// It takes more than it may keep, rather than to doom a loan; but not without end.
TEST_F(Magazine, TakesMoreWhileTheHeapIsBusyUpToALimit) {
  std::vector<LoanRef> loans;
  for (int i = 0; i < 200; ++i) loans.push_back(party_.Allocate(20));
  Party other(Reopen(party_.segment()), "other");
  ASSERT_EQ(shm::TryLock(other.lane(), ControlOf(other.segment()).lock), shm::LockResult::kOk);
  int freed = 0;
  while (party_.heap->TryFreeLoan(party_.lane(), loans[freed]) == BlockResult::kOk) ++freed;
  shm::Unlock(other.lane(), ControlOf(other.segment()).lock);
  EXPECT_GE(freed, 16);
  EXPECT_LE(freed, 64);
  for (int i = freed; i < 200; ++i) {
    EXPECT_EQ(party_.heap->TryFreeLoan(party_.lane(), loans[i]), BlockResult::kOk);
  }
  EXPECT_EQ(Now().blocks_used, 1u) << "the chunk of loans";
}

TEST_F(Magazine, WhatItHoldsCountsAsFree) {
  const uint64_t free_before = Now().free_bytes;
  AllocateAndFree(100);
  EXPECT_GT(Now().cached_bytes, 0u);
  EXPECT_EQ(Now().used_bytes, 0u);
  EXPECT_EQ(Now().blocks_used, 0u);
  EXPECT_EQ(Now().free_bytes, free_before);
  EXPECT_EQ(party_.heap->Flush(party_.lane(), Deadline::Now()), BlockResult::kOk);
  EXPECT_EQ(Now().cached_bytes, 0u);
  EXPECT_EQ(Now().largest_free_bytes, Now().heap_bytes) << "one piece again";
}

TEST_F(Magazine, RefusesASecondFree) {
  const LoanRef loan = party_.Allocate(100);
  const uint64_t block = loan->block.load();
  ASSERT_EQ(party_.heap->FreeLoan(party_.lane(), loan, Deadline::Now()), BlockResult::kOk);
  EXPECT_EQ(party_.heap->BlockSize(block), 0u);
  loan->block = block;
  EXPECT_EQ(party_.heap->FreeLoan(party_.lane(), loan, Deadline::Now()), BlockResult::kInvalid);
  EXPECT_EQ(party_.heap->FreeFrom(party_.lane(), loan->block, 0, Deadline::Now()),
            BlockResult::kInvalid);
  loan->block = 0;
}

TEST_F(Magazine, GivesOutNothingThatIsNotCachedThere) {
  AllocateAndFree(100);
  AllocateAndFree(50);
  const LoanRef used = party_.Allocate(300);
  const LoanRef loan = party_.Take();
  const shm::Segment& segment = party_.segment();
  void* area = segment.LaneArea(&party_.lane().data(), shm::ComponentId::kAlloc);
  auto* data = segment.view().At<MagazinesData>(segment.view().OffsetOf(area));
  shm::Word64& head = data->heads[PlainMagazine(8)];
  const uint64_t before = head.load();
  ASSERT_NE(before, 0u);
  const auto too_short = MagazineHead::Unpack(data->heads[PlainMagazine(5)].load());
  for (const uint64_t unit : {used->block.load() / kUnitBytes - 1, uint64_t{too_short.first}}) {
    head = MagazineHead{static_cast<uint32_t>(unit), 1}.Pack();
    EXPECT_EQ(party_.heap->AllocateTo(party_.lane(), loan, 100, 16, Deadline::Now()),
              BlockResult::kCorrupt);
    EXPECT_EQ(loan->block.load(), 0u);
  }
  head = before;
}

TEST_F(Magazine, KeepsNoMoreThanItsPartOfTheHeap) {
  const uint64_t most = std::max<uint64_t>(Now().heap_bytes / 256, 64 * kUnitBytes);
  std::vector<LoanRef> loans;
  for (uint64_t size = 16; size < 4000; size += 48) loans.push_back(party_.Allocate(size));
  for (const LoanRef loan : loans) {
    party_.Free(loan);
    EXPECT_LE(Now().cached_bytes, most + 4096);
  }
  EXPECT_GT(Now().cached_bytes, most / 4);
}

TEST_F(Magazine, BlocksOnCacheLinesAreKeptApartAndWasteNoGaps) {
  const LoanRef plain = party_.Allocate(200);
  party_.Free(plain);
  std::set<uint64_t> offsets;
  std::vector<LoanRef> loans;
  for (int i = 0; i < 50; ++i) {
    loans.push_back(party_.Allocate(200, 64));
    const uint64_t offset = loans.back()->block.load();
    EXPECT_EQ(offset % 64, 0u);
    EXPECT_TRUE(offsets.insert(offset).second);
  }
  EXPECT_LE(*offsets.rbegin() - *offsets.begin(), 56u * 256)
      << "256 bytes each, and what a refill brought";
  for (const LoanRef loan : loans) party_.Free(loan);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(party_.Allocate(200, 64)->block.load() % 64, 0u);
}

TEST_F(Magazine, AlignmentsBeyondACacheLineGoPastIt) {
  for (uint64_t align : {128, 1024, 4096}) {
    const LoanRef loan = party_.Allocate(200, align);
    EXPECT_EQ(loan->block.load() % align, 0u);
    party_.Free(loan);
  }
}

// Takes what the lists have, and leaves the magazines of everybody alone.
void TakeTheRest(Party& party) {
  for (uint64_t largest = 1; largest > 0;) {
    largest = party.heap->Statistics().largest_free_bytes;
    if (largest < 2 * kUnitBytes) break;
    ASSERT_TRUE(party.Allocate(largest - kUnitBytes));
  }
}

TEST_F(Magazine, AFullHeapTakesFromAllLanesOfTheProcess) {
  shm::Call second = party_.attachment->Enter(1);
  const LoanRef own = party_.Take();
  const LoanRef others = party_.Take();
  ASSERT_EQ(party_.heap->AllocateTo(party_.lane(), own, 500, 16, Deadline::Now()),
            BlockResult::kOk);
  ASSERT_EQ(party_.heap->AllocateTo(second.lane(), others, 900, 16, Deadline::Now()),
            BlockResult::kOk);
  ASSERT_EQ(party_.heap->FreeLoan(party_.lane(), own, Deadline::Now()), BlockResult::kOk);
  ASSERT_EQ(party_.heap->FreeLoan(second.lane(), others, Deadline::Now()), BlockResult::kOk);
  second.End();
  Party greedy(Reopen(party_.segment()), "greedy", testing::kNoMagazines);
  TakeTheRest(greedy);
  EXPECT_GT(Now().cached_bytes, 0u);
  EXPECT_TRUE(party_.Allocate(700)) << "only the magazine of the other lane has it";
  EXPECT_EQ(Now().cached_bytes, 0u);
}

TEST_F(Magazine, AFullHeapIsToldToTheOthersWhoGiveBackAtTheirNextCall) {
  Party other(Reopen(party_.segment()), "other");
  other.Free(other.Allocate(900));
  Party greedy(Reopen(party_.segment()), "greedy", testing::kNoMagazines);
  TakeTheRest(greedy);
  EXPECT_FALSE(party_.Allocate(800));
  EXPECT_EQ(party_.last, BlockResult::kFull);
  EXPECT_GT(Now().cached_bytes, 0u);
  other.heap->HearRequests(other.lane());
  EXPECT_EQ(Now().cached_bytes, 0u);
  EXPECT_TRUE(party_.Allocate(800));
}

TEST_F(Magazine, IsEmptyOnceItsParticipantLeft) {
  {
    Party other(Reopen(party_.segment()), "other");
    other.Free(other.Allocate(900));
    EXPECT_GT(Now().cached_bytes, 0u);
    other.call.End();
    EXPECT_TRUE(other.attachment->Leave(Deadline::Now()).ok());
  }
  EXPECT_EQ(Now().cached_bytes, 0u);
  EXPECT_EQ(ControlOf(party_.segment()).used.load(), 0u);
}

TEST_F(Magazine, IsEmptyOnceItsDeadParticipantWasRepaired) {
  const int status = WaitFor(Fork([&] {
    Party victim(Reopen(party_.segment()), "victim");
    for (uint64_t size : {20, 100, 900, 3000}) victim.Free(victim.Allocate(size));
    for (uint64_t size : {64, 640}) victim.Free(victim.Allocate(size, 64));
    kill(getpid(), SIGKILL);
  }));
  ASSERT_TRUE(WasKilled(status));
  EXPECT_GT(Now().cached_bytes, 0u);
  EXPECT_EQ(party_.attachment->RepairAll(), 1u);
  EXPECT_EQ(Now().cached_bytes, 0u);
  EXPECT_EQ(ControlOf(party_.segment()).used.load(), 0u);
}

// Blocks that one process allocates and another one frees do not pile up with the latter.
TEST_F(Magazine, BlocksGoRoundBetweenTwoProcesses) {
  constexpr int kRounds = 2000;
  Party other(Reopen(party_.segment()), "other");
  uint64_t most = 0;
  for (int round = 0; round < kRounds; ++round) {
    const LoanRef sent = party_.Allocate(100);
    const LoanRef received = other.Take();
    received->block = sent->block.load();
    sent->block = 0;
    party_.attachment->loans().Return(sent);
    ASSERT_EQ(other.Free(received), BlockResult::kOk);
    most = std::max(most, Now().cached_bytes);
  }
  EXPECT_LT(most, 64 * 128u);
  EXPECT_EQ(Now().used_bytes, 0u);
}

TEST_F(Magazine, EachThreadOfAProcessHasItsOwn) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      shm::Call call = party_.attachment->Enter(1);
      for (int round = 0; round < 20'000; ++round) {
        const LoanRef loan =
            party_.attachment->TakeLoan(call.lane(), party_.heap.get(), Deadline::Never());
        EXPECT_EQ(
            party_.heap->AllocateTo(call.lane(), loan, 16 + round % 7 * 40, 16, Deadline::Never()),
            BlockResult::kOk);
        EXPECT_EQ(party_.heap->FreeLoan(call.lane(), loan, Deadline::Never()), BlockResult::kOk);
        party_.attachment->loans().Return(loan);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Now().used_bytes, 0u);
}

TEST(MagazineOptions, BatchesHaveALimitAndZeroMeansNone) {
  auto attachment = shm::Attachment::Make(MakeSegment());
  ASSERT_TRUE(attachment.ok());
  const auto refused = PersistentTlsfAllocator::Open(*attachment, {.batch = 33}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  Party none(MakeSegment(), "none", {.batch = 0});
  none.Free(none.Allocate(100));
  EXPECT_EQ(none.heap->Statistics().cached_bytes, 0u);
  Party one(MakeSegment(), "one", {.batch = 1});
  for (int i = 0; i < 9; ++i) one.Free(one.Allocate(100));
  EXPECT_EQ(one.heap->Statistics().cached_bytes, 128u) << "one block";
}

}  // namespace
}  // namespace thole::alloc
