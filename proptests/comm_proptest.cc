// Random programs of several participants against the model. Every program prints its seed when it
// fails: run it again with THOLE_SEED=that.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <optional>

#include "support/message_model.h"
#include "thole/comm/audit.h"
#include "thole/comm/unified_communication_system.h"
#include "thole/shm/testing/fake_kernel.h"
#include "thole/shm/testing/scenario.h"

namespace thole::proptests {
namespace {

using comm::UnifiedCommunicationSystem;
using shm::testing::FakeKernel;
using shm::testing::FakePlatform;
using shm::testing::Random;

constexpr uint64_t kBytes = uint64_t{256} << 10;
constexpr shm::SegmentOptions kShape{
    .size_bytes = kBytes, .participants_max = 8, .lanes_per_participant = 2};
constexpr uint32_t kProcesses = 3;
constexpr uint32_t kCapacity = 4;

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};

// Several participants on one image; the last one never dies and watches.
class Machine {
 public:
  explicit Machine(uint64_t seed) : random_(seed), model_(kCapacity) {
    auto made = shm::Segment::Create(shm::Place::Memory(memory_.get(), kBytes), kShape,
                                     UnifiedCommunicationSystem::Roots(kShape));
    EXPECT_TRUE(made.ok()) << made.status();
    for (uint32_t i = 0; i <= kProcesses; ++i) Attach(i);
    auto created = processes_[kProcesses].system->CreateChannel("jobs", {.capacity = kCapacity});
    EXPECT_TRUE(created.ok()) << created.status();
    base_bytes_ = Watcher().HeapUse().used_bytes;
  }
  ~Machine() {
    for (Process& process : processes_) Detach(process);
  }

  void Step() {
    const uint32_t index = static_cast<uint32_t>(random_.Below(kProcesses));
    Process& process = processes_[index];
    switch (random_.Below(12)) {
      case 0:
        return Die(index);
      case 1:
        return Leave(index);
      case 2:
        return Abandoned(process);
      case 3:
      case 4:
        return Acknowledge(process);
      case 5:
        return GiveBack(process);
      case 6:
      case 7:
      case 8:
        return Receive(index);
      default:
        return Send(process);
    }
  }

  // The dead are repaired, every message is drained: nothing is lost, leaked or damaged.
  void Finish() {
    for (uint32_t i = 0; i < kProcesses; ++i) Die(i);
    auto jobs = Watcher().ConnectChannel("jobs");
    ASSERT_TRUE(jobs.ok());
    while (!model_.empty()) {
      auto message = jobs->TryReceive();
      ASSERT_TRUE(message.ok()) << message.status() << " with " << model_.waiting() << " waiting";
      CheckReceived(*message, kProcesses);
      ASSERT_TRUE(message->Ack().ok());
      model_.Acknowledge(*message->As<uint64_t>());
    }
    EXPECT_TRUE(absl::IsUnavailable(jobs->TryReceive().status()));
    EXPECT_EQ(Watcher().HeapUse().used_bytes, base_bytes_) << "bytes leaked";
    const auto audit = comm::AuditSystem(Watcher().attachment()->segment());
    EXPECT_TRUE(audit.findings.empty()) << audit.findings.ToString();
    EXPECT_EQ(audit.orphan_bytes, 0u);
  }

 private:
  struct Process {
    FakePlatform* platform = nullptr;
    std::optional<UnifiedCommunicationSystem> system;
    std::map<uint64_t, MessageHandle> held;
  };

  UnifiedCommunicationSystem& Watcher() { return *processes_[kProcesses].system; }

