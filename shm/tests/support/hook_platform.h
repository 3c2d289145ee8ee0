// HookPlatform: the real kernel, with hooks before some of its calls and counts of others.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "thole/shm/platform.h"

namespace thole::shm {

class HookPlatform final : public Platform {
 public:
  explicit HookPlatform(std::unique_ptr<Platform> kernel)
      : Platform(&canary_), kernel_(std::move(kernel)) {}

  /// Called before the byte is asked for.
  std::function<void(LockByte, uint32_t slot)> before_hold;
  std::function<void(LockByte, uint32_t slot)> before_look;
  std::function<void(uint32_t pid)> before_start_time;
  std::atomic<uint32_t> waits{0};
  std::atomic<uint32_t> wakes{0};

  int64_t NowNs() override { return kernel_->NowNs(); }
  void WaitWord(Word32& word, uint32_t expected, uint32_t bits, int64_t until_ns) override {
    ++waits;
    kernel_->WaitWord(word, expected, bits, until_ns);
  }
  int WakeWord(Word32& word, int count, uint32_t bits) override {
    ++wakes;
    return kernel_->WakeWord(word, count, bits);
  }
  void Relax() override { kernel_->Relax(); }
  bool TryHold(LockByte byte, uint32_t slot) override {
    if (before_hold) before_hold(byte, slot);
    return kernel_->TryHold(byte, slot);
  }
  void Drop(LockByte byte, uint32_t slot) override { kernel_->Drop(byte, slot); }
  bool IsHeld(LockByte byte, uint32_t slot) override {
    if (before_look) before_look(byte, slot);
    return kernel_->IsHeld(byte, slot);
  }
  ProcessIdentity Self() override { return kernel_->Self(); }
  std::optional<uint64_t> StartTimeOf(uint32_t pid) override {
    if (before_start_time) before_start_time(pid);
    return kernel_->StartTimeOf(pid);
  }

 private:
  const unsigned char canary_ = 1;
  std::unique_ptr<Platform> kernel_;
};

}  // namespace thole::shm
