// Laws of the work queues: leased, plain, and with the elements in their cells.
#include <gtest/gtest.h>

#include "support/channel_laws.h"
#include "support/law.h"
#include "support/queue_agent.h"

namespace thole::proptests {
namespace {

class QueueLaws : public ::testing::TestWithParam<On> {
 protected:
  static Law Queues(const Fates& fates) {
    const std::vector<CallSpec> calls = {{"push", kSend, 20, {3}, true},
                                         {"pop", kReceive, 22, {3}, true},
                                         {"ack", kAck, 6, {20}, true},
                                         {"give back", kDrop, 10, {20}},
                                         {"close", kClose, 0, {3}, true}};
    return LawOf(
        QueueSubject(), calls, fates,
        ChannelLaws{.model = QueueModel(), .blocks_per_channel = 0, .ack_ends_handle = true});
  }
};

TEST_P(QueueLaws, PopsAreAPrefixOfPushesAndEmptyIsSaidOnlyWhenItIsEmpty) {
  ExpectLaw(Queues({.leave = 1, .die = 0, .die_inside = 0}).Weigh(kDrop, 0), GetParam());
}
TEST_P(QueueLaws, AMessageIsInExactlyOnePlaceWhoeverDiesAndComesBack) {
  ExpectLaw(Queues({.attach = 10, .leave = 4, .die = 6, .die_inside = 2}), GetParam());
}
TEST_P(QueueLaws, ACallInWhichItsCallerDiedTookEffectWhollyOrNotAtAll) {
  ExpectLaw(
      Queues({.attach = 16, .recover = 6, .die_inside = 20}).Weigh(kReceive, 30).Weigh(kDrop, 20),
      GetParam());
}
TEST_P(QueueLaws, AClosedQueueIsDrainedAndClosedOnlyWhenNothingCanComeBack) {
  ExpectLaw(Queues({.die = 3, .die_inside = 6}).Weigh(kClose, 3), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Laws, QueueLaws,
                         ::testing::Values(On::kSimulatedProcesses, On::kRealProcesses),
                         [](const auto& test) { return NameOf(test.param); });

}  // namespace
}  // namespace thole::proptests
