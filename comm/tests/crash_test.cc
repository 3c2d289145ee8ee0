// Death at every crash point inside every call of comm, of whatever component the point is; also
// with a repairer that dies in the middle of its repair.
#include "thole/shm/testing/crash_test.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "comm_test.h"

namespace thole::comm::testing {
namespace {

using shm::testing::CrashEnd;
using shm::testing::CrashPointHits;

constexpr uint32_t kHitsTried = 3;

/// Crash points count only while this lives: what the child does before is not the call.
class Armed {
 public:
  explicit Armed(shm::CrashPointHook hook) { shm::crash_point_hook = hook; }
  ~Armed() { shm::crash_point_hook = nullptr; }
};

shm::CrashPointHook Disarm() { return std::exchange(shm::crash_point_hook, nullptr); }

/// One call. Channel "jobs" holds 1 and 2 before it; "plain" (without acknowledgement) 11 and 12.
struct CrashCase {
  const char* name;
  /// In the child; the hook is armed for the call only.
  void (*act)(const TestSegment&, shm::CrashPointHook);
  /// What may be missing or additional when the child died in the call; then none of it twice.
  std::vector<int> uncertain = {};
  /// What must be there, or must not, when the call returned.
  std::vector<int> there_afterwards = {};
  std::vector<int> gone_afterwards = {};
};

void SendValue(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  auto jobs = system.ConnectChannel("jobs");
  const Armed armed(hook);
  ASSERT_TRUE(jobs->Send(1, 3, Soon()).ok());
}
void SendByName(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  const Armed armed(hook);  // connects inside
  ASSERT_TRUE(system.Send("jobs", 1, 3, Soon()).ok());
}
void SendPlain(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  auto plain = system.ConnectChannel("plain");
  const Armed armed(hook);
  ASSERT_TRUE(plain->Send(1, 13, Soon()).ok());
}
void CommitPart(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  auto jobs = system.ConnectChannel("jobs");
  const int value = 3;
  const Armed armed(hook);
  auto writer = jobs->SendZeroCopy(1, 50'000, Soon());
  ASSERT_TRUE(writer.ok());
  std::memcpy(writer->bytes().data(), &value, sizeof(value));
  ASSERT_TRUE(writer->CommitPrefix(sizeof(value), Soon()).ok());
}
void Rollback(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  auto jobs = system.ConnectChannel("jobs");
  const Armed armed(hook);
  auto writer = jobs->SendZeroCopy(1, 50'000, Soon());
  ASSERT_TRUE(writer.ok());
}
void Receive(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  auto jobs = system.ConnectChannel("jobs");
  MessageHandle message;
  {
    const Armed armed(hook);
    message = *jobs->Receive(Soon());
  }
  _exit(0);  // with the message in hand
}
void ReceiveWhatCameBack(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  auto jobs = system.ConnectChannel("jobs");
  jobs->TryReceive()->Release();
  Receive(segment, hook);
}
void ReceivePlain(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  auto plain = system.ConnectChannel("plain");
  const Armed armed(hook);
  auto message = plain->TryReceive();  // and drops it
  ASSERT_TRUE(message.ok());
}
void Acknowledge(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  auto message = system.TryReceive("jobs");
  const Armed armed(hook);
  ASSERT_TRUE(message->Ack().ok());
  message->Release();
}
void DropWithoutAck(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  auto message = system.TryReceive("jobs");
  const Armed armed(hook);
  message->Release();
}
void DropTheLastClone(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  auto message = system.TryReceive("jobs");
  MessageHandle clone = message->Clone();
  const Armed armed(hook);
  message->Release();
  ASSERT_TRUE(clone.Ack().ok());
  clone.Release();
}
void CreateAChannel(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  const Armed armed(hook);
  ASSERT_TRUE(system.CreateChannel("new", {.capacity = 4}).ok());
}
void CloseAChannel(const TestSegment& segment, shm::CrashPointHook hook) {
  auto system = segment.Open("victim");
  auto jobs = system.ConnectChannel("jobs");
  const Armed armed(hook);
  ASSERT_TRUE(jobs->Close().ok());
}
void OpenAndLeave(const TestSegment& segment, shm::CrashPointHook hook) {
  const Armed armed(hook);
  auto system = segment.Open("victim");
  auto message = system.TryReceive("jobs");
  auto writer = system.SendZeroCopy("jobs", 1, 100, Soon());
  ASSERT_TRUE(message.ok() && writer.ok());
  ASSERT_TRUE(system.Leave(Soon()).ok());
}

const CrashCase kCases[] = {
    {"Send", SendValue, {3}, {3}},
    {"SendByName", SendByName, {3}, {3}},
    {"SendPlain", SendPlain, {13}, {13}},
    {"SendZeroCopyAndCommitPrefix", CommitPart, {3}, {3}},
    {"SendZeroCopyAndDrop", Rollback},
    {"Receive", Receive},
    {"ReceiveWhatCameBack", ReceiveWhatCameBack},
    {"ReceivePlain", ReceivePlain, {11}, {}, {11}},
    {"Ack", Acknowledge, {1}, {}, {1}},
    {"DropWithoutAck", DropWithoutAck},
    {"DropTheLastClone", DropTheLastClone, {1}, {}, {1}},
    {"CreateChannel", CreateAChannel},
    {"Close", CloseAChannel},
    {"OpenAndLeave", OpenAndLeave},
};

// Points of a repairer, by number: it dies at the nth of whatever name.
uint32_t points_left = 0;
void DieSoon(const char*) {
  if (points_left-- == 0) kill(getpid(), SIGKILL);
}

class CommCrash : public ::testing::TestWithParam<CrashCase> {
 protected:
  /// A segment as the cases want it, and the survivor's seat in it.
  struct World {
    TestSegment segment{{.size_bytes = 1 << 20, .participants_max = 4, .lanes_per_participant = 2}};
    UnifiedCommunicationSystem system = segment.Open("survivor");
    uint64_t used = 0;
    World() {
      EXPECT_TRUE(system.CreateChannel("jobs", {.capacity = 8}).ok());
      EXPECT_TRUE(system.CreateChannel("plain", {.capacity = 8, .acknowledged = false}).ok());
      used = Used(system);
      for (const int value : {1, 2}) EXPECT_TRUE(system.Send("jobs", 1, value, Soon()).ok());
      for (const int value : {11, 12}) EXPECT_TRUE(system.Send("plain", 1, value, Soon()).ok());
    }
  };

  /// The points of the call, in the order in which it comes by them.
  static std::vector<CrashPointHits> Points() {
    World world;
    return shm::testing::CrashPointsOf("", [&] { GetParam().act(world.segment, Disarm()); });
  }

  static void Drain(UnifiedCommunicationSystem& system, std::map<int, int>& seen) {
    for (const char* name : {"jobs", "plain"}) {
      for (auto m = system.TryReceive(name); m.ok(); m = system.TryReceive(name)) {
        const int* value = m->As<int>();
        ASSERT_NE(value, nullptr);
        ++seen[*value];
        EXPECT_LE(m->attempt(), 2u);
        EXPECT_TRUE(m->Ack().ok());
      }
    }
  }

  static void Judge(World& world, bool died) {
    UnifiedCommunicationSystem& system = world.system;
    system.Recover();
    EXPECT_EQ(system.Participants().size(), 1u);
    EXPECT_EQ(AuditText(system), "none");
    std::map<int, int> expected = {{1, 1}, {2, 1}, {11, 1}, {12, 1}};
    std::map<int, int> seen;
    Drain(system, seen);
    for (const int value : died ? GetParam().uncertain : GetParam().there_afterwards) {
      if (died) {
        EXPECT_LE(seen[value], 1);
      }
      expected[value] = died ? seen[value] : 1;
    }
    for (const int value : died ? std::vector<int>() : GetParam().gone_afterwards) {
      expected.erase(value);
    }
    std::erase_if(expected, [](const auto& item) { return item.second == 0; });
    std::erase_if(seen, [](const auto& item) { return item.second == 0; });
    EXPECT_EQ(seen, expected);
    // Everything still works, and no byte is missing but those of a channel that was made.
    auto channel = system.CreateChannel("new", {.capacity = 4});
    ASSERT_TRUE(channel.ok()) << channel.status();
    ASSERT_TRUE(channel->Send(1, 5, Soon()).ok());
    ASSERT_TRUE(channel->TryReceive()->Ack().ok());
    static uint64_t channel_bytes = 0;
    if (channel_bytes == 0) channel_bytes = Used(system) - world.used;
    EXPECT_EQ(Used(system), world.used + channel_bytes);
    EXPECT_EQ(AuditText(system), "none");
  }
};
INSTANTIATE_TEST_SUITE_P(Calls, CommCrash, ::testing::ValuesIn(kCases),
                         [](const auto& param_info) { return param_info.param.name; });

TEST_P(CommCrash, TheCallReturnsWhenNobodyDies) {
  World world;
  const CrashEnd end = shm::testing::RunAndDieAt("no such point", 1, [&] {
    GetParam().act(world.segment, Disarm());
    _exit(::testing::Test::HasFailure() ? 99 : 0);
  });
  EXPECT_EQ(end.exit_code, 0) << end.ToString();
  Judge(world, false);
}

TEST_P(CommCrash, IsRepairedAfterDeathAtEveryPoint) {
  const auto points = Points();
  ASSERT_FALSE(points.empty());
  if (std::string_view(GetParam().name) == "Ack") {  // comm's own step is among them
    EXPECT_TRUE(std::any_of(points.begin(), points.end(),
                            [](const auto& point) { return point.name == "comm.ack.1"; }));
  }
  uint32_t deaths = 0;
  for (const CrashPointHits& point : points) {
    for (uint32_t nth = 1; nth <= std::min(point.hits, kHitsTried); ++nth) {
      SCOPED_TRACE(point.name + ", hit " + std::to_string(nth));
      World world;
      const CrashEnd end = shm::testing::RunAndDieAt(
          point.name, nth, [&] { GetParam().act(world.segment, Disarm()); });
      EXPECT_TRUE(end.died_there) << end.ToString();
      Judge(world, true);
      ++deaths;
      if (HasFailure()) return;
    }
  }
  RecordProperty("points", static_cast<int>(points.size()));
  std::printf("%s: %zu points, %u deaths\n", GetParam().name, points.size(), deaths);
}

TEST(CommAck, AMessageIsGoneFromTheStepThatCommits) {
  TestSegment segment;
  auto system = segment.Open("survivor");
  ASSERT_TRUE(system.CreateChannel("jobs", {.capacity = 8}).ok());
  const uint64_t used = Used(system);
  ASSERT_TRUE(system.Send("jobs", 1, 1, Soon()).ok());
  const CrashEnd end =
      shm::testing::RunAndDieAt("comm.ack.1", 1, [&] { Acknowledge(segment, Disarm()); });
  EXPECT_TRUE(end.died_there) << end.ToString();
  EXPECT_EQ(system.Recover(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(system.TryReceive("jobs").status()));
  EXPECT_EQ(Used(system), used);
  EXPECT_EQ(AuditText(system), "none");
}

TEST_P(CommCrash, IsRepairedWhenRepairersDieToo) {
  const auto points = Points();
  ASSERT_FALSE(points.empty());
  uint32_t number = 0;
  uint32_t died_repairing = 0;
  for (const CrashPointHits& point : points) {
    SCOPED_TRACE(point.name);
    World world;
    const CrashEnd end = shm::testing::RunAndDieAt(
        point.name, point.hits, [&] { GetParam().act(world.segment, Disarm()); });
    ASSERT_TRUE(end.died_there) << end.ToString();
    for (int repairer = 0; repairer < 3; ++repairer, number += 7) {
      Child child([&] {
        points_left = number % 41;  // a repair of one call comes by about as many
        const Armed armed(DieSoon);
        auto mine = world.segment.Open("repairer");
      });
      if (child.Wait() != 0) ++died_repairing;
    }
    Judge(world, true);
    if (HasFailure()) return;
  }
  std::printf("%s: %u of %zu repairers died\n", GetParam().name, died_repairing, 3 * points.size());
}

}  // namespace
}  // namespace thole::comm::testing
