// The simulator finds nothing in a correct toy and each fault in a wrong one.
#include "thole/shm/testing/simulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "toy_world.h"

namespace thole::shm::testing {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kRuns = 3000;

SimResult RunMany(const Program& program, uint64_t runs = kRuns, uint64_t seed = 1) {
  return Simulate(program, {.seed = seed, .runs = runs, .failures_max = 1, .stall_seconds = 2});
}

TEST(Simulator, FindsNothingInACorrectProgram) {
  for (const Program& program : {ToyAdds(Fault::kNone), ToyCarries(Fault::kNone)}) {
    const SimResult result = RunMany(program);
    EXPECT_EQ(result.violations, 0u) << result.failures[0].where << result.failures[0].text;
    EXPECT_GE(result.runs, kRuns);
    EXPECT_GT(result.deaths, result.runs / 2);
    EXPECT_GT(result.repairs, result.runs / 2);
    EXPECT_GT(result.accesses, result.runs * 30);
  }
}

struct Case {
  Fault fault;
  bool carry;
  const char* text;
};

class SimulatorFinds : public ::testing::TestWithParam<Case> {};

TEST_P(SimulatorFinds, TheFaultAndFindsItAgain) {
  const Case& c = GetParam();
  const Program program = c.carry ? ToyCarries(c.fault) : ToyAdds(c.fault);
  const SimResult result = RunMany(program, 40 * kRuns);
  ASSERT_GT(result.violations, 0u);
  EXPECT_THAT(result.failures[0].text, HasSubstr(c.text));
  if (c.fault == Fault::kAuditCrashes || c.fault == Fault::kAuditHangs) return;
  const auto replay = SimReplay::Parse(result.failures[0].where);
  ASSERT_TRUE(replay.has_value()) << result.failures[0].where;
  const SimResult again = Replay(program, *replay, false);
  ASSERT_EQ(again.violations, 1u);
  EXPECT_EQ(again.failures[0].text, result.failures[0].text);
}

INSTANTIATE_TEST_SUITE_P(
    Faults, SimulatorFinds,
    ::testing::Values(Case{Fault::kNoUndo, false, "left is not right"},
                      Case{Fault::kLogTooLate, false, "left is not right"},
                      Case{Fault::kLockForgotten, false, "hang"},
                      Case{Fault::kLockWithoutName, false, ""},
                      Case{Fault::kRepairCounts, false, "miscounted"},
                      Case{Fault::kRepairForgets, true, "the credit is 99"},
                      Case{Fault::kRepairNothing, true, "the credit is "},
                      Case{Fault::kRepairNeverDone, false, "is not free"},
                      Case{Fault::kAuditCrashes, false, "crashed"},
                      Case{Fault::kAuditHangs, false, "stuck"},
                      Case{Fault::kPointerStored, false, "a pointer is stored"},
                      Case{Fault::kPointerFollowed, false, "an access to the mapping of process"},
                      Case{Fault::kBeyondTheEnd, false, "beyond the end"},
                      Case{Fault::kWaitsForTheDead, false, "hang"},
                      Case{Fault::kSleepsForEver, false, "everybody sleeps for ever"},
                      Case{Fault::kRace, false, ""}));

// A program that waits in slices must come to the end of its wait in every mode, however much the
// others do meanwhile.
TEST(Simulator, LetsASleeperSleep) {
  constexpr uint64_t kSlices = 20;
  constexpr uint64_t kFewForNoReason = 20;
  const SimResult result = RunMany(ToySleepsAndWorks(kSlices + kFewForNoReason), 400);
  EXPECT_EQ(result.violations, 0u) << result.failures[0].where << result.failures[0].text;
  const SimResult strict = RunMany(ToySleepsAndWorks(kSlices), 400);
  EXPECT_GT(strict.violations, 0u) << "nobody was ever woken for no reason";
}

TEST(Simulator, RunsTheSameTwice) {
  const SimReplay replay{"toy/Adds0", SimMode::kPriorities, 0x1234, 60};
  const SimResult one = Replay(ToyAdds(Fault::kNone), replay, false);
  const SimResult two = Replay(ToyAdds(Fault::kNone), replay, false);
  EXPECT_EQ(one.accesses, two.accesses);
  EXPECT_EQ(one.deaths, two.deaths);
  const SimResult other =
      Replay(ToyAdds(Fault::kNone), {"toy/Adds0", SimMode::kRandom, 1, 60}, false);
  EXPECT_NE(one.accesses, other.accesses);
}

TEST(Simulator, ReadsItsReplayStringsBack) {
  const SimReplay replay{"toy/Adds:odd name", SimMode::kPriorities, 0xfedcba9876543210, 77};
  const auto back = SimReplay::Parse(replay.ToString());
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->ToString(), "toy/Adds:odd name:p:0xfedcba9876543210:77");
  EXPECT_FALSE(SimReplay::Parse("toy/Adds"));
  EXPECT_FALSE(SimReplay::Parse("toy/Adds:z:1:2"));
  EXPECT_FALSE(SimReplay::Parse("toy/Adds:x:1:2>"));
  EXPECT_FALSE(SimReplay::Parse(":r:1:2"));
}

}  // namespace
}  // namespace thole::shm::testing
