// Sending and receiving: what a message carries, in every size, by value, by bytes and in place.
#include <gmock/gmock.h>

#include "comm_test.h"
#include "thole/queue/queue_ring.h"

namespace thole::comm::testing {
namespace {

using ::testing::HasSubstr;

struct Reading {
  uint32_t sensor;
  uint32_t flags;
  double value;
};

class Messages : public ::testing::TestWithParam<bool> {
 protected:
  Messages() {
    auto made = system.CreateChannel("c", {.capacity = 16, .acknowledged = GetParam()});
    EXPECT_TRUE(made.ok()) << made.status();
    used = Used(system);
  }
  ~Messages() override {
    EXPECT_EQ(Used(system), used);
    EXPECT_EQ(AuditText(system), "none");
  }
  Channel channel() { return *system.ConnectChannel("c"); }
  /// Acknowledges and lets go.
  static void Finish(MessageHandle& message) {
    EXPECT_TRUE(message.Ack().ok());
    message.Release();
  }

  TestSegment segment;
  UnifiedCommunicationSystem system = segment.Open("receiver");
  uint64_t used = 0;
};
INSTANTIATE_TEST_SUITE_P(BothDeliveries, Messages, ::testing::Bool(), [](const auto& param) {
  return param.param ? "Acknowledged" : "AtMostOnce";
});

TEST_P(Messages, AnotherProcessReceivesEveryFieldOfAMessage) {
  const int64_t start = NowNs();
  Board board;
  Child child([&] {
    auto sender = segment.Open("sender");
    board[0] = sender.attachment()->slot();
    board[1] = sender.attachment()->generation();
    for (uint32_t i = 0; i < 3; ++i) {
      ASSERT_TRUE(sender.Send("c", 70 + i, Reading{i, 2, 0.5}, Soon()).ok());
    }
  });
  for (uint32_t i = 0; i < 3; ++i) {
    auto message = system.Receive("c", Soon());
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_EQ(message->type(), 70 + i);
    EXPECT_EQ(message->sequence(), i);
    EXPECT_EQ(message->size(), sizeof(Reading));
    EXPECT_EQ(message->attempt(), 0u);
    EXPECT_EQ(message->source(), board[0] << 20 | (board[1] & 0xfffff));
    EXPECT_GE(message->timestamp_ns(), static_cast<uint64_t>(start));
    EXPECT_LE(message->timestamp_ns(), static_cast<uint64_t>(NowNs()));
    const Reading* reading = message->As<Reading>();
    ASSERT_NE(reading, nullptr);
    EXPECT_EQ(reading->sensor, i);
    EXPECT_EQ(reading->value, 0.5);
    EXPECT_EQ(message->As<uint32_t>(), nullptr) << "another size";
    EXPECT_EQ(message->ReadPrefix<uint32_t>().value(), i);
    EXPECT_FALSE((message->ReadPrefix<std::array<Reading, 2>>().has_value()));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(message->bytes().data()) % 64, 0u);
    Finish(*message);
  }
  EXPECT_TRUE(child.EndedWell());
}

TEST_P(Messages, AnEmptyMessageIsAMessage) {
  ASSERT_TRUE(system.SendBytes("c", 9, {}, Deadline::Now()).ok());
  auto message = system.TryReceive("c");
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_FALSE(message->empty());
  EXPECT_EQ(message->size(), 0u);
  EXPECT_TRUE(message->bytes().empty());
  EXPECT_EQ(message->type(), 9u);
  EXPECT_FALSE(message->ReadPrefix<char>().has_value());
  Finish(*message);
}

TEST_P(Messages, EverySizeArrivesWhole) {
  const uint64_t sizes[] = {1,        2,
                            15,       16,
                            17,       63,
                            64,       65,
                            4095,     4096,
                            4097,     65536,
                            1000003,  uint64_t{1} << 20,
                            3u << 20, (4u << 20) + 1};
  Child child([&] {
    auto sender = segment.Open("sender");
    for (const uint64_t size : sizes) {
      const absl::Status sent = sender.SendBytes("c", 1, Pattern(size, size), Soon());
      ASSERT_TRUE(sent.ok()) << size << ": " << sent;
    }
  });
  for (const uint64_t size : sizes) {
    auto message = system.Receive("c", Soon());
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_TRUE(Equal(message->bytes(), Pattern(size, size))) << size;
    Finish(*message);
  }
  EXPECT_TRUE(child.EndedWell());
}

TEST_P(Messages, OrderIsKeptPerSender) {
  constexpr uint32_t kEach = 300;
  Child one([&] {
    auto sender = segment.Open("one");
    for (uint32_t i = 0; i < kEach; ++i) ASSERT_TRUE(sender.Send("c", 1, i, Soon()).ok());
  });
  Child two([&] {
    auto sender = segment.Open("two");
    for (uint32_t i = 0; i < kEach; ++i) ASSERT_TRUE(sender.Send("c", 2, i, Soon()).ok());
  });
  uint32_t next[3] = {};
  uint64_t last_sequence = 0;
  for (uint32_t i = 0; i < 2 * kEach; ++i) {
    auto message = system.Receive("c", Soon());
    ASSERT_TRUE(message.ok());
    EXPECT_EQ(*message->As<uint32_t>(), next[message->type()]++);
    EXPECT_TRUE(i == 0 || message->sequence() > last_sequence);
    last_sequence = message->sequence();
    Finish(*message);
  }
  EXPECT_TRUE(one.EndedWell() && two.EndedWell());
}

TEST_P(Messages, AWriterIsWrittenInPlace) {
  const auto pattern = Pattern(5000, 3);
  Child child([&] {
    auto sender = segment.Open("sender");
    auto writer = sender.SendZeroCopy("c", 4, pattern.size(), Soon());
    ASSERT_TRUE(writer.ok());
    ASSERT_EQ(writer->bytes().size(), pattern.size());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(writer->bytes().data()) % 64, 0u);
    std::copy(pattern.begin(), pattern.end(), writer->bytes().begin());
    writer->set_type(5);
    writer->set_correlation(99);
    const auto sequence = writer->Commit(Soon());
    ASSERT_TRUE(sequence.ok());
    EXPECT_EQ(*sequence, 0u);
    EXPECT_TRUE(writer->empty());
    EXPECT_TRUE(writer->bytes().empty());
    EXPECT_TRUE(absl::IsFailedPrecondition(writer->Commit(Soon()).status())) << "it is empty now";
  });
  auto message = system.Receive("c", Soon());
  ASSERT_TRUE(message.ok());
  EXPECT_TRUE(Equal(message->bytes(), pattern));
  EXPECT_EQ(message->type(), 5u);
  EXPECT_EQ(message->correlation(), 99u);
  Finish(*message);
  EXPECT_TRUE(child.EndedWell());
}

