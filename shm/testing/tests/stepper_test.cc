// The stepper finds nothing in a correct toy and each fault in a wrong one.
#include "thole/shm/testing/stepper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "toy_world.h"

namespace thole::shm::testing {
namespace {

using ::testing::HasSubstr;

StepResult StepOne(const Operation& operation, uint32_t repairs = 2) {
  return Step(operation, {.seeds = 1, .repairs = repairs, .failures_max = 1, .stall_seconds = 2});
}

TEST(Stepper, FindsNothingInACorrectOperation) {
  for (const Operation& operation : {ToyAdd(Fault::kNone), ToyCarry(Fault::kNone)}) {
    const StepResult result = StepOne(operation, 1000);
    EXPECT_EQ(result.failed, 0u) << (result.failures.empty() ? "" : result.failures[0].text);
    EXPECT_EQ(result.runs, 1u);
    EXPECT_GE(result.instructions + 1, result.states);
    EXPECT_GT(result.states, 8u);  // lane, lock, two logged words, commit, unlock
    EXPECT_GT(result.pairs, result.states);
  }
}

TEST(Stepper, SeesEveryStoreOfTheOperationOnce) {
  // in_call; lock named, taken; two times where, old, count, word (where and old of the first entry
  // are new, so are those of the second); commit; unlock, forgotten; in_call: 15 stores, and the
  // state before. Entry values that were there already change nothing: the old value 0.
  const StepResult result = StepOne(ToyAdd(Fault::kNone), 0);
  EXPECT_EQ(result.states, 1u + 15u - 2u);
}

struct Case {
  Fault fault;
  bool carry;
  const char* text;
};

class StepperFinds : public ::testing::TestWithParam<Case> {};

TEST_P(StepperFinds, TheFault) {
  const Case& c = GetParam();
  const StepResult result = StepOne(c.carry ? ToyCarry(c.fault) : ToyAdd(c.fault), 1000);
  ASSERT_GT(result.failed, 0u);
  EXPECT_THAT(result.failures[0].text, HasSubstr(c.text));
  EXPECT_THAT(result.failures[0].where, HasSubstr(c.carry ? "toy/Carry" : "toy/Add"));
}

INSTANTIATE_TEST_SUITE_P(Faults, StepperFinds,
                         ::testing::Values(Case{Fault::kNoUndo, false, "left is not right"},
                                           Case{Fault::kLogTooLate, false, "left is not right"},
                                           Case{Fault::kLockWithoutName, false, "lock is held"},
                                           Case{Fault::kRepairCounts, false, "miscounted"},
                                           Case{Fault::kRepairForgets, true,
                                                "then its repairer died"},
                                           Case{Fault::kRepairNothing, true, "the credit is 99"},
                                           Case{Fault::kRepairNeverDone, false, "is not free"},
                                           Case{Fault::kRepairRestless, false, "idempotence"},
                                           Case{Fault::kAuditCrashes, false, "crashed"},
                                           Case{Fault::kAuditHangs, false, "stuck"}));

TEST(Stepper, CountsStatesThatComeAgainOnlyOnce) {
  const StepResult once = Step(ToyAdd(Fault::kNone), {.seeds = 1, .repairs = kAllRepairs});
  EXPECT_EQ(once.distinct, once.states);  // nothing in it goes back
  EXPECT_LT(once.distinct_pairs, once.pairs);
  const StepResult thrice = Step(ToyAdd(Fault::kNone), {.seeds = 3, .repairs = kAllRepairs});
  EXPECT_EQ(thrice.states, 3 * once.states);
  EXPECT_EQ(thrice.distinct, once.distinct) << "the seed changes nothing here";
  EXPECT_EQ(thrice.pairs, 3 * once.pairs);
  EXPECT_EQ(thrice.distinct_pairs, once.distinct_pairs);
}

TEST(Stepper, SharesWhatWasSeenBetweenCallsThatAskForIt) {
  StepSeen seen;
  EXPECT_GT(Step(ToyAdd(Fault::kNone), {.seen = &seen}).distinct, 0u);
  EXPECT_EQ(Step(ToyAdd(Fault::kNone), {.seen = &seen}).distinct, 0u);
  EXPECT_GT(Step(ToyAdd(Fault::kNone), {}).distinct, 0u);
}

TEST(Stepper, StepsTheRepairOfAsManyStatesAsItIsAskedTo) {
  for (const uint32_t repairs : {0u, 1u, 5u}) {
    EXPECT_EQ(StepOne(ToyAdd(Fault::kNone), repairs).repairs_stepped, repairs);
  }
  const StepResult all = StepOne(ToyAdd(Fault::kNone), kAllRepairs);
  EXPECT_EQ(all.repairs_stepped, all.states);
}

TEST(Stepper, AuditsTheSameBytesNotEveryTimeAndSometimesAgain) {
  const StepResult result = StepOne(ToyAdd(Fault::kNone), kAllRepairs);
  const uint64_t judged = result.states + result.pairs;
  EXPECT_GT(result.audits_saved, judged / 4);
  EXPECT_LT(result.audits_saved, judged - result.distinct / 8);
}

TEST(Stepper, NeedsTheSteppedRepairToFindWhatOnlyADoubleDeathShows) {
  EXPECT_EQ(StepOne(ToyCarry(Fault::kRepairForgets), 0).failed, 0u);
}

TEST(Stepper, TellsWhichInstructionItWas) {
  const StepResult result = StepOne(ToyAdd(Fault::kNoUndo));
  ASSERT_FALSE(result.failures.empty());
  EXPECT_THAT(result.failures[0].text, HasSubstr("the instruction at 0x"));
  EXPECT_THAT(result.failures[0].where, HasSubstr("seed 1"));
  EXPECT_THAT(result.failures[0].text, HasSubstr("--seed 1 --seeds 1 --repairs all"));
  EXPECT_THAT(result.failures[0].text, HasSubstr("--filter 'Add ("));
}

}  // namespace
}  // namespace thole::shm::testing
