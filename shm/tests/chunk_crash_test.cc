// Death at every step by which a lane gets more loans.
#include "support/test_heap.h"
#include "thole/shm/testing/crash_test.h"

namespace thole::shm {
namespace {

const char* const kSteps[] = {"chunk.1", "chunk.2", "chunk.3", "chunk.4"};

void Grow(const TestName& name) {
  auto attachment = JoinedAttachment(name.place());
  TestHeap heap(attachment->segment());
  Call call = attachment->Enter(1);
  // Two chunks: the first becomes the next of the second.
  for (uint32_t i = 0; i < 2 * kInlineLoans + kChunkLoans + 1; ++i) {
    CHILD_REQUIRE(attachment->TakeLoan(call.lane(), &heap, Deadline::Now()));
  }
  call.End();
  kill(getpid(), SIGKILL);
}

class ChunkCrash : public ::testing::TestWithParam<const char*> {};

TEST_P(ChunkCrash, LeavesTheChunkInTheReservedLoanOrTheChain) {
  const std::string step = GetParam();
  for (uint32_t nth : {1u, 2u}) {
    const TestName name;
    MakeHeapSegment(name.place());
    const auto end = testing::RunAndDieAt(step, nth, [&] { Grow(name); });
    ASSERT_TRUE(end) << end.ToString();
    const Segment segment = OpenSegment(name.place(), true);
    LaneData& lane = *segment.LaneAt(0, 1);
    const bool reserved = Get(lane.reserved.block) != 0;
    const bool linked = Get(lane.first_chunk) == Get(lane.reserved.block);
    EXPECT_EQ(reserved, step != "chunk.4") << nth;
    EXPECT_EQ(reserved && linked, step == "chunk.3") << nth;

    // Whatever the chain holds is empty loans, and nothing but them.
    uint32_t visited = 0;
    EXPECT_TRUE(ForEachLoan(segment.view(), lane, [&](LoanData& loan) {
      ++visited;
      for (const Word64* word : {&loan.block, &loan.ticket, &loan.where, &loan.lease}) {
        EXPECT_EQ(Get(*word), 0u);
      }
    }));
    const uint32_t chunks = nth - (step == "chunk.1" || step == "chunk.2" ? 1 : 0);
    EXPECT_EQ(visited, kInlineLoans + chunks * kChunkLoans) << nth;
    EXPECT_EQ(Audited(segment), "none");
  }
}

INSTANTIATE_TEST_SUITE_P(Every, ChunkCrash, ::testing::ValuesIn(kSteps),
                         [](const auto& step) { return testing::TestNameOf(step.param); });

TEST(ChunkCrash, KnowsEveryStep) {
  const TestName name;
  MakeHeapSegment(name.place());
  std::vector<std::string> names;
  const auto points = testing::CrashPointsOf("chunk.", [&] {
    auto attachment = JoinedAttachment(name.place());
    TestHeap heap(attachment->segment());
    Call call = attachment->Enter(1);
    for (uint32_t i = 0; i <= 2 * kInlineLoans; ++i) {
      CHILD_REQUIRE(attachment->TakeLoan(call.lane(), &heap, Deadline::Now()));
    }
  });
  for (const auto& point : points) names.push_back(point.name);
  EXPECT_EQ(names, std::vector<std::string>(std::begin(kSteps), std::end(kSteps)));
}

}  // namespace
}  // namespace thole::shm
