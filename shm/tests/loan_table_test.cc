// Loans: which are free, who shares them, what is doomed, and how a lane gets more of them.
#include "thole/shm/loan_table.h"

#include <set>
#include <thread>

#include "support/test_heap.h"
#include "support/test_segment.h"

namespace thole::shm {
namespace {

class LoanTableTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (uint32_t lane = 0; lane < 2; ++lane) loans_.SetLane(lane, &lanes_[lane]);
  }
  LaneData lanes_[2] = {};
  LoanTable loans_{2};
};

TEST_F(LoanTableTest, GivesEachLoanOnceAndPrefersTheLane) {
  std::set<LoanData*> seen;
  for (uint32_t i = 0; i < 2 * kInlineLoans; ++i) {
    const LoanRef loan = loans_.Take(1);
    ASSERT_TRUE(loan);
    EXPECT_EQ(loan.lane(), i < kInlineLoans ? 1 : 0);
    EXPECT_EQ(&loan.data(), &lanes_[loan.lane()].loans[loan.index()]);
    EXPECT_TRUE(seen.insert(&loan.data()).second);
  }
  EXPECT_FALSE(loans_.Take(1));
  EXPECT_FALSE(loans_.Take(0));
  EXPECT_EQ(loans_.CountTaken(), 2 * kInlineLoans);
  const LoanRef back(&lanes_[0].loans[17], 0, 17);
  loans_.Return(back);
  EXPECT_EQ(loans_.Take(1), back);
}

TEST_F(LoanTableTest, CountsSharesAfreshWithEachTake) {
  LoanRef loan = loans_.Take(0);
  loans_.Shares(loan) = 5;
  loans_.Return(loan);
  loan = loans_.Take(0);
  EXPECT_EQ(loans_.Shares(loan), 0u);
}

TEST_F(LoanTableTest, DoomedLoansAreSweptOnceAndStayTaken) {
  EXPECT_FALSE(loans_.AnyDoomed());
  EXPECT_FALSE(loans_.TakeDoomed());
  std::set<LoanData*> doomed;
  for (uint32_t i = 0; i < 70; ++i) {
    const LoanRef loan = loans_.Take(0);
    if (i % 7 != 0) continue;
    loans_.Doom(loan);
    doomed.insert(&loan.data());
  }
  EXPECT_TRUE(loans_.AnyDoomed());
  EXPECT_EQ(loans_.CountTaken(), 70u);
  for (size_t i = doomed.size(); i > 0; --i) {
    const LoanRef loan = loans_.TakeDoomed();
    ASSERT_TRUE(loan);
    EXPECT_EQ(doomed.erase(&loan.data()), 1u);
    loans_.Return(loan);
  }
  EXPECT_FALSE(loans_.TakeDoomed());
  EXPECT_FALSE(loans_.AnyDoomed());
}

