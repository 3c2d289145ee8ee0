// Calls that fail: the code, the sentence, and that nothing was left behind.
#include <gmock/gmock.h>

#include "comm_test.h"

namespace thole::comm::testing {
namespace {

using ::testing::HasSubstr;

struct FailingCall {
  const char* what;
  absl::StatusCode code;
  std::function<absl::Status(UnifiedCommunicationSystem&)> call;
  const char* sentence = "";  // part of the message; hot answers have none
};

Deadline Now() { return Deadline::Now(); }
Deadline Short() { return Deadline::In(milliseconds(3)); }

template <class T>
absl::Status StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

/// Bytes for which a 1 MiB segment has room in principle, but not at the moment.
constexpr uint64_t kMuch = 500 << 10;

using System = UnifiedCommunicationSystem;
using absl::StatusCode;

std::vector<FailingCall> FailingCalls() {
  return {
      {"send to a full channel", StatusCode::kResourceExhausted,
       [](System& s) { return s.Send("full", 1, 1, Now()); }},
      {"send to a full channel, waiting", StatusCode::kDeadlineExceeded,
       [](System& s) { return s.Send("full", 1, 1, Short()); }},
      {"send bytes to a full channel", StatusCode::kResourceExhausted,
       [](System& s) { return s.SendBytes("full", 1, Pattern(9000, 1), Now()); }},
      {"commit to a full channel, then drop the writer", StatusCode::kResourceExhausted,
       [](System& s) { return s.SendZeroCopy("full", 1, 9000, Now())->Commit(Now()).status(); }},
      {"commit a prefix to a full channel", StatusCode::kDeadlineExceeded,
       [](System& s) {
         return s.SendZeroCopy("full", 1, 9000, Now())->CommitPrefix(10, Short()).status();
       }},
      {"commit more than there is", StatusCode::kInvalidArgument,
       [](System& s) {
         return s.SendZeroCopy("open", 1, 10, Now())->CommitPrefix(11, Now()).status();
       },
       "cannot commit 11 bytes"},
      {"send to a closed channel", StatusCode::kFailedPrecondition,
       [](System& s) { return s.Send("closed", 1, 1, Now()); },
       "channel 'closed' is closed: nothing more can be sent to it"},
      {"reserve for a closed channel", StatusCode::kFailedPrecondition,
       [](System& s) { return StatusOf(s.SendZeroCopy("closed", 1, 1, Short())); }, "is closed"},
      {"receive from a closed, drained channel", StatusCode::kOutOfRange,
       [](System& s) { return StatusOf(s.Receive("closed", Short())); }},
      {"receive from an empty channel", StatusCode::kUnavailable,
       [](System& s) { return StatusOf(s.TryReceive("open")); }},
      {"receive from an empty channel, waiting", StatusCode::kDeadlineExceeded,
       [](System& s) { return StatusOf(s.Receive("open", Short())); }},
      {"a message larger than the segment", StatusCode::kInvalidArgument,
       [](System& s) { return StatusOf(s.SendZeroCopy("open", 1, 2 << 20, Short())); },
       "can never fit"},
      {"a message of an impossible size", StatusCode::kInvalidArgument,
       [](System& s) { return StatusOf(s.SendZeroCopy("open", 1, ~uint64_t{0}, Short())); },
       "send it in pieces"},
      {"a message for which the heap is too full", StatusCode::kResourceExhausted,
       [](System& s) { return StatusOf(s.SendZeroCopy("open", 1, kMuch, Now())); }},
      {"the same, waiting", StatusCode::kResourceExhausted,
       [](System& s) { return StatusOf(s.SendZeroCopy("open", 1, kMuch, Short())); }},
      {"send to an unknown channel", StatusCode::kNotFound,
       [](System& s) { return s.Send("unknown", 1, 1, Now()); }, "'unknown': create it first"},
      {"receive from an unknown channel", StatusCode::kNotFound,
       [](System& s) { return StatusOf(s.TryReceive("unknown")); }, "create it first"},
      {"a channel of capacity 0", StatusCode::kInvalidArgument,
       [](System& s) { return StatusOf(s.CreateChannel("new", {.capacity = 0})); }, "capacity"},
      {"a channel of more than the largest capacity", StatusCode::kInvalidArgument,
       [](System& s) { return StatusOf(s.CreateChannel("new", {.capacity = 524'289})); },
       "capacity"},
      {"a channel for which there is no memory", StatusCode::kResourceExhausted,
       [](System& s) { return StatusOf(s.CreateChannel("new", {.capacity = 16'384})); },
       "smaller capacity"},
      {"a channel with other options", StatusCode::kInvalidArgument,
       [](System& s) { return StatusOf(s.CreateChannel("open", {.acknowledged = false})); },
       "'open'"},
      {"an Ack of an empty handle", StatusCode::kFailedPrecondition,
       [](System&) { return MessageHandle().Ack(); }, "empty"},
      {"a commit of an empty writer", StatusCode::kFailedPrecondition,
       [](System&) { return ZeroCopyWriter().Commit(Now()).status(); }, "empty"},
  };
}

std::vector<FailingCall> CallsWithBadNames() {
  std::vector<FailingCall> calls;
  static const std::string kTooLong(64, 'x');
  struct BadName {
    std::string_view name;
    const char* sentence;
  };
  static const BadName kBadNames[] = {{"", "empty"},
                                      {kTooLong, "63"},
                                      {"a/b", "'/'"},
                                      {"a\nb", "control"},
                                      {std::string_view("a\0b", 3), "control"},
                                      {"\xff\xfe", "UTF-8"}};
  for (const BadName& bad : kBadNames) {
    calls.push_back({"create a channel with a bad name", StatusCode::kInvalidArgument,
                     [&bad](System& s) { return StatusOf(s.CreateChannel(bad.name)); },
                     bad.sentence});
    calls.push_back({"connect to a bad name", StatusCode::kInvalidArgument,
                     [&bad](System& s) { return StatusOf(s.ConnectChannel(bad.name)); },
                     bad.sentence});
    calls.push_back({"send to a bad name", StatusCode::kInvalidArgument,
                     [&bad](System& s) { return s.Send(bad.name, 1, 1, Now()); }, bad.sentence});
  }
  return calls;
}

class Failures : public ::testing::Test {
 protected:
  Failures() {
    EXPECT_TRUE(system.CreateChannel("full", {.capacity = 2}).ok());
    EXPECT_TRUE(system.CreateChannel("open", {.capacity = 16}).ok());
    EXPECT_TRUE(system.CreateChannel("closed", {.capacity = 2}).ok());
    EXPECT_TRUE(system.ConnectChannel("closed")->Close().ok());
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(system.Send("full", 1, i, Now()).ok());
  }
  TestSegment segment{{.size_bytes = 1 << 20}};
  UnifiedCommunicationSystem system = segment.Open();
};

TEST_F(Failures, AfterEveryFailedCallTheUsedBytesAreUnchanged) {
  // What is left of the heap holds neither a large message nor a large channel.
  auto hog = system.SendZeroCopy("open", 1, kMuch, Now());
  ASSERT_TRUE(hog.ok()) << hog.status();
  int tried = 0;
  std::vector<FailingCall> calls = FailingCalls();
  for (FailingCall& call : CallsWithBadNames()) calls.push_back(std::move(call));
  for (const FailingCall& failing : calls) {
    const uint64_t used = Used(system);
    const size_t channels = system.ListChannels().size();
    const absl::Status status = failing.call(system);
    EXPECT_EQ(status.code(), failing.code) << failing.what << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(failing.sentence)) << failing.what;
    EXPECT_EQ(Used(system), used) << failing.what;
    EXPECT_EQ(system.ListChannels().size(), channels) << failing.what;
    EXPECT_EQ(system.attachment()->loans().CountTaken(), 1u)
        << failing.what << ": the hog's loan only";
    ++tried;
  }
  EXPECT_EQ(tried, 41);
  hog->Rollback();
  EXPECT_EQ(AuditText(system), "none");
}

TEST_F(Failures, WithoutALoanLeftNothingIsTakenAndNothingIsLost) {
  ASSERT_TRUE(system.Send("open", 1, 42, Now()).ok());
  std::vector<ZeroCopyWriter> writers;
  // The next loan needs a chunk of the heap, and the last loan takes what the heap still has.
  const uint32_t inline_loans =
      shm::kInlineLoans * system.attachment()->segment().lanes_per_participant();
  while (writers.size() + 1 < inline_loans) {
    auto writer = system.SendZeroCopy("open", 1, 1, Now());
    ASSERT_TRUE(writer.ok()) << writer.status();
    writers.push_back(*std::move(writer));
  }
  for (uint64_t size = system.HeapUse().free_bytes; writers.size() < inline_loans; size -= 1024) {
    auto writer = system.SendZeroCopy("open", 1, size, Now());
    if (writer.ok()) writers.push_back(*std::move(writer));
    ASSERT_GT(size, 4096u);
  }
  const uint64_t used = Used(system);
  EXPECT_TRUE(absl::IsResourceExhausted(system.SendZeroCopy("open", 1, 1, Now()).status()));
  const absl::Status no_loan = system.TryReceive("open").status();
  EXPECT_TRUE(absl::IsResourceExhausted(no_loan)) << no_loan;
  EXPECT_THAT(std::string(no_loan.message()), HasSubstr("release some of those that are held"));
  EXPECT_EQ(Used(system), used);
  writers.clear();
  auto message = system.TryReceive("open");
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->attempt(), 0u);
  ASSERT_TRUE(message->Ack().ok());
  message->Release();
  EXPECT_EQ(AuditText(system), "none");
}

TEST_F(Failures, WithoutAnEntryLeftForItsNameAChannelLeavesNothing) {
  for (int i = 0;; ++i) {
    ASSERT_LT(i, 2000);
    const uint64_t used = Used(system);
    const auto made = system.CreateChannel("c" + std::to_string(i), {.capacity = 1});
    if (made.ok()) continue;
    EXPECT_TRUE(absl::IsResourceExhausted(made.status())) << made.status();
    EXPECT_EQ(Used(system), used);
    break;
  }
  EXPECT_EQ(AuditText(system), "none");
}

TEST_F(Failures, WithoutASeatOpeningIsRefusedWithASentence) {
  std::vector<UnifiedCommunicationSystem> seats;
  const uint64_t used = Used(system);
  for (uint32_t i = 1; i < system.attachment()->segment().participants_max(); ++i) {
    seats.push_back(segment.Open("sitter"));
  }
  const auto refused = UnifiedCommunicationSystem::Open(segment.name());
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status())) << refused.status();
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("seats and all are taken"));
  seats.pop_back();
  EXPECT_TRUE(UnifiedCommunicationSystem::Open(segment.name()).ok());
  EXPECT_EQ(Used(system), used);
}

}  // namespace
}  // namespace thole::comm::testing
