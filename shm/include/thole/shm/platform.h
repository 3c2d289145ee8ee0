// Platform: everything a participant asks of the kernel. Injected, so that one address space can
// hold many simulated processes.
//
//   #include <thole/shm/platform.h>
//   bool Died(thole::shm::Platform& platform, uint32_t slot) {
//     return !platform.IsHeld(thole::shm::LockByte::kLife, slot);
//   }
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "thole/shm/word.h"

namespace thole::shm {

/// Kernel locks that fall with their holder: one pair per participant slot.
enum class LockByte : uint32_t { kLife = 0, kRepair = 1 };

/// What tells one process from every other of the same boot.
struct ProcessIdentity {
  uint32_t pid = 0;
  uint32_t uid = 0;
  uint64_t start_time = 0;
  uint64_t pid_namespace = 0;
  uint64_t time_namespace = 0;
};

/// Thread-safe. Nothing here is called on a path that does not wait, attach or repair.
class Platform {
 public:
  virtual ~Platform() = default;

  /// CLOCK_MONOTONIC in nanoseconds.
  virtual int64_t NowNs() = 0;
  /// Sleeps while `*word == expected`, at most until `until_ns`, for wake-ups that share a bit with
  /// `bits`. May return early.
  virtual void WaitWord(Word32& word, uint32_t expected, uint32_t bits, int64_t until_ns) = 0;
  /// Wakes up to `count` sleepers that share a bit with `bits`; tells how many it woke.
  virtual int WakeWord(Word32& word, int count, uint32_t bits) = 0;
  /// One turn of a spin loop.
  virtual void Relax() = 0;

  /// Takes the byte of `slot` for this attachment, unless another one holds it. Never waits.
  virtual bool TryHold(LockByte byte, uint32_t slot) = 0;
  virtual void Drop(LockByte byte, uint32_t slot) = 0;
  /// Whether another attachment holds the byte.
  virtual bool IsHeld(LockByte byte, uint32_t slot) = 0;

  virtual ProcessIdentity Self() = 0;
  /// Start time of a process of this pid namespace; 0 = there is none (a zombie counts as gone);
  /// nullopt = cannot be known.
  virtual std::optional<uint64_t> StartTimeOf(uint32_t pid) = 0;
  /// False in a child that inherited this object over fork. One load.
  bool InOwnProcess() const { return *canary_ != 0; }

 protected:
  /// `canary` points to a byte that is not 0 here and 0 in a forked child.
  explicit Platform(const volatile unsigned char* canary) : canary_(canary) {}

 private:
  const volatile unsigned char* canary_;
};

/// The real kernel: open-file-description locks on a private description of the segment's file,
/// futexes, /proc. `file` is re-opened, not kept. nullptr when the file cannot be opened again.
std::unique_ptr<Platform> MakeKernelPlatform(int file);
/// For a mapping that only threads of this process use: no file, no death.
std::unique_ptr<Platform> MakePrivatePlatform();

}  // namespace thole::shm
