// A live participant that is stopped in the middle of a call is waited for, but never beyond the
// caller's deadline; destructors do not wait at all; once it goes on or dies nothing is missing.
#include "comm_test.h"

#include "thole/shm/crash_point.h"

namespace thole::comm::testing {
namespace {

Board* board_of_hook = nullptr;
const char* point_of_hook = nullptr;

void StopThere(const char* step) {
  if (std::strcmp(step, point_of_hook) != 0) return;
  point_of_hook = "";
  (*board_of_hook)[0] = 1;
  raise(SIGSTOP);
}

struct StoppedAt {
  const char* point;
  void (*work)(UnifiedCommunicationSystem&);
};
void Send(UnifiedCommunicationSystem& system) {
  EXPECT_TRUE(system.Send("jobs", 7, 70, Soon()).ok());
}
void ReceiveAndDrop(UnifiedCommunicationSystem& system) {
  EXPECT_TRUE(system.Receive("jobs", Soon()).ok());
}
void Create(UnifiedCommunicationSystem& system) {
  EXPECT_TRUE(system.CreateChannel("another", {.capacity = 4}).ok());
}

const StoppedAt kPlaces[] = {
    {"alloc.allocate.1", Send},          // holds the heap
    {"alloc.allocate.4", Send},          // the same, in the middle of its log
    {"queue.push.2", Send},              // holds the next place of the channel
    {"queue.pop.2", ReceiveAndDrop},     // holds the next message
    {"queue.return.1", ReceiveAndDrop},  // holds the channel's list
    {"registry.publish.3", Create},      // holds the names
};

class Stopped : public ::testing::TestWithParam<StoppedAt> {
 protected:
  Stopped() {
    EXPECT_TRUE(system.CreateChannel("jobs", {.capacity = 4}).ok());
    EXPECT_TRUE(system.CreateChannel("plain", {.capacity = 2, .acknowledged = false}).ok());
    for (const char* name : {"jobs", "plain"}) {
      for (int i = 0; i < 2; ++i) EXPECT_TRUE(system.Send(name, 1, i, Deadline::Now()).ok());
    }
  }
  /// A child that is stopped at the point.
  Child Stop() {
    Child child([&] {
      auto mine = segment.Open("stopped");
      auto channel = mine.ConnectChannel("jobs");
      board_of_hook = &board;
      point_of_hook = GetParam().point;
      shm::crash_point_hook = StopThere;
      GetParam().work(mine);
    });
    int status = 0;
    EXPECT_EQ(waitpid(child.pid(), &status, WUNTRACED), child.pid());
    EXPECT_TRUE(WIFSTOPPED(status)) << "it never came to " << GetParam().point;
    EXPECT_EQ(board[0], 1u);
    return child;
  }
  /// Receives and acknowledges until nothing comes for longer than a repair takes.
  std::vector<int> Drain() {
    std::vector<int> values;
    for (;;) {
      auto message = system.Receive("jobs", Deadline::In(milliseconds(300)));
      if (!message.ok()) break;
      values.push_back(*message->As<int>());
      EXPECT_TRUE(message->Ack().ok());
    }
    return values;
  }

