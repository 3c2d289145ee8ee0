// FakeKernel and FakePlatform: the kernel of simulated processes that share one address space.
//
// The kernel knows who holds which life or repair byte, who is dead, who sleeps, and what time it
// is. Every simulated process has a platform of its own, which dies when its process does: its
// bytes fall and its handles answer as in a forked child, so that their destructors touch nothing.
//
//   #include <thole/shm/testing/fake_kernel.h>
//   bool Example(thole::shm::SegmentView mapping) {
//     using thole::shm::LockByte;
//     using thole::shm::testing::FakeKernel;
//     using thole::shm::testing::FakePlatform;
//     auto kernel = std::make_shared<FakeKernel>(8);
//     FakePlatform victim(kernel, mapping), survivor(kernel, mapping);
//     victim.TryHold(LockByte::kLife, 0);
//     victim.Die();
//     return !survivor.IsHeld(LockByte::kLife, 0);
//   }
//
// Guarantees. Everything in it is deterministic. One thread only (fibers of it included).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "thole/shm/platform.h"
#include "thole/shm/segment_view.h"

namespace thole::shm::testing {

class FakePlatform;

/// What the kernel needs of a scheduler. Without one nobody ever runs meanwhile.
class FakeScheduler {
 public:
  virtual ~FakeScheduler() = default;
  /// The caller enters the kernel: others may run first, or the caller dies.
  virtual void EnterKernel() = 0;
  /// The caller waits for others: somebody else runs if anybody can.
  virtual void HandOver() = 0;
  /// Sleeps until `Wake(token)`, or the clock reaches `until_ns`, or for no reason at all.
  virtual void Sleep(int64_t until_ns) = 0;
  /// Who calls, for `Wake`.
  virtual uint32_t Caller() = 0;
  virtual void Wake(uint32_t caller) = 0;
  /// What the caller did before it gave a key happened before what another one does after it took
  /// that key. Only a simulator of weak memory asks.
  virtual void Give(uint64_t key) = 0;
  virtual void Take(uint64_t key) = 0;
  /// What the caller is told, as far as it may depend on others.
  virtual void Saw(uint64_t answer) = 0;
  /// Whether calls take no time: then only who sleeps or hands over moves the clock.
  virtual bool TimeStandsStill() = 0;
};

class FakeKernel {
 public:
  explicit FakeKernel(uint32_t slots);
  FakeKernel(const FakeKernel&) = delete;
  FakeKernel& operator=(const FakeKernel&) = delete;
  /// The same world for a copy of the segment: who lives goes on living there, as a name and its
  /// bytes only. No sleepers and no scheduler.
  std::shared_ptr<FakeKernel> CopyForImage() const;

  /// From now on calls may let others run; `clock` is the scheduler's.
  void SetScheduler(FakeScheduler* scheduler, int64_t* clock) {
    scheduler_ = scheduler;
    clock_ = clock;
  }
  int64_t now_ns() const { return *clock_; }

  /// Kills every process whose mapping begins at `base`.
  void KillAllAt(const void* base);
  /// Kills a process by number; nothing if it is dead.
  void Kill(uint32_t process);
  bool IsAlive(uint32_t process) const { return processes_[process].alive; }
  /// Of all that its answers depend on but the clock: who lives, holds what and sleeps where.
  uint64_t HashOfState() const;
  /// Whether a living process holds the life byte of a slot.
  bool SlotIsAlive(uint32_t slot) const;

 private:
  friend class FakePlatform;
  static constexpr uint32_t kNobody = 0xffffffff;
  static constexpr uint32_t kFirstPid = 1000;
  struct ProcessState {
    FakePlatform* platform;  // null in a copy, and once destroyed
    const void* base;
    bool alive;
  };
  struct Sleeper {
    uint64_t key;  // offset of the word in its segment
    uint32_t bits;
    uint32_t process;
    uint32_t caller;
  };

  static uint64_t KeyOf(LockByte byte, uint32_t slot) {
    return (uint64_t{1} + static_cast<uint64_t>(byte)) << 48 | slot;
  }
  static uint64_t KeyOfDeath(uint32_t process) { return uint64_t{3} << 48 | process; }
  static uint64_t KeyOfWord(uint64_t offset) { return uint64_t{4} << 48 | offset; }
  void Give(uint64_t key) {
    if (scheduler_ != nullptr) scheduler_->Give(key);
  }
  void Take(uint64_t key) {
    if (scheduler_ != nullptr) scheduler_->Take(key);
  }

  uint32_t Start(FakePlatform* platform, const void* base);
  uint32_t& Holder(LockByte byte, uint32_t slot);
  void DropAll(uint32_t process);

  std::array<std::vector<uint32_t>, 2> holders_;  // by byte and slot
  std::vector<ProcessState> processes_;
  std::vector<Sleeper> sleepers_;
  FakeScheduler* scheduler_ = nullptr;
  int64_t own_clock_ = 1'000'000'000;
  int64_t* clock_ = &own_clock_;
};

class FakePlatform final : public Platform {
 public:
  FakePlatform(std::shared_ptr<FakeKernel> kernel, SegmentView mapping);
  /// An exit: the bytes fall.
  ~FakePlatform() override;

  /// The process is killed.
  void Die() { kernel_->Kill(process_); }
  /// What is called until this is taken back is called by a child of fork, with inherited handles.
  void SetForked(bool forked) { canary_ = forked ? 0 : 1; }
  uint32_t process() const { return process_; }
  const std::shared_ptr<FakeKernel>& kernel() const { return kernel_; }
  SegmentView mapping() const { return mapping_; }

  int64_t NowNs() override;
  void WaitWord(Word32& word, uint32_t expected, uint32_t bits, int64_t until_ns) override;
  int WakeWord(Word32& word, int count, uint32_t bits) override;
  void Relax() override;
  bool TryHold(LockByte byte, uint32_t slot) override;
  void Drop(LockByte byte, uint32_t slot) override;
  bool IsHeld(LockByte byte, uint32_t slot) override;
  ProcessIdentity Self() override;
  std::optional<uint64_t> StartTimeOf(uint32_t pid) override;

 private:
  friend class FakeKernel;
  void EnterKernel();
  void PassTime();
  /// The answer, which the scheduler is told as well.
  template <typename T>
  T Answer(T answer);
  uint64_t KeyOf(const Word32& word) const;

  std::shared_ptr<FakeKernel> kernel_;
  SegmentView mapping_;
  uint32_t process_;
  volatile unsigned char canary_ = 1;
};

}  // namespace thole::shm::testing
