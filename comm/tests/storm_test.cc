// A storm: feeders and workers are killed every few milliseconds, every message is accounted for.
//
// The ledger lies in memory beside the segment. A feeder notes a message before it sends it, and
// when the send returned; a worker notes that it has done it, sends a result and acknowledges. At
// the end every message whose send returned was done and has a result, and none came twice with
// attempt 0.
#include <random>

#include "comm_test.h"

namespace thole::comm::testing {
namespace {

constexpr uint32_t kFeeders = 2;
constexpr uint32_t kWorkers = 3;
constexpr uint32_t kMessagesMax = 1 << 19;  // of a feeder
constexpr uint64_t kLargest = 40'000;
constexpr double kStormSeconds = 5;

struct Ledger {
  std::atomic<uint32_t> next[kFeeders];  // noted before the send: never sent twice
  std::atomic<uint32_t> stop_feeding;
  std::atomic<uint32_t> damaged;   // payloads that were not what was sent
  std::atomic<uint32_t> impolite;  // calls that failed with a code that cannot be
  std::atomic<uint8_t> sent[kFeeders * kMessagesMax];
  std::atomic<uint8_t> first_offers[kFeeders * kMessagesMax];  // with attempt 0
  std::atomic<uint8_t> done[kFeeders * kMessagesMax];
  uint8_t results[kFeeders * kMessagesMax];  // of the collector
};

struct Job {
  uint32_t id;
  uint32_t seed;
};

uint64_t SizeOf(const Job& job) {
  const uint64_t spread = job.seed % 100 < 90 ? 600 : kLargest;
  return sizeof(Job) + job.seed % spread;
}
std::byte ByteAt(const Job& job, uint64_t i) { return static_cast<std::byte>(job.seed + i * 3); }

void Complain(Ledger& ledger, const absl::Status& status) {
  if (ledger.impolite.fetch_add(1) < 5) {
    std::fprintf(stderr, "unexpected: %s\n", status.ToString().c_str());
  }
}

void Feed(const TestSegment& segment, Ledger& ledger, uint32_t feeder) {
  auto system = segment.Open("feeder");
  auto jobs = system.ConnectChannel("jobs");
  if (!jobs.ok()) return Complain(ledger, jobs.status());
  std::mt19937 random(static_cast<uint32_t>(getpid()));
  while (ledger.stop_feeding.load() == 0) {
    const uint32_t number = ledger.next[feeder].fetch_add(1);
    if (number >= kMessagesMax) break;
    const Job job{feeder * kMessagesMax + number, static_cast<uint32_t>(random())};
    const uint64_t size = SizeOf(job);
    const uint64_t reserved = size + (job.seed % 7 == 0 ? random() % kLargest : 0);
    auto writer = jobs->SendZeroCopy(1, reserved, Soon());
    if (!writer.ok()) return Complain(ledger, writer.status());
    if (job.seed % 31 == 0) continue;  // changed its mind
    std::memcpy(writer->bytes().data(), &job, sizeof(job));
    for (uint64_t i = sizeof(job); i < size; ++i) writer->bytes()[i] = ByteAt(job, i);
    auto sent = writer->CommitPrefix(size, Soon());
    if (!sent.ok()) return Complain(ledger, sent.status());
    ledger.sent[job.id].store(1);
  }
  while (ledger.stop_feeding.load() == 0) sched_yield();  // may still be chosen as the victim
}

bool IsWhole(const MessageHandle& message) {
  const auto job = message.ReadPrefix<Job>();
  if (!job || job->id >= kFeeders * kMessagesMax || message.size() != SizeOf(*job)) return false;
  for (uint64_t i = sizeof(Job); i < message.size(); ++i) {
    if (message.bytes()[i] != ByteAt(*job, i)) return false;
  }
  return true;
}

void Work(const TestSegment& segment, Ledger& ledger) {
  auto system = segment.Open("worker");
  auto jobs = system.ConnectChannel("jobs");
  auto results = system.ConnectChannel("results");
  if (!jobs.ok() || !results.ok()) return Complain(ledger, jobs.status());
  std::mt19937 random(static_cast<uint32_t>(getpid()));
  for (;;) {
    auto message = jobs->Receive(Soon());
    if (absl::IsOutOfRange(message.status())) return;
    if (!message.ok()) return Complain(ledger, message.status());
    if (!IsWhole(*message)) {
      ledger.damaged.fetch_add(1);
      continue;
    }
    const uint32_t id = message->ReadPrefix<Job>()->id;
    if (message->attempt() == 0) ledger.first_offers[id].fetch_add(1);
    if (random() % 50 == 0) continue;  // not now: somebody else shall do it
    MessageHandle clone = message->Clone();
    message->Release();
    ledger.done[id].fetch_add(1);
    if (auto sent = results->Send(2, id, Soon()); !sent.ok()) return Complain(ledger, sent);
    if (auto acked = clone.Ack(); !acked.ok()) return Complain(ledger, acked);
  }
}

class Storm : public ::testing::Test {
 protected:
  Storm() {
    void* page = mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (page == MAP_FAILED) std::abort();
    ledger = static_cast<Ledger*>(page);  // zero, which is what it starts with
  }
  ~Storm() override { munmap(ledger, sizeof(Ledger)); }

