// Laws of comm: random programs against the model. THOLE_SEED=N runs one program and prints it.
#include <gtest/gtest.h>

#include <cstdlib>

#include "support/comm_run.h"

namespace thole::proptests {
namespace {

constexpr uint64_t kPrograms = 400;
constexpr int kCommands = 120;

void ExpectLaw(const Weights& weights, uint64_t purpose) {
  const char* wanted = std::getenv("THOLE_SEED");
  const uint64_t only = wanted == nullptr ? 0 : std::strtoull(wanted, nullptr, 0);
  for (uint64_t i = 1; i <= kPrograms; ++i) {
    const uint64_t seed = only != 0 ? only : purpose * 1'000'000 + i;
    CommRun run(seed, weights);
    const std::string problem = run.Run(kCommands);
    if (!problem.empty() || only != 0) {
      EXPECT_EQ(problem, "") << "THOLE_SEED=" << seed << " after\n" << run.log();
      return;
    }
  }
}

TEST(CommLaws, WithoutDeathsEveryCallAnswersAsTheModelDoes) {
  ExpectLaw({.detach = 0, .die = 0}, 1);
}
TEST(CommLaws, WhatTheDeadAndTheLeavingHeldIsOfferedAgainAndNothingElse) {
  ExpectLaw({.attach = 8, .detach = 3, .die = 4, .recover = 4}, 2);
}
TEST(CommLaws, AClosedChannelIsDrainedAndClosedOnlyWhenNothingCanComeBack) {
  ExpectLaw({.die = 2, .close = 1, .drop = 12}, 3);
}
TEST(CommLaws, AMessageLivesAsLongAsItsLastClone) {
  ExpectLaw({.die = 2, .ack = 6, .drop = 14, .clone = 12}, 4);
}
TEST(CommLaws, AnOpenWriterIsNobodyElsesUntilItIsCommitted) {
  ExpectLaw({.detach = 2, .die = 3, .send = 4, .reserve = 20, .finish_writer = 20}, 5);
}

}  // namespace
}  // namespace thole::proptests
