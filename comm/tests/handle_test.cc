// Message handles: clones, acknowledgement, what happens to a message that nobody acknowledges.
#include <thread>

#include "comm_test.h"

namespace thole::comm::testing {
namespace {

class Handles : public ::testing::Test {
 protected:
  Handles() {
    auto made = system.CreateChannel("jobs", {.capacity = 16});
    EXPECT_TRUE(made.ok()) << made.status();
    used = Used(system);
  }
  ~Handles() override {
    EXPECT_EQ(Used(system), used);
    EXPECT_EQ(AuditText(system), "none");
  }
  MessageHandle SendAndReceive(int value) {
    EXPECT_TRUE(system.Send("jobs", 1, value, Deadline::Now()).ok());
    auto message = system.TryReceive("jobs");
    EXPECT_TRUE(message.ok()) << message.status();
    return *std::move(message);
  }
  bool NothingThere() { return absl::IsUnavailable(system.TryReceive("jobs").status()); }

  TestSegment segment;
  UnifiedCommunicationSystem system = segment.Open();
  uint64_t used = 0;
};

TEST_F(Handles, AnAcknowledgedMessageIsGoneForGood) {
  MessageHandle message = SendAndReceive(1);
  EXPECT_TRUE(message.Ack().ok());
  EXPECT_TRUE(message.Ack().ok()) << "twice is once";
  EXPECT_EQ(*message.As<int>(), 1) << "it can be read until the handle goes";
  message.Release();
  EXPECT_TRUE(message.empty());
  EXPECT_TRUE(absl::IsFailedPrecondition(message.Ack()));
  EXPECT_EQ(message.bytes().size(), 0u);
  EXPECT_EQ(message.As<int>(), nullptr);
  EXPECT_TRUE(NothingThere());
}

TEST_F(Handles, AMessageThatIsDroppedWithoutAckIsOfferedAgainWithItsAttemptCounted) {
  const uint64_t sequence = SendAndReceive(7).sequence();  // dropped at once
  for (uint32_t attempt = 1; attempt <= 40; ++attempt) {
    auto message = system.TryReceive("jobs");
    ASSERT_TRUE(message.ok()) << attempt;
    EXPECT_EQ(*message->As<int>(), 7);
    EXPECT_EQ(message->attempt(), attempt);
    EXPECT_EQ(message->sequence(), sequence);
    EXPECT_EQ(message->type(), 1u);
    if (attempt == 40) {
      ASSERT_TRUE(message->Ack().ok());
    }
  }
  EXPECT_TRUE(NothingThere());
}

TEST_F(Handles, AMessageThatCameBackIsServedBeforeNewOnes) {
  {
    MessageHandle dropped = SendAndReceive(1);
  }
  ASSERT_TRUE(system.Send("jobs", 1, 2, Deadline::Now()).ok());
  for (const int expected : {1, 2}) {
    auto message = system.TryReceive("jobs");
    ASSERT_TRUE(message.ok());
    EXPECT_EQ(*message->As<int>(), expected);
    ASSERT_TRUE(message->Ack().ok());
  }
}

TEST_F(Handles, AMessageThatCameBackWakesAnotherReceiver) {
  MessageHandle message = SendAndReceive(3);
  Board board;
  Child child([&] {
    auto other = segment.Open("waiter");
    auto mine = other.ConnectChannel("jobs");
    ASSERT_TRUE(mine.ok());
    board[0] = 1;
    auto again = mine->Receive(Soon());
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(*again->As<int>(), 3);
    EXPECT_EQ(again->attempt(), 1u);
    EXPECT_TRUE(again->Ack().ok());
  });
  ASSERT_TRUE(board.Await(0, 1));
  message.Release();
  EXPECT_TRUE(child.EndedWell());
}

TEST_F(Handles, AMessageStaysUntilItsLastCloneGoes) {
  MessageHandle message = SendAndReceive(5);
  MessageHandle clone = message.Clone();
  MessageHandle third = clone.Clone();
  EXPECT_EQ(clone.sequence(), message.sequence());
  EXPECT_EQ(clone.attempt(), message.attempt());
  const uint64_t with_message = Used(system);
  message.Release();
  third.Release();
  EXPECT_EQ(Used(system), with_message);
  EXPECT_EQ(*clone.As<int>(), 5);
  EXPECT_TRUE(NothingThere());
  EXPECT_TRUE(clone.Ack().ok());
  EXPECT_TRUE(MessageHandle().Clone().empty());
}

TEST_F(Handles, AnAckOfOneCloneCountsForAll) {
  MessageHandle message = SendAndReceive(5);
  MessageHandle clone = message.Clone();
  ASSERT_TRUE(message.Ack().ok());
  message.Release();
  EXPECT_EQ(*clone.As<int>(), 5) << "others go on reading";
  clone.Release();
  EXPECT_TRUE(NothingThere());
}

TEST_F(Handles, ClonesMayBeReleasedOnAnyThreadAtOnce) {
  for (int round = 0; round < 200; ++round) {
    MessageHandle message = SendAndReceive(round);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([clone = message.Clone(), round]() mutable {
        EXPECT_EQ(*clone.As<int>(), round);
        MessageHandle another = clone.Clone();
        clone.Release();
        if (round % 2 == 0) {
          EXPECT_TRUE(another.Ack().ok());
        }
      });
    }
    message.Release();
    for (std::thread& thread : threads) thread.join();
    auto again = system.TryReceive("jobs");
    EXPECT_EQ(again.ok(), round % 2 == 1) << "offered again only where nobody acknowledged";
    if (again.ok()) {
      EXPECT_TRUE(again->Ack().ok());
    }
  }
}

TEST_F(Handles, WithoutAcknowledgementAMessageIsTakenForGood) {
  ASSERT_TRUE(system.CreateChannel("events", {.capacity = 16, .acknowledged = false}).ok());
  used = Used(system);
  ASSERT_TRUE(system.Send("events", 1, 1, Deadline::Now()).ok());
  {
    auto message = system.TryReceive("events");
    ASSERT_TRUE(message.ok());
    EXPECT_TRUE(message->Ack().ok()) << "no error where it means nothing";
  }
  ASSERT_TRUE(system.Send("events", 1, 2, Deadline::Now()).ok());
  {
    auto dropped = system.TryReceive("events");
  }
  EXPECT_TRUE(absl::IsUnavailable(system.TryReceive("events").status()));
}

TEST_F(Handles, ACloseWaitsForMessagesThatMayComeBack) {
  ASSERT_TRUE(system.Send("jobs", 1, 1, Deadline::Now()).ok());
  Board board;
  Child holder([&] {
    auto other = segment.Open("holder");
    auto message = other.TryReceive("jobs");
    ASSERT_TRUE(message.ok());
    board[0] = 1;
    board.Await(1, 1);
    message->Release();
  });
  ASSERT_TRUE(board.Await(0, 1));
  ASSERT_TRUE(system.ConnectChannel("jobs")->Close().ok());
  const absl::Status pending = system.TryReceive("jobs").status();
  EXPECT_TRUE(absl::IsUnavailable(pending)) << "it may still come back: " << pending;
  EXPECT_EQ(GetErrorKind(pending), ErrorKind::kPending);
  board[1] = 1;
  auto message = system.Receive("jobs", Soon());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->attempt(), 1u);
  ASSERT_TRUE(message->Ack().ok());
  message->Release();
  EXPECT_TRUE(holder.EndedWell());
  EXPECT_TRUE(absl::IsOutOfRange(system.Receive("jobs", Soon()).status()));
}

