// Real deaths: what a killed process held comes back, what it sent stays, what it wrote is freed.
#include "comm_test.h"

namespace thole::comm::testing {
namespace {

// Teardown of a small process, one slice and a repair, on a machine that is busy with other tests.
constexpr double kBound = 2.0;

class Deaths : public ::testing::Test {
 protected:
  Deaths() {
    auto made = system.CreateChannel("jobs", {.capacity = 1024});
    EXPECT_TRUE(made.ok()) << made.status();
    used = Used(system);
  }
  ~Deaths() override {
    EXPECT_EQ(Used(system), used);
    EXPECT_EQ(system.Participants().size(), 1u);
    EXPECT_EQ(AuditText(system), "none");
  }
  /// A child that sends nothing, receives `count` messages, and stays.
  Child Holder(uint64_t count) {
    Child child([&, count] {
      auto mine = segment.Open("holder");
      std::vector<MessageHandle> held;
      for (uint64_t i = 0; i < count; ++i) {
        auto message = mine.Receive("jobs", Soon());
        ASSERT_TRUE(message.ok()) << message.status();
        held.push_back(*std::move(message));
      }
      board.StayAfter(0);
    });
    board.Await(0, 1);
    return child;
  }

  TestSegment segment;
  UnifiedCommunicationSystem system = segment.Open("survivor");
  Board board;
  uint64_t used = 0;
};

TEST_F(Deaths, AMessageWhoseHolderIsKilledIsOfferedAgainSoon) {
  ASSERT_TRUE(system.Send("jobs", 3, 42, Deadline::Now()).ok());
  Child holder = Holder(1);
  EXPECT_TRUE(absl::IsUnavailable(system.TryReceive("jobs").status())) << "it is held";
  holder.Kill();
  const int64_t start = NowNs();
  auto message = system.Receive("jobs", Soon());
  EXPECT_LT(SecondsSince(start), kBound);
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(*message->As<int>(), 42);
  EXPECT_EQ(message->attempt(), 1u);
  EXPECT_EQ(message->type(), 3u);
  EXPECT_TRUE(message->Ack().ok());
}

TEST_F(Deaths, AReceiverThatAlreadyWaitsGetsTheMessageOfAKilledHolder) {
  ASSERT_TRUE(system.Send("jobs", 3, 42, Deadline::Now()).ok());
  Child holder = Holder(1);
  Child waiter([&] {
    auto mine = segment.Open("waiter");
    auto channel = mine.ConnectChannel("jobs");
    ASSERT_TRUE(channel.ok());
    board[1] = 1;
    auto message = channel->Receive(Soon());
    board[2] = static_cast<uint64_t>(NowNs());
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_EQ(message->attempt(), 1u);
    EXPECT_TRUE(message->Ack().ok());
  });
  ASSERT_TRUE(board.Await(1, 1));
  holder.Kill();
  const int64_t killed = NowNs();
  EXPECT_TRUE(waiter.EndedWell());
  EXPECT_LT(static_cast<double>(static_cast<int64_t>(board[2].load()) - killed) * 1e-9, kBound);
}

TEST_F(Deaths, AttemptsCountEveryHolderThatDied) {
  ASSERT_TRUE(system.Send("jobs", 3, 42, Deadline::Now()).ok());
  for (uint32_t death = 1; death <= 5; ++death) {
    board[0] = 0;
    Holder(1).Kill();
    auto message = system.Receive("jobs", Soon());
    ASSERT_TRUE(message.ok());
    EXPECT_EQ(message->attempt(), 2 * death - 1);
    if (death == 5) {
      EXPECT_TRUE(message->Ack().ok());
    }
  }  // dropped: one attempt more
}

TEST_F(Deaths, AHolderOfManyMessagesGivesAllOfThemBack) {
  constexpr uint64_t kMessages = 400;  // the inline loans of both lanes, and chunks
  for (uint64_t i = 0; i < kMessages; ++i) {
    ASSERT_TRUE(system.Send("jobs", 1, i, Deadline::Now()).ok());
  }
  Holder(kMessages).Kill();
  std::vector<int> seen(kMessages);
  for (uint64_t i = 0; i < kMessages; ++i) {
    auto message = system.Receive("jobs", Soon());
    ASSERT_TRUE(message.ok()) << i << message.status();
    EXPECT_EQ(message->attempt(), 1u);
    ++seen[*message->As<uint64_t>()];
    ASSERT_TRUE(message->Ack().ok());
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), static_cast<int64_t>(kMessages));
}

TEST_F(Deaths, ASenderThatIsKilledWhileItWritesLeavesNothing) {
  Child writer([&] {
    auto mine = segment.Open("writer");
    auto one = mine.SendZeroCopy("jobs", 1, 1 << 20, Soon());
    auto two = mine.SendZeroCopy("jobs", 1, 1 << 20, Soon());
    ASSERT_TRUE(one.ok() && two.ok());
    std::fill(one->bytes().begin(), one->bytes().end(), std::byte{7});
    board.StayAfter(0);
  });
  ASSERT_TRUE(board.Await(0, 1));
  EXPECT_GT(Used(system), used + (2 << 20));
  EXPECT_EQ(system.Recover(), 0u) << "it lives";
  writer.Kill();
  EXPECT_EQ(system.Recover(), 1u);
  EXPECT_EQ(system.Recover(), 0u);
  EXPECT_EQ(Used(system), used);
  EXPECT_TRUE(absl::IsUnavailable(system.TryReceive("jobs").status()));
}

TEST_F(Deaths, WhatASenderHasSentOutlivesIt) {
  Child sender([&] {
    auto mine = segment.Open("sender");
    for (uint64_t i = 0; i < 50; ++i) ASSERT_TRUE(mine.Send("jobs", 1, i, Soon()).ok());
    board.StayAfter(0);
  });
  ASSERT_TRUE(board.Await(0, 1));
  sender.Kill();
  for (uint64_t i = 0; i < 50; ++i) {
    auto message = system.TryReceive("jobs");
    ASSERT_TRUE(message.ok());
    EXPECT_EQ(*message->As<uint64_t>(), i);
    EXPECT_EQ(message->attempt(), 0u);
    ASSERT_TRUE(message->Ack().ok());
  }
  EXPECT_EQ(system.Recover(), 1u);
}

TEST_F(Deaths, AnAcknowledgedMessageDoesNotComeBackWhenItsHolderIsKilled) {
  ASSERT_TRUE(system.Send("jobs", 1, 42, Deadline::Now()).ok());
  Child holder([&] {
    auto mine = segment.Open("holder");
    auto message = mine.Receive("jobs", Soon());
    ASSERT_TRUE(message.ok());
    ASSERT_TRUE(message->Ack().ok());
    board.StayAfter(0);
  });
  ASSERT_TRUE(board.Await(0, 1));
  holder.Kill();
  EXPECT_EQ(system.Recover(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(system.TryReceive("jobs").status()));
}

TEST_F(Deaths, WithoutAcknowledgementAMessageGoesWithItsKilledReceiver) {
  ASSERT_TRUE(system.CreateChannel("events", {.capacity = 16, .acknowledged = false}).ok());
  used = Used(system);
  ASSERT_TRUE(system.Send("events", 1, 42, Deadline::Now()).ok());
  Child holder([&] {
    auto mine = segment.Open("holder");
    auto message = mine.Receive("events", Soon());
    ASSERT_TRUE(message.ok());
    board.StayAfter(0);
  });
  ASSERT_TRUE(board.Await(0, 1));
  holder.Kill();
  EXPECT_EQ(system.Recover(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(system.TryReceive("events").status()));
}

TEST_F(Deaths, WhoOpensRepairsTheDead) {
  ASSERT_TRUE(system.Send("jobs", 1, 42, Deadline::Now()).ok());
  Holder(1).Kill();
  EXPECT_EQ(system.Participants().size(), 2u);
  {
    auto newcomer = segment.Open("newcomer");
  }
  EXPECT_EQ(system.Participants().size(), 1u);
  auto message = system.TryReceive("jobs");
  ASSERT_TRUE(message.ok()) << "without waiting: it is back already";
  ASSERT_TRUE(message->Ack().ok());
}

TEST_F(Deaths, WhoRunsOutOfMemoryRepairsTheDead) {
  Child hog([&] {
    auto mine = segment.Open("hog");
    auto writer = mine.SendZeroCopy("jobs", 1, 5 << 20, Soon());
    ASSERT_TRUE(writer.ok());
    board.StayAfter(0);
  });
  ASSERT_TRUE(board.Await(0, 1));
  EXPECT_TRUE(
      absl::IsResourceExhausted(system.SendZeroCopy("jobs", 1, 4 << 20, Deadline::Now()).status()));
  hog.Kill();
  auto writer = system.SendZeroCopy("jobs", 1, 4 << 20, Deadline::Now());
  EXPECT_TRUE(writer.ok()) << writer.status();
}

// What it keeps for its next requests is asked for when the heap is full.
TEST_F(Deaths, WhoRunsOutOfMemoryGetsWhatAWaitingReceiverKeeps) {
  auto jobs = system.CreateChannel("small", {.capacity = 64, .acknowledged = false});
  auto never = system.CreateChannel("never", {.capacity = 4, .acknowledged = false});
  ASSERT_TRUE(jobs.ok() && never.ok());
  used = Used(system);
  for (int i = 0; i < 8; ++i) {
    auto writer = jobs->SendZeroCopy(1, 2'000, Deadline::Now());
    ASSERT_TRUE(writer.ok() && writer->Commit(Deadline::Now()).ok());
  }
  Child child([&] {
    auto mine = segment.Open("receiver");
    for (int i = 0; i < 8; ++i) EXPECT_TRUE(mine.Receive("small", Soon()).ok());
    board[0] = 1;
    (void)mine.Receive("never", Soon());
  });
  board.Await(0, 1);
  child.Stop();
  ASSERT_GT(system.HeapUse().cached_bytes, 2'000u);
  std::vector<ZeroCopyWriter> all;
  for (uint64_t size = uint64_t{4} << 20; size >= 1'000; size /= 2) {
    for (;;) {
      auto writer = jobs->SendZeroCopy(1, size, Deadline::Now());
      if (!writer.ok()) break;
      all.push_back(*std::move(writer));
    }
  }
  EXPECT_FALSE(jobs->SendZeroCopy(1, 1'900, Deadline::Now()).ok());
  child.Continue();
  const auto last = jobs->SendZeroCopy(1, 1'900, Soon());
  EXPECT_TRUE(last.ok()) << "only the receiver had it: " << last.status();
  child.Kill();
  system.Recover();
}

TEST_F(Deaths, AStoppedHolderIsNotDead) {
  ASSERT_TRUE(system.Send("jobs", 1, 42, Deadline::Now()).ok());
  Child holder([&] {
    auto mine = segment.Open("holder");
    auto message = mine.Receive("jobs", Soon());
    ASSERT_TRUE(message.ok());
    board[0] = 1;
    board.Await(1, 1);
    EXPECT_EQ(*message->As<int>(), 42);
    EXPECT_TRUE(message->Ack().ok());
  });
  ASSERT_TRUE(board.Await(0, 1));
  holder.Stop();
  const int64_t start = NowNs();
  const absl::Status late = system.Receive("jobs", Deadline::In(milliseconds(100))).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_GE(SecondsSince(start), 0.1);
  EXPECT_LT(SecondsSince(start), kBound);
  EXPECT_EQ(system.Recover(), 0u);
  EXPECT_EQ(system.Participants().size(), 2u);
  board[1] = 1;
  holder.Continue();
  EXPECT_TRUE(holder.EndedWell());
  EXPECT_TRUE(absl::IsUnavailable(system.TryReceive("jobs").status()));
}

TEST_F(Deaths, AllParticipantsMayDieAndTheNextOneFindsEverything) {
  TestSegment lonely;
  for (int round = 0; round < 3; ++round) {
    board[0] = 0;
    Child child([&] {
      auto mine = lonely.Open("alone");
      ASSERT_TRUE(mine.CreateChannel("jobs", {.capacity = 16}).ok());
      ASSERT_TRUE(mine.Send("jobs", 1, round, Deadline::Now()).ok());
      auto message = mine.TryReceive("jobs");
      ASSERT_TRUE(message.ok());
      EXPECT_EQ(*message->As<int>(), 0) << "what came back is served first";
      EXPECT_EQ(message->attempt(), static_cast<uint32_t>(round));
      board.StayAfter(0);
    });
    ASSERT_TRUE(board.Await(0, 1));
    child.Kill();
  }
  auto last = lonely.Open("last");
  EXPECT_EQ(last.Participants().size(), 1u);
  EXPECT_EQ(last.ListChannels()[0].waiting, 3u);
  EXPECT_EQ(AuditText(last), "none");
}

}  // namespace
}  // namespace thole::comm::testing
