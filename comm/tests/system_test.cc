// Opening, channels by name, leaving.
#include <gmock/gmock.h>

#include <algorithm>
#include <thread>

#include "comm_test.h"

namespace thole::comm::testing {
namespace {

using ::testing::HasSubstr;

TEST(System, AChannelIsVisibleByNameToEveryProcess) {
  TestSegment segment;
  auto system = segment.Open();
  ASSERT_TRUE(system.CreateChannel("jobs", {.capacity = 64, .type_id = 7}).ok());
  Child child([&] {
    auto other = segment.Open("child");
    EXPECT_TRUE(other.ConnectChannel("jobs").ok());
    ASSERT_TRUE(other.CreateChannel("from the child").ok());
  });
  EXPECT_TRUE(child.EndedWell());
  EXPECT_TRUE(system.ConnectChannel("from the child").ok());
  EXPECT_EQ(AuditText(system), "none");
}

TEST(System, CreatingAChannelAgainConnectsToIt) {
  TestSegment segment;
  auto system = segment.Open();
  auto first = system.CreateChannel("jobs", {.capacity = 64});
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(first->Send(1, 42, Deadline::Now()).ok());
  const uint64_t used = Used(system);
  auto second = system.CreateChannel("jobs", {.capacity = 128});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(Used(system), used);
  EXPECT_EQ(second->Info().capacity, 64u) << "the capacity is its creator's";
  auto message = second->TryReceive();
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(*message->As<int>(), 42);
}

TEST(System, CreatingAChannelWithOtherOptionsIsRefusedWithASentence) {
  TestSegment segment;
  auto system = segment.Open();
  ASSERT_TRUE(system.CreateChannel("jobs", {.acknowledged = true, .type_id = 7}).ok());
  const auto other_delivery = system.CreateChannel("jobs", {.acknowledged = false, .type_id = 7});
  EXPECT_TRUE(absl::IsInvalidArgument(other_delivery.status()));
  EXPECT_THAT(std::string(other_delivery.status().message()), HasSubstr("'jobs'"));
  const auto other_type = system.CreateChannel("jobs", {.acknowledged = true, .type_id = 8});
  EXPECT_TRUE(absl::IsInvalidArgument(other_type.status()));
  EXPECT_THAT(std::string(other_type.status().message()), HasSubstr("type 7, not 8"));
}

TEST(System, EightProcessesThatCreateTheSameChannelAtOnceGetTheSameOne) {
  TestSegment segment;
  auto system = segment.Open();
  constexpr int kProcesses = 8;
  constexpr int kRounds = 20;
  const uint64_t before = Used(system);
  Board board;
  std::vector<Child> children;
  for (int i = 0; i < kProcesses; ++i) {
    children.emplace_back([&] {
      auto mine = segment.Open("creator");
      for (int round = 0; round < kRounds; ++round) {
        board[0].fetch_add(1);
        board.Await(0, static_cast<uint64_t>(kProcesses) * (round + 1));  // all at once
        auto channel = mine.CreateChannel("round " + std::to_string(round), {.capacity = 16});
        ASSERT_TRUE(channel.ok()) << channel.status();
        ASSERT_TRUE(channel->Send(1, round, Soon()).ok());
      }
    });
  }
  for (Child& child : children) EXPECT_TRUE(child.EndedWell());
  EXPECT_EQ(system.ListChannels().size(), static_cast<size_t>(kRounds));
  for (int round = 0; round < kRounds; ++round) {
    auto channel = system.ConnectChannel("round " + std::to_string(round));
    ASSERT_TRUE(channel.ok());
    for (int i = 0; i < kProcesses; ++i) {
      auto message = channel->TryReceive();
      ASSERT_TRUE(message.ok()) << "every sender sent to the same channel";
      EXPECT_EQ(*message->As<int>(), round);
      EXPECT_TRUE(message->Ack().ok());
    }
  }
  const uint64_t channel_bytes = (Used(system) - before) / kRounds;
  EXPECT_LT(channel_bytes, 4096u) << "losers of the race left something behind";
  EXPECT_EQ(AuditText(system), "none");
}

TEST(System, ConnectingToAnUnknownChannelIsNotFound) {
  TestSegment segment;
  auto system = segment.Open();
  const auto channel = system.ConnectChannel("nothing");
  EXPECT_TRUE(absl::IsNotFound(channel.status()));
  EXPECT_THAT(std::string(channel.status().message()), HasSubstr("'nothing': create it first"));
  EXPECT_TRUE(absl::IsNotFound(system.Send("nothing", 1, 1, Deadline::Now())));
  EXPECT_TRUE(absl::IsNotFound(system.TryReceive("nothing").status()));
}

TEST(System, OpeningWithoutCreatingIsNotFoundWhereThereIsNoSegment) {
  const auto system =
      UnifiedCommunicationSystem::Open("thole-comm-test-no-such-segment", {.create = false});
  EXPECT_TRUE(absl::IsNotFound(system.status()));
}

TEST(System, ANameThatIsABufferIsNoChannel) {
  TestSegment segment;
  auto system = segment.Open();
  auto buffer = system.buffers().Create("table", 100);
  ASSERT_TRUE(buffer.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(system.ConnectChannel("table").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(system.CreateChannel("table").status()));
}

TEST(System, ListChannelsTellsWhatEachOneIs) {
  TestSegment segment;
  auto system = segment.Open();
  auto jobs = system.CreateChannel("jobs", {.capacity = 100, .acknowledged = true});
  auto events = system.CreateChannel("events", {.capacity = 8, .acknowledged = false});
  ASSERT_TRUE(jobs.ok() && events.ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(jobs->Send(1, i, Deadline::Now()).ok());
  {
    auto dropped = jobs->TryReceive();
  }  // goes back
  ASSERT_TRUE(events->Close().ok());
  Child child([&] {
    auto other = segment.Open("child");
    ASSERT_TRUE(other.ConnectChannel("jobs").ok());
    auto list = other.ListChannels();
    std::sort(list.begin(), list.end(), [](auto& a, auto& b) { return a.name < b.name; });
    ASSERT_EQ(list.size(), 2u);
    EXPECT_EQ(list[0].name, "events");
    EXPECT_EQ(list[0].capacity, 8u);
    EXPECT_FALSE(list[0].acknowledged);
    EXPECT_TRUE(list[0].closed);
    EXPECT_EQ(list[0].participants, 1u);
    EXPECT_EQ(list[1].name, "jobs");
    EXPECT_EQ(list[1].capacity, 128u) << "rounded up to a power of two";
    EXPECT_TRUE(list[1].acknowledged);
    EXPECT_FALSE(list[1].closed);
    EXPECT_EQ(list[1].waiting, 3u);
    EXPECT_EQ(list[1].sent, 3u);
    EXPECT_EQ(list[1].redelivered, 1u);
    EXPECT_EQ(list[1].participants, 2u);
  });
  EXPECT_TRUE(child.EndedWell());
  EXPECT_EQ(jobs->Info().waiting, 3u);
  EXPECT_EQ(jobs->Info().redelivered, 1u);
}

TEST(System, ParticipantsHaveTheirNamesAndPids) {
  TestSegment segment;
  auto system = segment.Open("the first");
  const auto list = system.Participants();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].name, "the first");
  EXPECT_EQ(list[0].pid, static_cast<uint32_t>(getpid()));
  EXPECT_FALSE(list[0].in_call);
  EXPECT_FALSE(list[0].under_repair);
}

TEST(System, LeavingGivesEverythingBackAndWhatIsLeftAnswers) {
  TestSegment segment;
  auto system = segment.Open("stays");
  ASSERT_TRUE(system.CreateChannel("jobs", {.capacity = 16}).ok());
  auto leaver = segment.Open("leaves");
  auto channel = leaver.ConnectChannel("jobs");
  ASSERT_TRUE(channel.ok());
  const uint64_t used = Used(system);
  ASSERT_TRUE(channel->Send(5, 42, Deadline::Now()).ok());
  auto message = channel->TryReceive();
  ASSERT_TRUE(message.ok());
  auto writer = channel->SendZeroCopy(1, 1000, Deadline::Now());
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(leaver.Leave(Soon()).ok());

  EXPECT_TRUE(absl::IsFailedPrecondition(message->Ack()));
  EXPECT_TRUE(absl::IsFailedPrecondition(writer->Commit(Deadline::Now()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(channel->Send(1, 1, Deadline::Now())));
  EXPECT_TRUE(absl::IsFailedPrecondition(channel->TryReceive().status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(channel->Close()));
  EXPECT_TRUE(absl::IsFailedPrecondition(leaver.CreateChannel("more").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(leaver.Leave(Deadline::Now())));
  EXPECT_EQ(system.Participants().size(), 1u);

  auto again = system.Receive("jobs", Deadline::Now());
  ASSERT_TRUE(again.ok()) << "the leaver held it, so it is offered again";
  EXPECT_EQ(again->attempt(), 1u);
  EXPECT_EQ(*again->As<int>(), 42);
  ASSERT_TRUE(again->Ack().ok());
  again->Release();
  message->Release();  // after the seat went: harmless
  writer->Rollback();
  EXPECT_EQ(Used(system), used);
  EXPECT_EQ(AuditText(system), "none");
}

TEST(System, ASystemThatWasMovedFromAnswersWithASentence) {
  TestSegment segment;
  auto system = segment.Open();
  auto channel = system.CreateChannel("jobs");
  ASSERT_TRUE(channel.ok());
  const UnifiedCommunicationSystem target = std::move(system);
  EXPECT_TRUE(absl::IsFailedPrecondition(system.CreateChannel("x").status()));  // NOLINT
  EXPECT_TRUE(absl::IsFailedPrecondition(system.Send("jobs", 1, 1, Deadline::Now())));
  EXPECT_TRUE(absl::IsFailedPrecondition(system.Leave(Deadline::Now())));
  EXPECT_TRUE(system.ListChannels().empty());
  EXPECT_TRUE(system.Participants().empty());
  EXPECT_EQ(system.HeapUse().heap_bytes, 0u);
  EXPECT_EQ(system.Recover(), 0u);
  Channel moved = *std::move(channel);
  const Channel second = std::move(moved);
  EXPECT_TRUE(absl::IsFailedPrecondition(moved.Send(1, 1, Deadline::Now())));  // NOLINT
  EXPECT_TRUE(absl::IsFailedPrecondition(moved.TryReceive().status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(moved.Close()));
  EXPECT_EQ(moved.name(), "");
  EXPECT_EQ(moved.Info().capacity, 0u);
  EXPECT_TRUE(second.Send(1, 1, Deadline::Now()).ok());
}

TEST(System, HandlesKeepTheSeatAfterTheSystemWasDropped) {
  TestSegment segment;
  auto watcher = segment.Open("watcher");
  uint64_t used = 0;
  {
    MessageHandle message;
    ZeroCopyWriter writer;
    {
      auto system = segment.Open("dropped");
      auto channel = system.CreateChannel("jobs", {.capacity = 16});
      ASSERT_TRUE(channel.ok());
      used = Used(watcher);
      ASSERT_TRUE(channel->Send(1, 42, Deadline::Now()).ok());
      auto received = channel->TryReceive();
      auto reserved = channel->SendZeroCopy(2, sizeof(int), Deadline::Now());
      ASSERT_TRUE(received.ok() && reserved.ok());
      message = *std::move(received);
      writer = *std::move(reserved);
    }
    EXPECT_EQ(watcher.Participants().size(), 2u);
    EXPECT_EQ(*message.As<int>(), 42);
    EXPECT_TRUE(message.Ack().ok());
    const int value = 43;
    std::memcpy(writer.bytes().data(), &value, sizeof(value));
    EXPECT_TRUE(writer.Commit(Deadline::Now()).ok());
  }
  EXPECT_EQ(watcher.Participants().size(), 1u) << "the last handle took the seat with it";
  auto message = watcher.TryReceive("jobs");
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(*message->As<int>(), 43);
  EXPECT_EQ(message->attempt(), 0u);
  ASSERT_TRUE(message->Ack().ok());
  message->Release();
  EXPECT_EQ(Used(watcher), used);
  EXPECT_EQ(AuditText(watcher), "none");
}

TEST(System, FourThreadsShareTwoLanes) {
  TestSegment segment;
  auto system = segment.Open();
  ASSERT_TRUE(system.CreateChannel("ring", {.capacity = 64}).ok());
  const uint64_t used = Used(system);
  constexpr int kEach = 2000;
  std::atomic<uint64_t> sum{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const int value = t * kEach + i;
        ASSERT_TRUE(system.Send("ring", 1, value, Soon()).ok());
        auto message = system.Receive("ring", Soon());
        ASSERT_TRUE(message.ok()) << message.status();
        sum += static_cast<uint64_t>(*message->As<int>());
        MessageHandle clone = message->Clone();
        message->Release();
        ASSERT_TRUE(clone.Ack().ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sum.load(), uint64_t{4} * kEach * (4 * kEach - 1) / 2);
  EXPECT_TRUE(absl::IsUnavailable(system.TryReceive("ring").status()));  // and sweeps
  EXPECT_EQ(Used(system), used);
  EXPECT_EQ(AuditText(system), "none");
}

}  // namespace
}  // namespace thole::comm::testing
