// The weak memory shows what the C++ model allows and a strong processor hides, and nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thole/shm/testing/simulator.h"
#include "toy_world.h"

namespace thole::shm::testing {
namespace {

using ::testing::HasSubstr;

SimResult RunMany(const Program& program, bool weak, uint64_t runs) {
  return Simulate(program, {.runs = runs, .failures_max = 1, .weak = weak, .stall_seconds = 2});
}

struct Case {
  Program (*make)(Fault);
  Fault fault;
  const char* text;
};

class WeakMemoryFinds : public ::testing::TestWithParam<Case> {};

TEST_P(WeakMemoryFinds, WhatNoOrderOfAccessesShows) {
  const Case& c = GetParam();
  const SimResult found = RunMany(c.make(c.fault), true, 20'000);
  ASSERT_GT(found.violations, 0u);
  EXPECT_THAT(found.failures[0].text, HasSubstr(c.text));
  EXPECT_EQ(RunMany(c.make(c.fault), false, 600).violations, 0u) << "not a fault of orders alone";
  const auto replay = SimReplay::Parse(found.failures[0].where);
  ASSERT_TRUE(replay.has_value()) << found.failures[0].where;
  const SimResult again = Replay(c.make(c.fault), *replay, false);
  ASSERT_EQ(again.violations, 1u);
  EXPECT_EQ(again.failures[0].text, found.failures[0].text);
}

TEST_P(WeakMemoryFinds, NothingInTheRightVersion) {
  const SimResult result = RunMany(GetParam().make(Fault::kNone), true, 600);
  EXPECT_EQ(result.violations, 0u) << result.failures[0].where << result.failures[0].text;
}

INSTANTIATE_TEST_SUITE_P(
    Faults, WeakMemoryFinds,
    ::testing::Values(Case{ToySays, Fault::kRelaxedFlag, "what was not said"},
                      Case{ToySays, Fault::kPlainTooEarly, "a data race"},
                      Case{ToyMeets, Fault::kNoTotalOrder, "neither saw the other"},
                      Case{ToyGuards, Fault::kRelaxedLock, "what was not said"}));

// Locks, logs, repairs and kernel calls of the library order what they must.
TEST(WeakMemory, FindsNothingInACorrectProgram) {
  for (const Program& program : {ToyAdds(Fault::kNone), ToyCarries(Fault::kNone)}) {
    const SimResult result = RunMany(program, true, 600);
    EXPECT_EQ(result.violations, 0u) << result.failures[0].where << result.failures[0].text;
    EXPECT_GT(result.deaths, 300u);
    EXPECT_GT(result.stale_loads, result.runs / 2) << "it is as strong as any other mode";
  }
}

}  // namespace
}  // namespace thole::shm::testing