TEST_F(LoanTableTest, ThreadsNeverShareALoanByAccident) {
  constexpr int kThreads = 4;
  std::atomic<uint32_t> owners[2][kInlineLoans] = {};
  std::atomic<uint32_t> collisions{0};
  std::atomic<uint32_t> swept{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20000; ++i) {
        const LoanRef loan = loans_.Take(static_cast<uint32_t>(t % 2));
        if (!loan) continue;
        collisions += owners[loan.lane()][loan.index()]++ != 0;
        owners[loan.lane()][loan.index()]--;
        if (i % 3 == 0) {
          loans_.Doom(loan);
          const LoanRef other = loans_.TakeDoomed();
          if (!other) continue;
          loans_.Return(other);
          ++swept;
        } else {
          loans_.Return(loan);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  while (const LoanRef left = loans_.TakeDoomed()) loans_.Return(left);
  EXPECT_EQ(collisions, 0u);
  EXPECT_GT(swept, 0u);
  EXPECT_EQ(loans_.CountTaken(), 0u);
}

// --- Chunks. ---

TEST(LoanChunks, GrowALaneByOneStoreAndKeepEveryLoanApart) {
  const TestName name;
  MakeHeapSegment(name.place());
  auto attachment = JoinedAttachment(name.place());
  TestHeap heap(attachment->segment());
  Call call = attachment->Enter(1);
  const uint32_t inline_loans = 2 * kInlineLoans;
  std::set<LoanData*> seen;
  std::vector<LoanRef> taken;
  for (uint32_t i = 0; i < inline_loans; ++i) {
    taken.push_back(attachment->TakeLoan(call.lane(), nullptr, Deadline::Now()));
    ASSERT_TRUE(seen.insert(&taken.back().data()).second);
  }
  EXPECT_FALSE(attachment->TakeLoan(call.lane(), nullptr, Deadline::Now()));
  for (uint32_t i = 0; i < 3 * kChunkLoans; ++i) {
    const LoanRef loan = attachment->TakeLoan(call.lane(), &heap, Deadline::Now());
    ASSERT_TRUE(loan) << i;
    ASSERT_TRUE(seen.insert(&loan.data()).second);
    for (const Word64* word : {&loan->block, &loan->ticket, &loan->where, &loan->lease}) {
      ASSERT_EQ(Get(*word), 0u) << "the heap's bytes show through";
    }
    EXPECT_EQ(loan.index(), kInlineLoans + i);
    taken.push_back(loan);
  }
  EXPECT_EQ(heap.allocated(), 3u);
  EXPECT_EQ(Get(call.lane().data().reserved.block), 0u);
  uint32_t visited = 0;
  EXPECT_TRUE(ForEachLoan(attachment->view(), call.lane().data(), [&](LoanData&) { ++visited; }));
  EXPECT_EQ(visited, kInlineLoans + 3 * kChunkLoans);
  Holders holders;
  Findings findings;
  CollectLoanHolders(attachment->segment(), holders, findings);
  EXPECT_EQ(holders.by_block().size(), 3u) << "the chain holds its chunks";
  EXPECT_EQ(findings.ToString(), "none");
  for (const LoanRef loan : taken) attachment->loans().Return(loan);
  EXPECT_EQ(attachment->loans().CountTaken(), 0u);
}

TEST(LoanChunks, EndAtTheirLimitWithoutTakingMoreMemory) {
  const TestName name;
  MakeHeapSegment(name.place());
  auto attachment = JoinedAttachment(name.place());
  TestHeap heap(attachment->segment());
  Call call = attachment->Enter(1);
  uint32_t taken = 0;
  while (attachment->TakeLoan(call.lane(), &heap, Deadline::Now())) ++taken;
  EXPECT_EQ(taken, 2 * kInlineLoans + kChunksPerLane * kChunkLoans);
  EXPECT_EQ(heap.allocated(), kChunksPerLane);
  EXPECT_FALSE(attachment->TakeLoan(call.lane(), &heap, Deadline::Now()));
  EXPECT_EQ(heap.allocated(), kChunksPerLane);
  EXPECT_TRUE(ForEachLoan(attachment->view(), call.lane().data(), [](LoanData&) {}));
  EXPECT_EQ(Audited(attachment->segment()), "none");
}

TEST(LoanChunks, OfAFullHeapAreRefusedAndLeaveNothing) {
  const TestName name;
  MakeHeapSegment(name.place());
  auto attachment = JoinedAttachment(name.place());
  TestHeap heap(attachment->segment());
  heap.set_result(BlockResult::kFull);
  Call call = attachment->Enter(1);
  for (uint32_t i = 0; i < 2 * kInlineLoans; ++i) {
    ASSERT_TRUE(attachment->TakeLoan(call.lane(), &heap, Deadline::Now()));
  }
  EXPECT_FALSE(attachment->TakeLoan(call.lane(), &heap, Deadline::Now()));
  EXPECT_EQ(Get(call.lane().data().first_chunk), 0u);
  heap.set_result(BlockResult::kOk);
  EXPECT_TRUE(attachment->TakeLoan(call.lane(), &heap, Deadline::Now()));
}

TEST(LoanChunks, ChainThatCannotBeEndsAndIsReported) {
  const TestName name;
  MakeHeapSegment(name.place());
  auto attachment = JoinedAttachment(name.place());
  const Segment& segment = attachment->segment();
  const uint64_t at = segment.Root(ComponentId::kShm, kWordsKind)->offset;
  LaneData& lane = *segment.LaneAt(0, 1);
  auto* chunk = segment.view().At<LoanChunkData>(at);
  const auto expect_broken = [&] {
    uint32_t visited = 0;
    EXPECT_FALSE(ForEachLoan(segment.view(), lane, [&](LoanData&) { ++visited; }));
    EXPECT_LE(visited, kInlineLoans + kChunksPerLane * kChunkLoans);
    EXPECT_NE(Audited(segment).find("P4"), std::string::npos);
    Holders holders;
    Findings findings;
    CollectLoanHolders(segment, holders, findings);
    EXPECT_FALSE(findings.empty());
  };
  Put(lane.first_chunk, at);
  Put(chunk->next, at);  // a ring
  expect_broken();
  for (const uint64_t next : {at + 4, kSegmentBytesMin, kSegmentBytesMin - 64, ~uint64_t{0}}) {
    Put(chunk->next, next);
    expect_broken();
  }
  Put(lane.first_chunk, uint64_t{0});
}

}  // namespace
}  // namespace thole::shm
