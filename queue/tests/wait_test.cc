// Waiting: no wake-up is lost, and none is paid for when nobody sleeps.
#include <atomic>
#include <chrono>

#include "support/party.h"

namespace thole::queue {
namespace {

using shm::Deadline;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Inline;
using testing::Item;
using testing::MakeSegment;
using testing::Party;
using testing::QueueShape;

/// The real kernel, with its calls counted.
class CountingPlatform final : public shm::Platform {
 public:
  struct Counts {
    std::atomic<uint64_t> waits{0};
    std::atomic<uint64_t> whole_waits{0};  // nobody woke it
    std::atomic<uint64_t> wakes{0};
    std::atomic<uint64_t> others{0};
  };
  CountingPlatform(int file, Counts& counts)
      : Platform(&kAlive), kernel_(shm::MakeKernelPlatform(file)), counts_(counts) {}
  int64_t NowNs() override { return kernel_->NowNs(); }
  void WaitWord(shm::Word32& word, uint32_t expected, uint32_t bits, int64_t until_ns) override {
    ++counts_.waits;
    kernel_->WaitWord(word, expected, bits, until_ns);
    if (kernel_->NowNs() >= until_ns) ++counts_.whole_waits;
  }
  int WakeWord(shm::Word32& word, int count, uint32_t bits) override {
    ++counts_.wakes;
    return kernel_->WakeWord(word, count, bits);
  }
  void Relax() override { kernel_->Relax(); }
  bool TryHold(shm::LockByte byte, uint32_t slot) override {
    ++counts_.others;
    return kernel_->TryHold(byte, slot);
  }
  void Drop(shm::LockByte byte, uint32_t slot) override { kernel_->Drop(byte, slot); }
  bool IsHeld(shm::LockByte byte, uint32_t slot) override {
    ++counts_.others;
    return kernel_->IsHeld(byte, slot);
  }
  shm::ProcessIdentity Self() override { return kernel_->Self(); }
  std::optional<uint64_t> StartTimeOf(uint32_t pid) override { return kernel_->StartTimeOf(pid); }

 private:
  static constexpr unsigned char kAlive = 1;
  std::unique_ptr<shm::Platform> kernel_;
  Counts& counts_;
};

class Waiting : public ::testing::Test {
 protected:
  Waiting()
      : shapes_{{"there", Inline(1)}, {"back", Inline(1)}},
        segment_(MakeSegment(shapes_)),
        party_(segment_.file(), shapes_,
               std::make_unique<CountingPlatform>(segment_.file(), counts_)) {}

  const std::vector<QueueShape> shapes_;
  shm::Segment segment_;
  CountingPlatform::Counts counts_;
  Party party_;
};

TEST_F(Waiting, CostsNoSystemCallWhileNobodySleeps) {
  const auto queue = party_->items();
  const uint64_t others = counts_.others;
  Item item;
  for (uint64_t i = 0; i < 100'000; ++i) {
    ASSERT_EQ(queue.TryPush(Item::Of(i)), PushResult::kOk);
    ASSERT_EQ(queue.Push(Item::Of(i), Deadline::Now()), PushResult::kFull);
    ASSERT_EQ(queue.Pop(item, Deadline::Never()), PopResult::kOk);
    ASSERT_EQ(queue.TryPop(item), PopResult::kEmpty);
  }
  EXPECT_EQ(counts_.waits, 0u);
  EXPECT_EQ(counts_.wakes, 0u);
  EXPECT_EQ(counts_.others, others);
}

TEST_F(Waiting, LooksOnceMoreBetweenItsRegistrationAndItsSleep) {
  // Who notified before the registration saw nobody: only this look finds what came then.
  const shm::WaitListData& sleepers = party_->handle().ring().data().consumers;
  QueueWait wait(party_->handle(), WaitSide::kPop, Deadline::In(seconds(20)));
  bool looked = false;
  while (counts_.waits == 0) {
    ASSERT_TRUE(wait.Next(false, kNobody));
    looked = looked || (counts_.waits == 0 && sleepers.waiters.load() != 0);
  }
  EXPECT_TRUE(looked);
}

TEST_F(Waiting, LosesNoWakeUpInAPingPong) {
  constexpr uint64_t kRounds = 100'000;
  const pid_t child = testing::Fork([&] {
    Party other(segment_.file(), shapes_);
    const auto there = other->items(0);
    const auto back = other->items(1);
    Item item;
    for (uint64_t i = 0; i < kRounds; ++i) {
      if (there.Pop(item, Deadline::In(seconds(20))) != PopResult::kOk || item.id != i) return 1;
      if (back.Push(item, Deadline::In(seconds(20))) != PushResult::kOk) return 2;
    }
    return 0;
  });
  const auto there = party_->items(0);
  const auto back = party_->items(1);
  const auto begin = std::chrono::steady_clock::now();
  Item item;
  for (uint64_t i = 0; i < kRounds; ++i) {
    ASSERT_EQ(there.Push(Item::Of(i), Deadline::In(seconds(20))), PushResult::kOk) << i;
    ASSERT_EQ(back.Pop(item, Deadline::In(seconds(20))), PopResult::kOk) << i;
    ASSERT_EQ(item.id, i);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(testing::WaitFor(child), 0);
  std::printf("  %.2f us a round trip, %llu sleeps, %llu of them whole slices, %llu wakes\n",
              took.count() * 1e6 / kRounds, static_cast<unsigned long long>(counts_.waits.load()),
              static_cast<unsigned long long>(counts_.whole_waits.load()),
              static_cast<unsigned long long>(counts_.wakes.load()));
  // Each sleep has somebody who ends it; only a machine that stands still makes slices whole.
  EXPECT_LT(counts_.whole_waits, 100u);
}

TEST_F(Waiting, EverySleeperIsWokenForItsOwnMessage) {
  // More sleepers than messages at a time, all really asleep: sleepers are seen by their bits.
  constexpr int kSleepers = 6;
  std::vector<pid_t> children;
  for (int i = 0; i < kSleepers; ++i) {
    children.push_back(testing::Fork([&] {
      Party other(segment_.file(), shapes_);
      Item item;
      for (int k = 0; k < 200; ++k) {
        if (other->items().Pop(item, Deadline::In(seconds(20))) != PopResult::kOk) return 1;
      }
      return 0;
    }));
  }
  for (uint64_t i = 0; i < kSleepers * 200; ++i) {
    ASSERT_EQ(party_->items().Push(Item::Of(i), Deadline::In(seconds(20))), PushResult::kOk);
  }
  for (const pid_t child : children) EXPECT_EQ(testing::WaitFor(child), 0);
  Item item;
  EXPECT_EQ(party_->items().TryPop(item), PopResult::kEmpty);
}

}  // namespace
}  // namespace thole::queue
