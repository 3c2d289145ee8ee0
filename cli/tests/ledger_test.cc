#include "demo/ledger.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace thole::cli::demo {
namespace {

TEST(Ledger, KnowsWhatArrivedInOrder) {
  Ledger ledger;
  EXPECT_TRUE(ledger.HasAll(0));
  EXPECT_EQ(ledger.Mark(0), Arrival::kNew);
  EXPECT_EQ(ledger.Mark(1), Arrival::kNew);
  EXPECT_TRUE(ledger.HasAll(2));
  EXPECT_FALSE(ledger.HasAll(3));
  EXPECT_EQ(ledger.CountMissing(5), 3u);
}

TEST(Ledger, DuplicatesAreKnownBeforeAndAfterTheGapCloses) {
  Ledger ledger;
  EXPECT_EQ(ledger.Mark(2), Arrival::kNew);
  EXPECT_EQ(ledger.Mark(2), Arrival::kDuplicate);
  EXPECT_EQ(ledger.CountMissing(3), 2u);
  EXPECT_EQ(ledger.Mark(0), Arrival::kNew);
  EXPECT_EQ(ledger.Mark(1), Arrival::kNew);
  EXPECT_TRUE(ledger.HasAll(3));
  EXPECT_EQ(ledger.Mark(1), Arrival::kDuplicate);
  EXPECT_EQ(ledger.Mark(2), Arrival::kDuplicate);
}

TEST(Ledger, WhatArrivedBeyondTheEndIsNotMissedAndNotMissing) {
  Ledger ledger;
  EXPECT_EQ(ledger.Mark(0), Arrival::kNew);
  EXPECT_EQ(ledger.Mark(3), Arrival::kNew);  // sent by a feeder that died before it said so
  EXPECT_TRUE(ledger.HasAll(1));
  EXPECT_EQ(ledger.CountMissing(1), 0u);
  EXPECT_EQ(ledger.CountMissing(3), 2u);
  EXPECT_EQ(ledger.CountMissing(4), 2u);
}

TEST(Ledger, AbsurdNumbersCostNoMemory) {
  Ledger ledger;
  EXPECT_EQ(ledger.Mark(~uint64_t{0}), Arrival::kImpossible);
  EXPECT_EQ(ledger.Mark(uint64_t{1} << 40), Arrival::kImpossible);
  EXPECT_EQ(ledger.CountMissing(10), 10u);
}

TEST(Ledger, AgreesWithASet) {
  std::mt19937 random(1);
  Ledger ledger;
  std::set<uint64_t> arrived;
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t sequence = random() % 3'000;
    EXPECT_EQ(ledger.Mark(sequence) == Arrival::kNew, arrived.insert(sequence).second);
    if (i % 100 != 0) continue;
    const uint64_t sent = random() % 3'100;
    uint64_t missing = 0;
    for (uint64_t s = 0; s < sent; ++s) missing += arrived.count(s) == 0;
    ASSERT_EQ(ledger.CountMissing(sent), missing);
    ASSERT_EQ(ledger.HasAll(sent), missing == 0);
  }
}

}  // namespace
}  // namespace thole::cli::demo