  TestSegment segment;
  UnifiedCommunicationSystem system = segment.Open();
  Board board;
};
INSTANTIATE_TEST_SUITE_P(Points, Stopped, ::testing::ValuesIn(kPlaces), [](const auto& param_info) {
  std::string name = param_info.param.point;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
});

TEST_P(Stopped, EveryCallReturnsByItsDeadline) {
  Child child = Stop();
  using System = UnifiedCommunicationSystem;
  const std::function<void(System&, Deadline)> calls[] = {
      [](System& s, Deadline d) { (void)s.Send("jobs", 1, 1, d); },
      [](System& s, Deadline d) { (void)s.Send("plain", 1, 1, d); },
      [](System& s, Deadline d) { (void)s.SendZeroCopy("jobs", 1, 100, d); },
      [](System& s, Deadline d) {
        auto writer = s.SendZeroCopy("jobs", 1, 1000, d);
        if (writer.ok()) (void)writer->CommitPrefix(sizeof(int), d);
      },
      [](System& s, Deadline d) { (void)s.Receive("jobs", d); },
      [](System& s, Deadline d) { (void)s.Receive("plain", d); },
      [](System& s, Deadline d) { (void)s.CreateChannel("third", {.capacity = 4}, d); },
      [](System& s, Deadline d) { (void)s.ConnectChannel("plain", d); },
      [](System& s, Deadline) { (void)s.ListChannels(); },
      [](System& s, Deadline) { EXPECT_EQ(s.Recover(), 0u); },
  };
  for (size_t i = 0; i < std::size(calls); ++i) {
    for (const int64_t ms : {0, 40}) {
      const int64_t start = NowNs();
      calls[i](system, ms == 0 ? Deadline::Now() : Deadline::In(milliseconds(ms)));
      EXPECT_LT(SecondsSince(start), 1.0) << "call " << i << " with " << ms << " ms";
    }
  }
  auto other = segment.Open("other");  // repairs and joins without what the stopped one holds
  child.Continue();
  EXPECT_TRUE(child.EndedWell());
  (void)Drain();
  while (system.TryReceive("plain").ok()) {
  }
  EXPECT_EQ(AuditText(system), "none");
}

TEST_P(Stopped, ADestructorDoesNotWaitAndTheNextCallMakesUpForIt) {
  auto held = system.TryReceive("jobs");  // goes back to the channel's list
  auto plain = system.TryReceive("plain");
  auto writer = system.SendZeroCopy("jobs", 1, 10'000, Deadline::Now());
  ASSERT_TRUE(held.ok() && plain.ok() && writer.ok());
  Child child = Stop();
  const int64_t start = NowNs();
  writer->Rollback();
  plain->Release();
  held->Release();
  EXPECT_LT(SecondsSince(start), 0.5);
  const bool had_to_wait = system.attachment()->loans().AnyDoomed();
  const std::string point = GetParam().point;
  EXPECT_EQ(had_to_wait, point.starts_with("alloc.") || point == "queue.return.1");
  child.Continue();
  EXPECT_TRUE(child.EndedWell());
  EXPECT_TRUE(system.TryReceive("plain").ok()) << "any call";
  EXPECT_FALSE(system.attachment()->loans().AnyDoomed());
  const std::vector<int> values = Drain();
  EXPECT_EQ(std::count(values.begin(), values.end(), 0), 1) << "it was offered again";
  EXPECT_EQ(AuditText(system), "none");
}

struct Large {
  int number;
  std::byte rest[5000];
};
class StoppedInTheHeap : public Stopped {};
INSTANTIATE_TEST_SUITE_P(Points, StoppedInTheHeap, ::testing::ValuesIn(kPlaces, kPlaces + 1));

TEST_P(StoppedInTheHeap, WhatCannotBeFreedSlowsReceiversDownButDoesNotStopThem) {
  constexpr int kMessages = 100;
  constexpr int kFew = 64;
  auto many = system.CreateChannel("many", {.capacity = 128});
  ASSERT_TRUE(many.ok());
  // Too large for a magazine.
  for (int i = 0; i < kMessages; ++i)
    ASSERT_TRUE(many->Send(1, Large{i, {}}, Deadline::Now()).ok());
  Child child = Stop();
  const auto receive = [&](int from, int to) {
    const int64_t start = NowNs();
    for (int i = from; i < to; ++i) {
      auto message = many->Receive(Soon());
      ASSERT_TRUE(message.ok()) << message.status();
      EXPECT_EQ(message->As<Large>()->number, i);
      EXPECT_TRUE(message->Ack().ok());
    }
    EXPECT_EQ(SecondsSince(start) * 1e3 > (to - from) * 0.9, from != 0);
    EXPECT_LT(SecondsSince(start), 2.0);
  };
  receive(0, kFew);
  receive(kFew, kMessages);
  EXPECT_EQ(system.attachment()->loans().doomed(), static_cast<uint32_t>(kMessages));
  child.Continue();
  EXPECT_TRUE(child.EndedWell());
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(many->TryReceive().ok());
  EXPECT_FALSE(system.attachment()->loans().AnyDoomed());
  EXPECT_EQ(AuditText(system), "none");
}

TEST_P(StoppedInTheHeap, SmallMessagesAreReceivedAndFreedAllTheSame) {
  constexpr int kMessages = 30;
  auto many = system.CreateChannel("many", {.capacity = 128});
  ASSERT_TRUE(many.ok());
  for (int i = 0; i < kMessages; ++i) ASSERT_TRUE(many->Send(1, i, Deadline::Now()).ok());
  Child child = Stop();
  const int64_t start = NowNs();
  for (int i = 0; i < kMessages; ++i) {
    auto message = many->Receive(Soon());
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_TRUE(message->Ack().ok());
  }
  EXPECT_LT(SecondsSince(start), 0.5);
  EXPECT_FALSE(system.attachment()->loans().AnyDoomed());
  child.Continue();
  EXPECT_TRUE(child.EndedWell());
  EXPECT_EQ(AuditText(system), "none");
}

TEST_P(Stopped, RecoverGivesBackABufferWhoseHandleWasDroppedMeanwhile) {
  constexpr uint64_t kBytes = 12'345;
  auto mine = system.buffers().Create("mine", kBytes);
  ASSERT_TRUE(mine.ok() && system.buffers().Remove("mine").ok());
  Child child = Stop();
  mine->Release();
  child.Continue();
  EXPECT_TRUE(child.EndedWell());
  system.Recover();
  for (const registry::BufferInfo& buffer : system.buffers().List()) {
    EXPECT_NE(buffer.size_bytes, kBytes) << "nobody needs it any more";
  }
}

TEST_P(Stopped, WhenItDiesTheNextCallGoesOn) {
  Child child = Stop();
  child.Kill();
  const int64_t start = NowNs();
  auto message = system.Receive("jobs", Soon());
  ASSERT_TRUE(message.ok()) << message.status();
  ASSERT_TRUE(message->Ack().ok());
  message->Release();
  auto writer = system.SendZeroCopy("jobs", 1, 10'000, Soon());
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(writer->CommitPrefix(sizeof(int), Soon()).ok());
  EXPECT_TRUE(system.CreateChannel("third", {.capacity = 4}, Soon()).ok());
  EXPECT_LT(SecondsSince(start), 2.0);
  EXPECT_EQ(Drain().size(), 2u) << "one of the first two, and the one just sent";
  system.Recover();
  EXPECT_EQ(system.Participants().size(), 1u);
  EXPECT_EQ(AuditText(system), "none");
}

}  // namespace
}  // namespace thole::comm::testing
