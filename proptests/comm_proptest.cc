// Laws of comm as a whole: channels, messages, writers, whoever dies and comes back.
#include <gtest/gtest.h>

#include "support/channel_laws.h"
#include "support/comm_agent.h"
#include "support/law.h"

namespace thole::proptests {
namespace {

class CommLaws : public ::testing::TestWithParam<On> {
 protected:
  static Law Channels(const Fates& fates) {
    const std::vector<CallSpec> calls = {
        {"create", kCreate, 8, {3}, true}, {"close", kClose, 0, {3}, true},
        {"send", kSend, 20, {3}, true},    {"receive", kReceive, 22, {3}, true},
        {"ack", kAck, 10, {20}, true},     {"drop", kDrop, 8, {20}},
        {"clone", kClone, 4, {20}},        {"reserve", kReserve, 6, {3}, true},
        {"commit", kCommit, 7, {5}, true}, {"rollback", kRollback, 2, {5}}};
    return LawOf(CommSubject(), calls, fates, ChannelLaws{});
  }
};

TEST_P(CommLaws, WithoutDeathsEveryCallAnswersAsTheModelDoes) {
  ExpectLaw(Channels({.leave = 0, .die = 0, .die_inside = 0}), GetParam());
}
TEST_P(CommLaws, WhatTheDeadAndTheLeavingHeldIsOfferedAgainAndNothingElse) {
  ExpectLaw(Channels({.attach = 10, .leave = 4, .die = 6, .recover = 5, .die_inside = 0}),
            GetParam());
}
TEST_P(CommLaws, ACallInWhichItsCallerDiedTookEffectWhollyOrNotAtAll) {
  ExpectLaw(Channels({.attach = 16, .die = 2, .recover = 6, .die_inside = 20}), GetParam());
}
TEST_P(CommLaws, EveryMessageIsInExactlyOnePlaceWhoeverDiesAndComesBack) {
  ExpectLaw(Channels({.attach = 10, .leave = 3, .die = 5, .die_inside = 8})
                .Weigh(kReserve, 1)
                .Weigh(kCommit, 1)
                .Weigh(kRollback, 1),
            GetParam());
}
TEST_P(CommLaws, AClosedChannelIsDrainedAndClosedOnlyWhenNothingCanComeBack) {
  ExpectLaw(Channels({.die = 3}).Weigh(kClose, 3).Weigh(kDrop, 12), GetParam());
}
TEST_P(CommLaws, AMessageLivesAsLongAsItsLastClone) {
  ExpectLaw(Channels({.die = 3}).Weigh(kAck, 6).Weigh(kDrop, 14).Weigh(kClone, 12), GetParam());
}
TEST_P(CommLaws, AnOpenWriterIsNobodyElsesUntilItIsCommitted) {
  ExpectLaw(Channels({.leave = 3, .die = 4})
                .Weigh(kSend, 4)
                .Weigh(kReserve, 20)
                .Weigh(kCommit, 15)
                .Weigh(kRollback, 5),
            GetParam());
}

INSTANTIATE_TEST_SUITE_P(Laws, CommLaws,
                         ::testing::Values(On::kSimulatedProcesses, On::kRealProcesses),
                         [](const auto& test) { return NameOf(test.param); });

}  // namespace
}  // namespace thole::proptests
