// What a forked child inherits cannot be used, and does no harm when it is dropped.
#include "comm_test.h"

namespace thole::comm::testing {
namespace {

bool IsForked(const absl::Status& status) {
  return GetErrorKind(status) == ErrorKind::kForkedHandle && absl::IsFailedPrecondition(status);
}

TEST(Fork, InheritedHandlesAnswerAndTheirDestructorsAreHarmless) {
  TestSegment segment;
  auto system = segment.Open();
  auto channel = system.CreateChannel("jobs", {.capacity = 16});
  ASSERT_TRUE(channel.ok());
  const uint64_t used = Used(system);
  ASSERT_TRUE(channel->Send(1, 42, Deadline::Now()).ok());
  auto message = channel->TryReceive();
  auto writer = channel->SendZeroCopy(2, sizeof(int), Deadline::Now());
  ASSERT_TRUE(message.ok() && writer.ok());

  Child child([&] {
    {
      UnifiedCommunicationSystem mine = std::move(system);
      EXPECT_TRUE(IsForked(mine.Send("jobs", 1, 1, Deadline::Now())));
      EXPECT_TRUE(IsForked(mine.TryReceive("jobs").status()));
      EXPECT_TRUE(IsForked(mine.Receive("jobs", Deadline::Never()).status()));
      EXPECT_TRUE(IsForked(mine.CreateChannel("more").status()));
      EXPECT_TRUE(IsForked(mine.ConnectChannel("jobs").status()));
      EXPECT_TRUE(IsForked(mine.SendZeroCopy("jobs", 1, 1, Deadline::Now()).status()));
      EXPECT_TRUE(IsForked(mine.Leave(Deadline::Never())));
      EXPECT_TRUE(mine.ListChannels().empty());
      EXPECT_TRUE(mine.Participants().empty());
      EXPECT_EQ(mine.HeapUse().heap_bytes, 0u);
      EXPECT_EQ(mine.Recover(), 0u);
      Channel inherited = *std::move(channel);
      EXPECT_TRUE(IsForked(inherited.Send(1, 1, Deadline::Never())));
      EXPECT_TRUE(IsForked(inherited.Receive(Deadline::Never()).status()));
      EXPECT_TRUE(IsForked(inherited.Close()));
      EXPECT_EQ(inherited.Info().name, "jobs");
      MessageHandle held = *std::move(message);
      EXPECT_TRUE(IsForked(held.Ack()));
      EXPECT_TRUE(held.bytes().empty());
      EXPECT_EQ(held.As<int>(), nullptr);
      EXPECT_FALSE(held.ReadPrefix<char>().has_value());
      MessageHandle clone = held.Clone();
      held.Release();
      ZeroCopyWriter open = *std::move(writer);
      EXPECT_TRUE(open.bytes().empty());
      EXPECT_TRUE(IsForked(open.Commit(Deadline::Never()).status()));
      EXPECT_TRUE(IsForked(open.CommitPrefix(0, Deadline::Never()).status()));
    }
    auto own = segment.Open("the child's own");
    EXPECT_EQ(own.Participants().size(), 2u);
    EXPECT_TRUE(own.Send("jobs", 3, 43, Deadline::Now()).ok());
  });
  EXPECT_TRUE(child.EndedWell());

  EXPECT_EQ(*message->As<int>(), 42);
  EXPECT_TRUE(message->Ack().ok());
  message->Release();
  std::memset(writer->bytes().data(), 0, sizeof(int));
  EXPECT_TRUE(writer->Commit(Deadline::Now()).ok());
  for (const uint32_t type : {3u, 2u}) {
    auto next = system.TryReceive("jobs");
    ASSERT_TRUE(next.ok());
    EXPECT_EQ(next->type(), type);
    EXPECT_TRUE(next->Ack().ok());
  }
  EXPECT_EQ(Used(system), used);
  EXPECT_EQ(AuditText(system), "none");
}

TEST(Fork, AChildThatInheritedTheLockDoesNotKeepItsDeadParentAlive) {
  TestSegment segment;
  auto survivor = segment.Open("survivor");
  ASSERT_TRUE(survivor.CreateChannel("jobs", {.capacity = 16}).ok());
  ASSERT_TRUE(survivor.Send("jobs", 1, 42, Deadline::Now()).ok());
  Board board;
  Child parent([&] {
    auto mine = segment.Open("parent");
    auto message = mine.TryReceive("jobs");
    ASSERT_TRUE(message.ok());
    const pid_t heir = fork();
    if (heir == 0) {
      prctl(PR_SET_PDEATHSIG, 0);
      alarm(60);
      for (;;) pause();
    }
    board[1] = static_cast<uint64_t>(heir);
    board.StayAfter(0);
  });
  ASSERT_TRUE(board.Await(0, 1));
  parent.Kill();
  auto message = survivor.Receive("jobs", Soon());
  kill(static_cast<pid_t>(board[1].load()), SIGKILL);
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->attempt(), 1u);
  EXPECT_TRUE(message->Ack().ok());
}

}  // namespace
}  // namespace thole::comm::testing