TEST_F(Handles, AcksAndALeaveAtOnceDecideEachMessageOnce) {
  for (int round = 0; round < 30; ++round) {
    auto leaver = segment.Open("leaver");
    auto channel = leaver.ConnectChannel("jobs");
    ASSERT_TRUE(channel.ok());
    std::vector<MessageHandle> messages;
    for (int i = 0; i < 16; ++i) ASSERT_TRUE(channel->Send(1, i, Deadline::Now()).ok());
    for (int i = 0; i < 16; ++i) messages.push_back(*channel->TryReceive());
    std::vector<bool> acknowledged(16);
    std::atomic<bool> go{false};
    std::thread acker([&] {
      while (!go) {
      }
      for (size_t i = 0; i < messages.size(); ++i) acknowledged[i] = messages[i].Ack().ok();
    });
    go = true;
    ASSERT_TRUE(leaver.Leave(Soon()).ok());
    acker.join();
    std::vector<bool> came_back(16);
    for (auto m = system.TryReceive("jobs"); m.ok(); m = system.TryReceive("jobs")) {
      came_back[static_cast<size_t>(*m->As<int>())] = true;
      ASSERT_TRUE(m->Ack().ok());
    }
    for (size_t i = 0; i < 16; ++i) EXPECT_NE(acknowledged[i], came_back[i]) << i;
  }
}

}  // namespace
}  // namespace thole::comm::testing