  void Attach(uint32_t index) {
    auto segment = shm::Segment::Open(shm::Place::Memory(memory_.get(), kBytes), {});
    ASSERT_TRUE(segment.ok()) << segment.status();
    auto platform =
        std::make_unique<FakePlatform>(kernel_, shm::SegmentView(memory_.get(), kBytes));
    processes_[index].platform = platform.get();
    auto attachment = shm::Attachment::Make(*std::move(segment), std::move(platform));
    ASSERT_TRUE(attachment.ok()) << attachment.status();
    auto system = UnifiedCommunicationSystem::OpenOn(*std::move(attachment), "prop");
    ASSERT_TRUE(system.ok()) << system.status();
    processes_[index].system.emplace(*std::move(system));
  }
  void Detach(Process& process) {
    process.held.clear();
    process.system.reset();
  }
  void Die(uint32_t index) {
    Process& process = processes_[index];
    process.platform->Die();  // its destructors do nothing from here on
    Detach(process);
    EXPECT_EQ(Watcher().Recover(), 1u);
    model_.Die(index);
    Attach(index);
  }
  void Leave(uint32_t index) {
    Process& process = processes_[index];
    ASSERT_TRUE(process.system->Leave(Deadline::Now()).ok());
    Detach(process);
    model_.Die(index);
    Attach(index);
  }
  // A message that was begun and not sent leaves nothing behind.
  void Abandoned(Process& process) {
    auto writer = process.system->SendZeroCopy("jobs", 1, random_.Below(5000), Deadline::Now());
    ASSERT_TRUE(writer.ok()) << writer.status();
  }
  void Send(Process& process) {
    const uint64_t id = ++last_id_;
    const absl::Status sent = process.system->Send("jobs", 1, id, Deadline::Now());
    if (sent.ok()) {
      model_.Send(id);
    } else {
      EXPECT_TRUE(absl::IsResourceExhausted(sent)) << sent;
      EXPECT_TRUE(model_.full()) << "said to be full with " << model_.waiting() << " waiting";
    }
  }
  void CheckReceived(const MessageHandle& message, uint32_t index) {
    ASSERT_NE(message.As<uint64_t>(), nullptr);
    const uint64_t id = *message.As<uint64_t>();
    EXPECT_TRUE(model_.MayReceive(id, message.attempt()))
        << "message " << id << " attempt " << message.attempt();
    model_.Receive(id, index);
  }
  void Receive(uint32_t index) {
    auto message = processes_[index].system->TryReceive("jobs");
    if (!message.ok()) {
      EXPECT_TRUE(absl::IsUnavailable(message.status())) << message.status();
      EXPECT_TRUE(model_.empty()) << "said to be empty with " << model_.waiting() << " waiting";
      return;
    }
    CheckReceived(*message, index);
    processes_[index].held[*message->As<uint64_t>()] = *std::move(message);
  }
  void Acknowledge(Process& process) {
    if (process.held.empty()) return;
    auto held = process.held.begin();
    if (random_.Chance(2)) {
      const MessageHandle clone = held->second.Clone();
      EXPECT_EQ(clone.sequence(), held->second.sequence());
    }
    ASSERT_TRUE(held->second.Ack().ok());
    model_.Acknowledge(held->first);
    process.held.erase(held);
  }
  void GiveBack(Process& process) {
    if (process.held.empty()) return;
    const auto held = std::prev(process.held.end());
    model_.GiveBack(held->first);
    process.held.erase(held);  // dropped without Ack
  }

  Random random_;
  MessageModel model_;
  std::unique_ptr<void, FreeMemory> memory_{std::aligned_alloc(4096, kBytes)};
  std::shared_ptr<FakeKernel> kernel_ = std::make_shared<FakeKernel>(8);
  Process processes_[kProcesses + 1];
  uint64_t base_bytes_ = 0;
  uint64_t last_id_ = 0;
};

TEST(CommLaws, EveryMessageIsInExactlyOnePlaceWhoeverDiesAndComesBack) {
  const char* given = std::getenv("THOLE_SEED");
  const uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
  const uint64_t last = given != nullptr ? first : first + 299;
  for (uint64_t seed = first; seed <= last && !HasFailure(); ++seed) {
    SCOPED_TRACE("THOLE_SEED=" + std::to_string(seed));
    Machine machine(seed);
    for (int step = 0; step < 60 && !HasFatalFailure(); ++step) machine.Step();
    if (!HasFatalFailure()) machine.Finish();
  }
}

}  // namespace
}  // namespace thole::proptests
