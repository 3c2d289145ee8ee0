// The enumeration is complete for a correct toy, and finds each fault where it must be.
#include "thole/shm/testing/systematic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thole/shm/testing/simulator.h"
#include "toy_world.h"
#include "visited_states.h"

namespace thole::shm::testing {
namespace {

using ::testing::HasSubstr;

SystematicOptions With(uint32_t switches, uint32_t deaths) {
  return {
      .switches = switches, .deaths = deaths, .seconds = 60, .failures_max = 1, .stall_seconds = 2};
}

TEST(Systematic, CoversACorrectProgramAndFindsNothing) {
  const SystematicResult deaths = Enumerate(ToyAddsOnce(Fault::kNone), With(0, 1));
  EXPECT_TRUE(deaths.complete);
  EXPECT_EQ(deaths.violations, 0u) << deaths.failures[0].where << deaths.failures[0].text;
  EXPECT_GT(deaths.deaths, 60u);  // some thirty stores and kernel calls, two processes
  const SystematicResult both = Enumerate(ToyAddsOnce(Fault::kNone), With(1, 1));
  EXPECT_TRUE(both.complete);
  EXPECT_EQ(both.violations, 0u) << both.failures[0].where << both.failures[0].text;
  EXPECT_GT(both.schedules, 4 * deaths.schedules);
  EXPECT_EQ(Enumerate(ToyAddsOnce(Fault::kNone), With(1, 1)).schedules, both.schedules);
}

TEST(Systematic, SaysWhenTheTimeDidNotSuffice) {
  SystematicOptions options = With(4, 1);
  options.prune = false;  // many times what any machine does in that time
  options.seconds = 0.02;
  EXPECT_FALSE(Enumerate(ToyAddsOnce(Fault::kNone), options).complete);
}

std::vector<Program> ToysToSearch() {
  return {ToyAddsOnce(Fault::kNone),
          ToyAddsOnce(Fault::kRace),
          ToyAddsOnce(Fault::kNoUndo),
          PairProgramsOf({ToyAdd(Fault::kNone), ToyCarry(Fault::kNone)})[1],
          PairProgramsOf({ToyAdd(Fault::kNoUndo), ToyCarry(Fault::kNoUndo)})[1],
          PairProgramsOf({ToyCarry(Fault::kRepairNothing)})[0]};
}

void ExpectSameWithoutPruning(const Program& toy, uint32_t switches) {
  SCOPED_TRACE(toy.name + ", switches: " + std::to_string(switches));
  SystematicOptions options = With(switches, 1);
  options.failures_max = 1'000'000;
  const SystematicResult pruned = Enumerate(toy, options);
  options.prune = false;
  const SystematicResult all = Enumerate(toy, options);
  EXPECT_TRUE(pruned.complete && all.complete);
  EXPECT_EQ(pruned.ends, all.ends);
  EXPECT_EQ(pruned.sum_of_ends, all.sum_of_ends);
  EXPECT_EQ(pruned.violations == 0, all.violations == 0);
  EXPECT_GT(pruned.states, 0u);
  EXPECT_EQ(all.states, 0u);
  EXPECT_LE(pruned.schedules, all.schedules);
  if (switches != 0) {
    EXPECT_LT(pruned.accesses, all.accesses);
  }
}

// What is not run again is known: the same bytes come out, and the same laws are broken.
TEST(Systematic, FindsTheSameWhetherItPrunesOrNot) {
  for (const Program& toy : ToysToSearch()) {
    ExpectSameWithoutPruning(toy, 0);
    ExpectSameWithoutPruning(toy, 1);
  }
  ExpectSameWithoutPruning(ToysToSearch().back(), 2);
}

// A lost addition needs one switch between a load and its store, and no death.
TEST(Systematic, FindsARaceWithOneSwitchAndNotWithNone) {
  const Program racing = ToyAddsOnce(Fault::kRace);
  const SystematicResult none = Enumerate(racing, With(0, 0));
  EXPECT_TRUE(none.complete);
  EXPECT_EQ(none.violations, 0u);
  EXPECT_EQ(none.schedules, 2u);
  const SystematicResult one = Enumerate(racing, With(1, 0));
  ASSERT_GT(one.violations, 0u);
  EXPECT_THAT(one.failures[0].text, HasSubstr("calls returned"));
  const auto replay = SimReplay::Parse(one.failures[0].where);
  ASSERT_TRUE(replay.has_value()) << one.failures[0].where;
  EXPECT_EQ(replay->ToString(), one.failures[0].where);
  const SimResult again = Replay(racing, *replay, false);
  ASSERT_EQ(again.violations, 1u);
  EXPECT_EQ(again.failures[0].text, one.failures[0].text);
}

// Process 1 leaves a mark when it sees process 0 alive between its two stores.
Program SeesAlive() {
  Program program = ToyAddsOnce(Fault::kNone);
  program.name = "SeesAlive";
  program.body = [](World&, Process& process, uint32_t index, Random&) {
    ToyData& data = static_cast<ToyProcess&>(process).data();
    if (index == 0) {
      data.message.store(1, std::memory_order_release);  // before flag, in one process
      data.flag.store(1, std::memory_order_release);     // after message
    } else if (data.message.load(std::memory_order_acquire) == 1) {
      Attachment& me = process.attachment();
      if (!me.platform().IsHeld(LockByte::kLife, me.slot() - 1)) return;
      data.misused.store(1, std::memory_order_release);
    }
  };
  program.check = [](World&, Process& survivor, uint32_t, Findings& findings) {
    const ToyData& data = static_cast<ToyProcess&>(survivor).data();
    if (data.misused.load() == 1 && data.flag.load() == 0) findings.Add("alive", 0, "then it died");
  };
  return program;
}

TEST(Systematic, LetsOneDieBeforeTheAccessAtWhichItHadMadeRoom) {
  const SystematicResult result = Enumerate(SeesAlive(), With(1, 1));
  ASSERT_GT(result.violations, 0u);
  EXPECT_THAT(result.failures[0].text, HasSubstr("then it died"));
}

TEST(Systematic, FindsADeathThatTearsTheWords) {
  for (const Fault fault : {Fault::kNoUndo, Fault::kLogTooLate}) {
    const SystematicResult result = Enumerate(ToyAddsOnce(fault), With(0, 1));
    ASSERT_GT(result.violations, 0u);
    EXPECT_THAT(result.failures[0].text, HasSubstr("left is not right"));
  }
}

// The repair forgets what it was about to do: only a second death, of the repairer, shows it.
TEST(Systematic, FindsARepairThatCannotBeRepeatedOnlyByASecondDeath) {
  const Operation carry = ToyCarry(Fault::kRepairForgets);
  const Program alone = AloneProgramsOf({carry})[0];
  const SystematicResult one = Enumerate(alone, With(0, 1));
  EXPECT_TRUE(one.complete);
  EXPECT_EQ(one.violations, 0u);
  const SystematicResult two = Enumerate(alone, With(0, 2));
  ASSERT_GT(two.violations, 0u);
  EXPECT_THAT(two.failures[0].text, HasSubstr("the credit is 99"));
  const SystematicResult right =
      Enumerate(AloneProgramsOf({ToyCarry(Fault::kNone)})[0], With(0, 2));
  EXPECT_TRUE(right.complete);
  EXPECT_EQ(right.violations, 0u);
  EXPECT_EQ(right.one_in, 1u);
}

TEST(Systematic, GoesOnBehindAScriptThatCrashes) {
  SystematicOptions options = With(0, 1);
  options.failures_max = 16;
  const SystematicResult result = Enumerate(ToyAddsOnce(Fault::kAuditCrashes), options);
  ASSERT_GT(result.violations, 1u);
  EXPECT_NE(result.failures[0].where, result.failures[1].where);
  EXPECT_THAT(result.failures[0].text, HasSubstr("crashed"));
}

TEST(VisitedStates, AreEnteredAgainWithMoreSwitchesOnly) {
  constexpr uint64_t kMany = 3'000'000;  // more than there is room for at first
  VisitedStates visited;
  for (uint64_t i = 0; i < kMany; ++i) {
    if (i % 100'000 == 0) visited.MakeRoom();
    ASSERT_TRUE(visited.Enter(i * 0x9e3779b97f4a7c15, i % 3));
  }
  EXPECT_EQ(visited.size(), kMany);
  for (uint64_t i = 0; i < kMany; ++i) {
    ASSERT_EQ(visited.Enter(i * 0x9e3779b97f4a7c15, 1), i % 3 == 0);
    ASSERT_FALSE(visited.Enter(i * 0x9e3779b97f4a7c15, 0));
    ASSERT_EQ(visited.Enter(i * 0x9e3779b97f4a7c15, 2), i % 3 != 2);
  }
  EXPECT_EQ(visited.size(), kMany);
  visited.Clear();
  EXPECT_EQ(visited.size(), 0u);
}

TEST(Pairs, AreMadeOfOperationsOverLikeWorlds) {
  const std::vector<Operation> operations = {ToyAdd(Fault::kNone), ToyCarry(Fault::kNone)};
  const std::vector<Program> pairs = PairProgramsOf(operations);
  ASSERT_EQ(pairs.size(), 3u);
  EXPECT_EQ(pairs[1].name, "pair Add, fault 0 + Carry, fault 0");
  const SystematicResult result = Enumerate(pairs[1], With(1, 0));
  EXPECT_TRUE(result.complete);
  EXPECT_EQ(result.violations, 0u);
  EXPECT_GT(result.schedules, 8u);
  Operation alone = ToyCarry(Fault::kNone);
  alone.alone = true;
  EXPECT_EQ(PairProgramsOf({ToyAdd(Fault::kNone), alone}).size(), 1u);
}

TEST(Rows, AreFoundByTheirNames) {
  const std::vector<Operation> operations = {ToyAdd(Fault::kNone), ToyCarry(Fault::kNone)};
  const Operation* add = &operations[0];
  const Operation* carry = &operations[1];
  const Rows rows = {{add, add, carry}, {carry}};
  const auto program = RowsProgramNamed(RowsName(rows), operations);
  ASSERT_TRUE(program.has_value());
  EXPECT_EQ(program->name, "rows Add, fault 0 / Add, fault 0 / Carry, fault 0 + Carry, fault 0");
  EXPECT_EQ(program->processes, 2u);
  const SystematicResult result = Enumerate(*program, With(0, 1));
  EXPECT_TRUE(result.complete);
  EXPECT_EQ(result.violations, 0u);
  EXPECT_FALSE(RowsProgramNamed("rows Add, fault 0 / Nothing", operations).has_value());
  EXPECT_FALSE(RowsProgramNamed("rows Add, fault 0Carry, fault 0", operations).has_value());
}

}  // namespace
}  // namespace thole::shm::testing