TEST_P(Messages, AShorterCommitSendsThePrefixAndGivesTheRestBack) {
  const auto pattern = Pattern(1 << 20, 8);
  for (const uint64_t size : {uint64_t{1} << 20, uint64_t{100'000}, uint64_t{1}, uint64_t{0}}) {
    auto writer = system.SendZeroCopy("c", 4, pattern.size(), Soon());
    ASSERT_TRUE(writer.ok());
    std::copy(pattern.begin(), pattern.end(), writer->bytes().begin());
    ASSERT_TRUE(writer->CommitPrefix(size, Soon()).ok());
    EXPECT_LE(Used(system) - used, size + size / 32 + 1024) << "the tail is free again";
    auto message = system.TryReceive("c");
    ASSERT_TRUE(message.ok());
    EXPECT_TRUE(Equal(message->bytes(), std::span(pattern).first(size)));
    Finish(*message);
  }
  auto writer = system.SendZeroCopy("c", 4, 10, Soon());
  ASSERT_TRUE(writer.ok());
  const auto too_much = writer->CommitPrefix(11, Soon());
  EXPECT_TRUE(absl::IsInvalidArgument(too_much.status()));
  EXPECT_THAT(std::string(too_much.status().message()), HasSubstr("11 bytes of a writer with 10"));
  EXPECT_EQ(writer->bytes().size(), 10u) << "it stays as it was";
}

TEST_P(Messages, AWriterThatIsRolledBackOrDroppedLeavesNothing) {
  for (const bool explicitly : {true, false}) {
    auto writer = system.SendZeroCopy("c", 4, 100'000, Soon());
    ASSERT_TRUE(writer.ok());
    EXPECT_GT(Used(system), used + 100'000);
    if (explicitly) {
      writer->Rollback();
      EXPECT_TRUE(writer->empty());
      writer->Rollback();  // again: nothing
    } else {
      ZeroCopyWriter moved = *std::move(writer);
      EXPECT_TRUE(writer->empty());
      EXPECT_EQ(moved.bytes().size(), 100'000u);
    }
    EXPECT_EQ(Used(system), used);
  }
  EXPECT_TRUE(absl::IsUnavailable(system.TryReceive("c").status())) << "nothing was sent";
}

TEST_P(Messages, AssigningToAnOpenWriterOrHandleLetsGoOfTheFirst) {
  auto first = system.SendZeroCopy("c", 1, 100'000, Soon());
  auto second = system.SendZeroCopy("c", 2, 50, Soon());
  ASSERT_TRUE(first.ok() && second.ok());
  *first = *std::move(second);
  EXPECT_LT(Used(system), used + 100'000);
  ASSERT_TRUE(first->Commit(Soon()).ok());
  auto message = system.TryReceive("c");
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(message->type(), 2u);
  ASSERT_TRUE(message->Ack().ok());
  *message = MessageHandle();
  EXPECT_EQ(Used(system), used);
}

TEST_P(Messages, ACommitThatFailsLeavesTheWriterAsItWas) {
  for (uint64_t i = 0; i < 16; ++i) ASSERT_TRUE(system.Send("c", 1, i, Deadline::Now()).ok());
  auto writer = system.SendZeroCopy("c", 2, 50'000, Deadline::Now());
  ASSERT_TRUE(writer.ok());
  const auto pattern = Pattern(50'000, 5);
  std::copy(pattern.begin(), pattern.end(), writer->bytes().begin());
  const uint64_t with_writer = Used(system);
  EXPECT_TRUE(absl::IsResourceExhausted(writer->Commit(Deadline::Now()).status()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(writer->Commit(Deadline::In(milliseconds(5))).status()));
  EXPECT_TRUE(absl::IsResourceExhausted(writer->CommitPrefix(100, Deadline::Now()).status()));
  EXPECT_EQ(Used(system), with_writer) << "not even a tail was given back";
  EXPECT_EQ(writer->bytes().size(), 50'000u);
  auto first = system.TryReceive("c");
  ASSERT_TRUE(first.ok());
  Finish(*first);
  ASSERT_TRUE(writer->Commit(Deadline::Now()).ok());
  for (uint64_t i = 1; i < 16; ++i) {
    auto message = system.TryReceive("c");
    ASSERT_TRUE(message.ok());
    Finish(*message);
  }
  auto last = system.TryReceive("c");
  ASSERT_TRUE(last.ok());
  EXPECT_TRUE(Equal(last->bytes(), pattern));
  Finish(*last);
}

TEST_P(Messages, ManyWritersCanBeOpenAtOnceAndCommitInAnyOrder) {
  constexpr size_t kWriters = 300;  // more than the inline loans of both lanes
  auto big = system.CreateChannel("many", {.capacity = 512, .acknowledged = GetParam()});
  ASSERT_TRUE(big.ok());
  const uint64_t with_channel = Used(system);
  {
    std::vector<ZeroCopyWriter> writers;
    for (size_t i = 0; i < kWriters; ++i) {
      auto writer = big->SendZeroCopy(1, sizeof(i), Soon());
      ASSERT_TRUE(writer.ok()) << i << ": " << writer.status();
      std::memcpy(writer->bytes().data(), &i, sizeof(i));
      writers.push_back(*std::move(writer));
    }
    for (size_t i = kWriters; i-- > 0;) {
      if (i % 3 != 0) {
        ASSERT_TRUE(writers[i].Commit(Soon()).ok());
      }
    }
  }
  for (size_t i = kWriters; i-- > 0;) {
    if (i % 3 == 0) continue;
    auto message = big->TryReceive();
    ASSERT_TRUE(message.ok());
    EXPECT_EQ(*message->As<size_t>(), i);
    ASSERT_TRUE(message->Ack().ok());
  }
  EXPECT_TRUE(absl::IsUnavailable(big->TryReceive().status())) << "the others were dropped";
  // The loan chunks stay until the seat goes; a new seat sees how much the channel itself needs.
  EXPECT_LT(Used(system) - with_channel, uint64_t{2} * (sizeof(shm::LoanChunkData) + 2048));
  used = Used(system);
}

TEST_P(Messages, AClosedChannelIsDrainedThenOutOfRange) {
  ASSERT_TRUE(system.Send("c", 1, 1, Deadline::Now()).ok());
  ASSERT_TRUE(system.Send("c", 1, 2, Deadline::Now()).ok());
  auto writer = system.SendZeroCopy("c", 1, 100, Deadline::Now());
  ASSERT_TRUE(writer.ok());
  Child child([&] { ASSERT_TRUE(segment.Open("closer").ConnectChannel("c")->Close().ok()); });
  EXPECT_TRUE(child.EndedWell());

  const absl::Status refused = system.Send("c", 1, 3, Soon());
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_EQ(refused.message(), "channel 'c' is closed: nothing more can be sent to it");
  EXPECT_TRUE(absl::IsFailedPrecondition(system.SendZeroCopy("c", 1, 1, Soon()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(writer->Commit(Soon()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(writer->CommitPrefix(1, Soon()).status()));
  EXPECT_EQ(writer->bytes().size(), 100u);
  for (const int expected : {1, 2}) {
    auto message = system.Receive("c", Soon());
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_EQ(*message->As<int>(), expected);
    Finish(*message);
  }
  EXPECT_TRUE(absl::IsOutOfRange(system.Receive("c", Soon()).status()));
  EXPECT_TRUE(absl::IsOutOfRange(system.TryReceive("c").status()));
  EXPECT_TRUE(system.ConnectChannel("c")->Close().ok()) << "closing again is no error";
  EXPECT_TRUE(channel().Info().closed);
}

TEST_P(Messages, ClosingWakesWhoWaits) {
  Board board;
  Child child([&] {
    auto other = segment.Open("waiter");
    auto mine = other.ConnectChannel("c");
    ASSERT_TRUE(mine.ok());
    board[0] = 1;
    EXPECT_TRUE(absl::IsOutOfRange(mine->Receive(Deadline::Never()).status()));
  });
  ASSERT_TRUE(board.Await(0, 1));
  ASSERT_TRUE(channel().Close().ok());
  EXPECT_TRUE(child.EndedWell());
}

TEST_P(Messages, AReceiverThatWaitsIsWokenByASend) {
  Board board;
  Child child([&] {
    auto other = segment.Open("waiter");
    auto mine = other.ConnectChannel("c");
    ASSERT_TRUE(mine.ok());
    for (uint64_t i = 0; i < 50; ++i) {
      board[0] = i + 1;
      auto message = mine->Receive(Soon());
      ASSERT_TRUE(message.ok());
      EXPECT_EQ(*message->As<uint64_t>(), i);
      EXPECT_TRUE(message->Ack().ok());
    }
  });
  for (uint64_t i = 0; i < 50; ++i) {
    ASSERT_TRUE(board.Await(0, i + 1));
    ASSERT_TRUE(system.Send("c", 1, i, Soon()).ok());
  }
  EXPECT_TRUE(child.EndedWell());
}

TEST_P(Messages, ASenderThatWaitsForRoomIsWokenByAReceive) {
  Child child([&] {
    auto sender = segment.Open("sender");
    for (uint64_t i = 0; i < 200; ++i) ASSERT_TRUE(sender.Send("c", 1, i, Soon()).ok());
  });
  for (uint64_t i = 0; i < 200; ++i) {
    auto message = system.Receive("c", Soon());
    ASSERT_TRUE(message.ok());
    EXPECT_EQ(*message->As<uint64_t>(), i);
    Finish(*message);
  }
  EXPECT_TRUE(child.EndedWell());
}

TEST_P(Messages, ASenderThatWaitsForMemoryGoesOnWhenSomebodyFreesIt) {
  auto hog = system.SendZeroCopy("c", 1, 5 << 20, Deadline::Now());
  ASSERT_TRUE(hog.ok());
  Board board;
  Child child([&] {
    auto sender = segment.Open("sender");
    EXPECT_TRUE(
        absl::IsResourceExhausted(sender.SendZeroCopy("c", 1, 4 << 20, Deadline::Now()).status()));
    board[0] = 1;
    auto writer = sender.SendZeroCopy("c", 1, 4 << 20, Soon());
    EXPECT_TRUE(writer.ok()) << writer.status();
  });
  ASSERT_TRUE(board.Await(0, 1));
  hog->Rollback();
  EXPECT_TRUE(child.EndedWell());
}

}  // namespace
}  // namespace thole::comm::testing