  std::unique_ptr<Child> Start(uint32_t index) {
    return std::make_unique<Child>([&, index] {
      if (index < kFeeders) {
        Feed(segment, *ledger, index);
      } else {
        Work(segment, *ledger);
      }
    });
  }
  void Collect() {
    for (auto result = results->TryReceive(); result.ok(); result = results->TryReceive()) {
      uint8_t& count = ledger->results[*result->As<uint32_t>()];
      if (count < 255) ++count;
      EXPECT_TRUE(result->Ack().ok());
    }
  }
  bool DiedInACall(pid_t pid) {
    for (const ParticipantInfo& info : system.Participants()) {
      if (info.pid == static_cast<uint32_t>(pid)) return info.in_call;
    }
    return false;  // it had no seat yet
  }
  void KillAndRestart(std::mt19937& random) {
    const uint32_t victim = random() % (kFeeders + kWorkers);
    const pid_t pid = children[victim]->pid();
    children[victim]->Kill();
    ++kills;
    if (DiedInACall(pid)) ++in_calls;
    children[victim] = Start(victim);
  }

  TestSegment segment{{.size_bytes = 16 << 20, .participants_max = 16, .lanes_per_participant = 2}};
  UnifiedCommunicationSystem system = segment.Open("collector");
  std::unique_ptr<Channel> results;
  Ledger* ledger = nullptr;
  std::vector<std::unique_ptr<Child>> children;
  uint32_t kills = 0;
  uint32_t in_calls = 0;
};

TEST_F(Storm, LosesNothingAndLeaksNothing) {
  ASSERT_TRUE(system.CreateChannel("jobs", {.capacity = 128}).ok());
  auto made = system.CreateChannel("results", {.capacity = 4096});
  ASSERT_TRUE(made.ok());
  results = std::make_unique<Channel>(*made);
  const uint64_t used = Used(system);

  for (uint32_t i = 0; i < kFeeders + kWorkers; ++i) children.push_back(Start(i));
  std::mt19937 random(1);
  for (const int64_t start = NowNs(); SecondsSince(start) < kStormSeconds;) {
    KillAndRestart(random);
    const int64_t next = NowNs() + 1'000'000 + static_cast<int64_t>(random() % 3'000'000);
    while (NowNs() < next) {
      Collect();
      sched_yield();
    }
  }
  ledger->stop_feeding.store(1);
  for (uint32_t i = 0; i < kFeeders; ++i) EXPECT_TRUE(children[i]->EndedWell());
  ASSERT_TRUE(system.ConnectChannel("jobs")->Close().ok());
  // The workers end when the channel is drained; until then they need room for their results.
  for (uint32_t i = kFeeders; i < kFeeders + kWorkers; ++i) {
    std::optional<int> ended;
    for (const int64_t start = NowNs(); !ended && SecondsSince(start) < 20; sched_yield()) {
      Collect();
      ended = children[i]->TryWait();
    }
    EXPECT_EQ(ended.value_or(-1), 0);
  }
  children.clear();
  Collect();

  uint64_t sent = 0, lost = 0, duplicates = 0, without_cause = 0, unsent = 0;
  for (uint32_t id = 0; id < kFeeders * kMessagesMax; ++id) {
    sent += ledger->sent[id];
    lost += ledger->sent[id] != 0 && (ledger->done[id] == 0 || ledger->results[id] == 0);
    duplicates += ledger->done[id] > 1;
    without_cause += ledger->first_offers[id] > 1;
    unsent += ledger->sent[id] == 0 && ledger->done[id] != 0;
  }
  std::printf("%lu messages, %u kills (%u inside a call), %lu redelivered, %lu duplicates done\n",
              static_cast<unsigned long>(sent), kills, in_calls,
              static_cast<unsigned long>(system.ListChannels()[0].redelivered),
              static_cast<unsigned long>(duplicates));
  EXPECT_GT(sent, 1000u);
  EXPECT_GT(kills, 100u);
  EXPECT_GT(in_calls, 0u);
  EXPECT_EQ(lost, 0u);
  EXPECT_EQ(without_cause, 0u) << "offered twice as if for the first time";
  EXPECT_LE(unsent, kills) << "sends that took effect, but whose feeder died before it noted that";
  EXPECT_EQ(ledger->damaged, 0u);
  EXPECT_EQ(ledger->impolite, 0u);
  system.Recover();
  EXPECT_EQ(system.Participants().size(), 1u);
  EXPECT_EQ(Used(system), used);
  EXPECT_EQ(AuditText(system), "none");
}

}  // namespace
}  // namespace thole::comm::testing
