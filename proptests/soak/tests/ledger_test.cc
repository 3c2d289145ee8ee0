// The ledger alone: what it takes for lost, for delivered twice, and what it must let pass.
#include "ledger.h"

#include <gtest/gtest.h>

#include <memory>

namespace thole::soak {
namespace {

class Ledger : public ::testing::Test {
 protected:
  uint64_t Deliver(StreamLedger& ledger, uint64_t number, Delivery expected, uint32_t attempt = 0) {
    uint64_t delivery = 0;
    EXPECT_EQ(ledger.Delivered(number, attempt, delivery), expected);
    return delivery;
  }
  void Send(StreamLedger& ledger, uint64_t number) {
    ledger.Begin(number, 0);
    ledger.Accepted(number);
  }
  uint64_t Lost(StreamLedger& ledger) {
    std::string first;
    const uint64_t lost = ledger.CountLost(first);
    EXPECT_EQ(first.empty(), lost == 0) << first;
    return lost;
  }

  const std::unique_ptr<Stream> stream_ = std::make_unique<Stream>();
  const std::unique_ptr<Stream> plain_stream_ = std::make_unique<Stream>();
  StreamLedger jobs_{*stream_, true};
  StreamLedger plain_{*plain_stream_, false};
};

TEST_F(Ledger, AMessageThatWasAcknowledgedIsNeitherLostNorTwice) {
  Send(jobs_, 0);
  const uint64_t delivery = Deliver(jobs_, 0, Delivery::kFine);
  EXPECT_TRUE(jobs_.Acked(0, delivery));
  EXPECT_EQ(Lost(jobs_), 0u);
  EXPECT_EQ(jobs_.next(), 1u);
}

TEST_F(Ledger, WhatWasAcceptedAndNeverAcknowledgedIsLostAndCountedOnce) {
  Send(jobs_, 0);
  Send(jobs_, 1);
  (void)Deliver(jobs_, 1, Delivery::kFine);
  EXPECT_EQ(Lost(jobs_), 2u);
  EXPECT_EQ(Lost(jobs_), 0u);
}

TEST_F(Ledger, WhatWasDeliveredWasSentAlsoWhenItsProducerDidNotLiveToNoteIt) {
  jobs_.Begin(0, 0);
  jobs_.Begin(1, 0);
  (void)Deliver(jobs_, 1, Delivery::kFine);
  EXPECT_EQ(Lost(jobs_), 1u) << "number 1; whether number 0 was sent nobody knows";
}

TEST_F(Ledger, ADeliveryAfterTheAckIsADuplicate) {
  Send(jobs_, 0);
  EXPECT_TRUE(jobs_.Acked(0, Deliver(jobs_, 0, Delivery::kFine)));
  (void)Deliver(jobs_, 0, Delivery::kAfterAck, 1);
}

TEST_F(Ledger, ASecondDeliveryIsFineOnlyWithItsAttemptCounted) {
  Send(jobs_, 0);
  (void)Deliver(jobs_, 0, Delivery::kFine);
  (void)Deliver(jobs_, 0, Delivery::kFine, 1);
  (void)Deliver(jobs_, 0, Delivery::kAsIfFirst, 0);
}

TEST_F(Ledger, AnAckShowsThatSomebodyElseGotTheLeasedMessage) {
  Send(jobs_, 0);
  const uint64_t mine = Deliver(jobs_, 0, Delivery::kFine);
  (void)Deliver(jobs_, 0, Delivery::kFine, 1);
  EXPECT_FALSE(jobs_.Acked(0, mine));
}

TEST_F(Ledger, AReceiverThatDiesInItsAckMayHaveAcknowledgedUnlessItComesAgain) {
  Send(jobs_, 0);
  jobs_.MaybeAcked(0, Deliver(jobs_, 0, Delivery::kFine));
  EXPECT_TRUE(jobs_.MayBegin(Stream::kPlaces, 0));
  (void)Deliver(jobs_, 0, Delivery::kFine, 1);
  EXPECT_FALSE(jobs_.MayBegin(Stream::kPlaces, 0));
  jobs_.MaybeAcked(0, 1);  // told late: somebody has it since
  EXPECT_EQ(Lost(jobs_), 1u);
}

TEST_F(Ledger, ARefusedMessageMustNotCome) {
  jobs_.Begin(0, 0);
  jobs_.Refused(0);
  EXPECT_EQ(Lost(jobs_), 0u);
  (void)Deliver(jobs_, 0, Delivery::kRefused);
}

TEST_F(Ledger, WhatWasNeverBegunOrIsLongOverMustNotCome) {
  (void)Deliver(jobs_, 0, Delivery::kImpossible);
  Send(jobs_, 0);
  EXPECT_TRUE(jobs_.Acked(0, Deliver(jobs_, 0, Delivery::kFine)));
  jobs_.Begin(Stream::kPlaces, 0);
  (void)Deliver(jobs_, 0, Delivery::kImpossible, 1);
}

TEST_F(Ledger, APlaceIsKeptUntilItsMessageIsSettled) {
  EXPECT_TRUE(jobs_.MayBegin(0, 0));
  Send(jobs_, 0);
  EXPECT_FALSE(jobs_.MayBegin(Stream::kPlaces, 100 * kUnknownKeptNs)) << "it must still come";
  EXPECT_TRUE(jobs_.Acked(0, Deliver(jobs_, 0, Delivery::kFine)));
  EXPECT_TRUE(jobs_.MayBegin(Stream::kPlaces, 0));
  jobs_.Begin(1, 0);
  EXPECT_FALSE(jobs_.MayBegin(Stream::kPlaces + 1, kUnknownKeptNs)) << "it may still come";
  EXPECT_TRUE(jobs_.MayBegin(Stream::kPlaces + 1, kUnknownKeptNs + 1));
}

TEST_F(Ledger, APlainMessageComesOnceOrGoesWithItsReceiver) {
  Send(plain_, 0);
  (void)Deliver(plain_, 0, Delivery::kFine);
  (void)Deliver(plain_, 0, Delivery::kAfterAck, 1);
  Send(plain_, 1);
  Send(plain_, 2);
  EXPECT_FALSE(plain_.MayBegin(Stream::kPlaces + 1, 0));
  EXPECT_TRUE(plain_.MayBegin(Stream::kPlaces + 1, kUnknownKeptNs + 1));
  plain_.Begin(Stream::kPlaces + 1, 0);
  std::string first;
  EXPECT_EQ(plain_.CountLost(first), 2u) << "number 2, and number 1 whose place is another's";
}

}  // namespace
}  // namespace thole::soak
